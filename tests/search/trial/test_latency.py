import shutil
from contextlib import contextmanager

import pytest
import torch
from torch import nn

from search.artefact.artefact import write_artefact
from search.trial.latency import Latency, measure_latency, remembered_latency, verdict
from search.utils.array_cache import ArrayCache


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


def test_files_are_loaded_before_the_machine_is_held(paths, tmp_path):
    files = [shutil.copy(paths[64], tmp_path / name) for name in ("candidate", "baseline")]
    held = []

    @contextmanager
    def hold_machine():
        for file in files:
            file.unlink()
        held.append("taken")
        yield
        held.append("given back")

    example = torch.randn(3, 64)
    assert measure_latency(*files, example, hold_machine=hold_machine, rounds=2).ratio > 0
    assert held == ["taken", "given back"]


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


def test_the_same_files_and_settings_are_measured_once_on_a_machine(tmp_path):
    for name in ("one", "other", "baseline"):
        (tmp_path / name).write_bytes(name.encode())
    shutil.copy(tmp_path / "one", tmp_path / "copy")
    found = iter(
        Latency(latency_ms=n + 0.1, baseline_latency_ms=1.0, ratio=n / 7, spread=0.01)
        for n in range(9)
    )
    measured = []

    def measure():
        measured.append(next(found))
        return measured[-1]

    def latency(candidate, baseline="baseline", **settings):
        # Another process has nothing but the folder.
        cache = ArrayCache(folder=tmp_path / "cache")
        paths = tmp_path / candidate, tmp_path / baseline
        return remembered_latency(cache, *paths, measure, {"rounds": 30} | settings)

    first = latency("one")
    assert latency("one") == latency("copy") == first == measured[0]
    assert len(measured) == 1
    others = [latency("other"), latency("one", "other"), latency("one", rounds=31)]
    assert others == measured[1:]
    assert len(measured) == 4
    assert [latency("other"), latency("one", "other"), latency("one", rounds=31)] == others
    assert latency("one") == first
    (tmp_path / "one").write_bytes(b"written anew")
    assert latency("one") == measured[4]
