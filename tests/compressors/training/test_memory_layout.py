import pytest
import torch
from torch import Tensor, nn

from compressors.training.loop import TrainingSettings, train


class Views(nn.Module):
    """A network whose code needs feature maps without gaps in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(1, 4, 3), nn.Linear(4 * 36, 3)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.conv(x)
        return self.head(maps.view(-1, 4 * 36))


class Volumes(nn.Module):
    """A network with convolutions in three dimensions and a parameter of four axes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv3d(1, 2, 3), nn.Linear(2 * 8, 3)
        self.shift = nn.Parameter(torch.zeros(1, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.head((self.conv(x) + self.shift).flatten(1))


@pytest.mark.parametrize(("net", "shape"), [(Views, (1, 8, 8)), (Volumes, (1, 4, 4, 4))])
def test_the_layout_in_memory_is_not_forced_on_a_model(
    net: type[nn.Module], shape: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    model, inputs = net(), torch.randn(6, *shape)
    before = [parameter.clone() for parameter in model.parameters()]
    batches = [(inputs, torch.zeros(6, dtype=torch.long))]
    train(
        model,
        lambda _: batches,
        nn.functional.cross_entropy,
        TrainingSettings(epochs=2, learning_rate=0.01),
    )
    assert not torch.equal(before[0], next(model.parameters()))
    assert all(parameter.is_contiguous() for parameter in model.parameters())


def test_convolutions_train_channels_last_and_end_as_they_were() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 16, 3))
    laid_out = []

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        laid_out.append(model[0].weight.is_contiguous(memory_format=torch.channels_last))
        return nn.functional.cross_entropy(outputs, targets)

    batches = [(torch.randn(6, 3, 6, 6), torch.zeros(6, dtype=torch.long))]
    train(model, lambda _: batches, loss, TrainingSettings(epochs=1, learning_rate=0.01))
    assert laid_out == [True]
    assert model[0].weight.is_contiguous()
