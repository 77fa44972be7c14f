import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from compressors.errors import InfeasibleError
from compressors.models.folded_weights import folded_weights
from compressors.quantization import Quantization
from compressors.testing.task import ToyTask
from compressors.weight_pruning import WeightPruning
from compressors.weight_sharing import WeightSharing
from compressors.weights.encoded import coded_weights
from tests.zoo import ARCHITECTURES, toy_task

X = torch.randn(8, 6, generator=torch.Generator().manual_seed(0))


class Scaled(nn.Module):
    """Multiplies by its weight times a gain."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.gain = nn.Parameter(torch.randn(6, 6)), nn.Parameter(torch.ones(6, 1))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.gain)


class Views(nn.Module):
    """Uses weights transposed, copied, joined, by rows, and with the inputs element by element."""

    def __init__(self) -> None:
        super().__init__()
        for name in ("weight_t", "weight_one", "weight_two", "weight_rows", "weight_beside"):
            self.register_parameter(name, nn.Parameter(torch.randn(6, 6)))

    def forward(self, x: Tensor) -> Tensor:
        x = F.linear(x, self.weight_t.t().contiguous())
        x = F.linear(x, torch.cat([self.weight_one, self.weight_two]))[:, 3:9]
        x = x + F.embedding(torch.arange(6), self.weight_rows)[0]
        return x + (x[:, :, None] * self.weight_beside).sum(1)


def test_a_weight_that_code_changes_before_it_is_used_is_found() -> None:
    model = nn.Sequential(Scaled(), nn.Linear(6, 4)).eval().requires_grad_(False)
    assert folded_weights(model, X) == {"0.weight"}


def test_views_copies_and_joins_of_a_weight_are_the_weight() -> None:
    assert folded_weights(Views().eval(), X) == set()


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_layers_of_torch_use_their_weights_as_they_are(name: str) -> None:
    task = toy_task(name)
    assert folded_weights(task.baseline, task.example) == set()
    masked = WeightPruning(ratio=0.5)(task.baseline, task)
    assert folded_weights(masked, task.example) == set()


@pytest.mark.parametrize("step", [Quantization(bits=8), WeightSharing(clusters=4)], ids=str)
def test_encoding_leaves_such_a_weight_and_says_why(step: Quantization | WeightSharing) -> None:
    model = nn.Sequential(Scaled(), nn.Linear(6, 4)).eval().requires_grad_(False)
    task = ToyTask(model, X, torch.arange(8) % 4)
    codes = coded_weights(step(model, task))
    assert "1.weight" in codes
    assert "0.weight" not in codes
    assert "computes another tensor" in step.skipped_layers(model, task)["0"]
    alone = ToyTask(Scaled().eval().requires_grad_(False), X, torch.arange(8) % 4)
    with pytest.raises(InfeasibleError, match="every weight is left out"):
        step(alone.baseline, alone)
