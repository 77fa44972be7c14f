import pytest
import torch
from torch import nn

from search.artefact import write_artefact
from search.latency import Latency, measure_latency, verdict


class Linear:
    def __init__(self, width):
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 4)).eval()
        self.example = torch.randn(3, width)


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("latency")
    return {
        width: write_artefact(task.model, task, folder / str(width)).run_path
        for width, task in ((64, Linear(64)), (512, Linear(512)))
    }


@pytest.mark.parametrize(("batch_size", "threads"), [(1, 1), (7, 1), (2, 2)])
def test_a_file_beside_itself(paths, batch_size, threads):
    latency = measure_latency(
        paths[64],
        paths[64],
        torch.randn(3, 64),
        batch_size=batch_size,
        threads=threads,
        rounds=6,
    )
    assert latency.latency_ms > 0
    assert latency.baseline_latency_ms > 0
    assert latency.ratio > 0
    assert latency.spread >= 0


def test_a_larger_batch_of_much_more_work_takes_longer(paths):
    one, many = (
        measure_latency(paths[512], paths[512], torch.randn(3, 512), batch_size=size, rounds=4)
        for size in (1, 256)
    )
    assert many.latency_ms > one.latency_ms


@pytest.mark.parametrize(
    ("size_ratio", "ratio", "spread", "expected"),
    [
        (0.5, 0.5, 0.01, "size gain + speed gain"),
        (0.5, 0.96, 0.01, "size gain"),
        (0.99, 0.5, 0.01, "speed gain"),
        (0.99, 0.9, 0.04, "simulated only"),
        (1.2, 1.2, 0.0, "simulated only"),
    ],
)
def test_verdict(size_ratio, ratio, spread, expected):
    latency = Latency(latency_ms=1.0, baseline_latency_ms=1.0, ratio=ratio, spread=spread)
    assert verdict(size_ratio, latency) == expected
