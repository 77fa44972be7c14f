import pytest
import torch
from torch import Tensor, nn

from compressors.layer_removal import LayerRemoval, block_influence
from compressors.layers.pass_through import PassThrough
from compressors.testing.convolutional import ResidualBlock
from compressors.testing.task import ToyTask
from tests.zoo import toy_task


def test_influence_by_hand() -> None:
    turn, keep = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        turn.weight.copy_(torch.tensor([[0.0, -1.0], [1.0, 0.0]]))
        keep.weight.copy_(3 * torch.eye(2))
    model = nn.Sequential(turn, keep)
    blocks = {turn: PassThrough(), keep: PassThrough()}
    influence = block_influence(model, blocks, [torch.randn(5, 2), torch.randn(3, 2)])
    assert list(influence.values()) == pytest.approx([1.0, 0.0], abs=1e-6)


def test_the_block_of_least_influence_goes() -> None:
    task = toy_task("residual")
    block = task.baseline.blocks[1]
    block.bn2.weight.zero_()
    smaller = LayerRemoval(ratio=0.3)(task.baseline, task)
    assert [type(b) for b in smaller.blocks] == [ResidualBlock, PassThrough, ResidualBlock]
    assert torch.equal(smaller(task.inputs), task.baseline(task.inputs))


@pytest.mark.parametrize(("ratio", "left"), [(0.01, 2), (0.3, 2), (0.6, 1), (0.99, 1)])
def test_layers_of_torch_stacks_are_deleted_down_to_one(ratio: float, left: int) -> None:
    task = toy_task("transformer")
    smaller = LayerRemoval(ratio=ratio)(task.baseline, task)
    assert len(smaller.encoder.layers) == smaller.encoder.num_layers == left
    assert smaller(task.inputs).shape == task.logits.shape


def test_all_blocks_of_a_cnn_may_go() -> None:
    task = toy_task("residual")
    smaller = LayerRemoval(ratio=0.99)(task.baseline, task)
    assert all(isinstance(block, PassThrough) for block in smaller.blocks)


class HeldTwice(nn.Module):
    """A block under two names, of which the second is called."""

    def __init__(self) -> None:
        super().__init__()
        self.first_name = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
        self.second_name = self.first_name
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.second_name(x))


def test_a_block_goes_from_every_place_that_holds_it() -> None:
    model = HeldTwice().eval().requires_grad_(False)
    inputs = torch.randn(8, 4)
    smaller = LayerRemoval(ratio=0.5)(model, ToyTask(model, inputs, torch.zeros(8).long()))
    assert isinstance(smaller.first_name, PassThrough)
    assert smaller.second_name is smaller.first_name
    assert torch.equal(smaller(inputs), model.head(inputs))
