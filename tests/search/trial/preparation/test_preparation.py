"""What preparation costs: structure is found from two samples, and steps are tried on few data."""

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from compressors.channel_pruning import ChannelPruning
from compressors.layers.factorisable import factorisable_layers
from compressors.layers.removable import removable_blocks
from compressors.low_rank import LowRank
from compressors.models.fingerprint import output_digest
from search.config.compose import compose_search
from search.proposal.initial_design import anchors
from search.proposal.strength.directions import probes
from search.tasks.loading import training_task
from search.trial.messages import JobSetting, PrepareReply, PrepareRequest
from search.trial.model_counts import count_macs
from search.trial.preparation.prepare import prepare

# Slow: images of 224 pixels run through whole preparations.
pytestmark = pytest.mark.slow

SIZE, BATCH, BATCHES = 224, 32, 12


class Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs)
        )
        self.second = nn.Sequential(
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs)
        )
        self.shortcut = nn.Sequential()
        if inputs != outputs:
            self.shortcut.append(nn.Conv2d(inputs, outputs, 1, stride, bias=False))
            self.shortcut.append(nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.shortcut(x) + self.second(torch.relu(self.first(x))))


def resnet18(width: int = 4) -> nn.Sequential:
    """Return a thin ResNet-18: a stem of stride 4, four stages of two blocks, a head."""
    widths = [width, width, 2 * width, 4 * width, 8 * width]
    stages = [
        Block(inputs, outputs, 1 if part or inputs == outputs else 2)
        for before, outputs in pairwise(widths)
        for part, inputs in enumerate((before, outputs))
    ]
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(3, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width), nn.ReLU()),
        nn.MaxPool2d(3, 2, 1),
        *stages,
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8 * width, 10),
    )


def images(size: int) -> dict[str, object]:
    def batches(count: int) -> Iterator[tuple[Tensor, Tensor]]:
        generator = torch.Generator().manual_seed(0)
        for _ in range(count):
            yield torch.randn(BATCH, 3, size, size, generator=generator), torch.arange(BATCH) % 10

    torch.manual_seed(0)
    return {
        "model": resnet18(),
        "train": lambda epoch: batches(BATCHES),
        "validation": list(batches(1)),
        "test": list(batches(1)),
        "loss": nn.functional.cross_entropy,
        "score": lambda outputs, targets: (outputs.argmax(1) == targets).float(),
    }


@pytest.fixture
def sizes() -> Iterator[list[int]]:
    """The number of samples of each run of the stem."""
    seen: list[int] = []

    def note(module: nn.Module, args: tuple[Tensor, ...]) -> None:
        if isinstance(module, nn.Conv2d) and module.kernel_size == (7, 7):
            seen.append(int(args[0].shape[0]))

    handle = nn.modules.module.register_module_forward_pre_hook(note)  # type: ignore[arg-type]
    yield seen
    handle.remove()


STRUCTURE: dict[str, Callable[[nn.Module, Tensor], object]] = {
    "blocks": removable_blocks,
    "factorisable layers": factorisable_layers,
    "operations": count_macs,
    "digest": output_digest,
}


@pytest.mark.parametrize("what", STRUCTURE)
def test_structure_is_found_from_at_most_two_samples(what: str, sizes: list[int]) -> None:
    model = resnet18().eval().requires_grad_(False)
    assert STRUCTURE[what](model, torch.randn(BATCH, 3, SIZE, SIZE))
    assert sizes
    assert max(sizes) <= 2


def test_layers_are_judged_from_at_most_two_samples(sizes: list[int], tmp_path: Path) -> None:
    parts = images(SIZE)
    task = training_task(parts, parts["model"], tmp_path)  # type: ignore[arg-type]
    ChannelPruning(ratio=0.5).skipped_layers(task.baseline, task)
    LowRank(lost_energy=0.5).skipped_layers(task.baseline, task)
    assert sizes
    assert max(sizes) <= 2


def prepared(folder: Path, report: Callable[[str], None]) -> PrepareReply:
    config = compose_search(["tracking=none"])
    setting = JobSetting(
        task={"_target_": f"{__name__}.images", "size": 32},
        baseline=folder / "baseline",
        latency=config.latency,
        threads=1,
    )
    request = PrepareRequest(
        setting=setting,
        anchors=anchors(config.space),
        probes=probes(config.space),
        begun=False,
    )
    return prepare(request, report)


def test_preparation_costs_at_most_five_passes_over_the_calibration_data(
    sizes: list[int], tmp_path: Path
) -> None:
    phases: list[str] = []
    reply = prepared(tmp_path, phases.append)
    assert not reply.infeasible
    assert not reply.failing
    assert not [note for note in reply.notes if "chance level" not in note]  # it is untrained
    assert phases[:2] == ["the task", "the baseline"]
    assert phases[2:] == [f"step '{name}'" for name in reply.skipped_layers]
    # A forward and a backward pass take three times as long as a forward pass. Six batches have a
    # backward pass too: they are timed.
    assert sum(sizes) + 2 * 6 * BATCH <= 3 * 5 * 256
