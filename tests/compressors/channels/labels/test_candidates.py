"""Channels are found and cut however code moves, joins and scales them."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from compressors.channel_pruning import ChannelPruning
from compressors.channels.discovery import find_channel_groups
from compressors.errors import InfeasibleError
from compressors.testing.task import ToyTask

IMAGES = (3, 6, 6)


class Code(nn.Module):
    """Layers, and a function of them and of the inputs."""

    def __init__(self, forward: Callable[..., Tensor], **layers: object) -> None:
        super().__init__()
        self._code = forward
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, x: Tensor) -> Tensor:
        return self._code(self, x)


class FixedScale(nn.Module):
    """A frozen batch-norm: scale and shift are buffers."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("scale", torch.rand(width) + 0.5)
        self.register_buffer("shift", torch.rand(width))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale.view(1, -1, 1, 1) + self.shift[:, None, None]


def halves(model: Code, x: Tensor) -> Tensor:
    one, other = model.enter(x).chunk(2, 1)
    return model.leave(one * other)


def halves_by_slices(model: Code, x: Tensor) -> Tensor:
    x = model.enter(x)
    half = x.shape[1] // 2
    return model.leave(torch.tanh(x[:, :half]) * torch.sigmoid(x[:, half:]))


def own_width(model: Code, x: Tensor) -> Tensor:
    return model.leave(model.enter(x.flatten(1)).relu().view(-1, model.leave.in_channels, 3, 3))


def maximum_of_stack(model: Code, x: Tensor) -> Tensor:
    x = model.enter(x)
    return model.leave(torch.stack([x, model.inner(x)]).max(0)[0])


def joined_twice(model: Code, x: Tensor) -> Tensor:
    x = model.enter(x).relu()
    return model.leave(torch.cat([x, x], 1))


def scaled(model: Code, x: Tensor) -> Tensor:
    x = model.enter(x)
    return model.leave(x + model.gamma[:, None, None] * model.inner(model.norm(x)))


def transposed(model: Code, x: Tensor) -> Tensor:
    return F.linear(torch.tanh(model.enter(x.flatten(1))), model.enter.weight.t(), model.bias)


def conv(inputs: int, outputs: int, **options: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 1, **options)


CODES: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "one map": (lambda: nn.Sequential(conv(3, 8), nn.ReLU(), conv(8, 1)), "0"),
    "a gate of halves": (lambda: Code(halves, enter=conv(3, 16), leave=conv(8, 1)), "enter"),
    "slices": (lambda: Code(halves_by_slices, enter=conv(3, 16), leave=conv(8, 2)), "enter"),
    "a view by a layer's width": (
        lambda: Code(own_width, enter=nn.Linear(108, 72), leave=nn.ConvTranspose2d(8, 1, 2, 2)),
        "enter",
    ),
    "pixel shuffle": (
        lambda: nn.Sequential(conv(3, 32), nn.ReLU(), nn.PixelShuffle(2), conv(8, 1)),
        "0",
    ),
    "channel shuffle": (
        lambda: nn.Sequential(conv(3, 16), nn.ChannelShuffle(4), nn.ReLU(), conv(16, 2)),
        "0",
    ),
    "the maximum of a stack": (
        lambda: Code(maximum_of_stack, enter=conv(3, 8), inner=conv(8, 8), leave=conv(8, 2)),
        "enter",
    ),
    "one map twice": (lambda: Code(joined_twice, enter=conv(3, 8), leave=conv(16, 2)), "enter"),
    "several rows an input": (
        lambda: nn.Sequential(conv(3, 8), nn.ReLU(), conv(8, 16, groups=8), conv(16, 2)),
        "0",
    ),
    "scales outside of layers": (
        lambda: Code(
            scaled,
            enter=conv(3, 8),
            inner=conv(8, 8),
            norm=FixedScale(8),
            gamma=nn.Parameter(torch.rand(8)),
            leave=conv(8, 2),
        ),
        "enter",
    ),
    "a transposed weight": (
        lambda: Code(transposed, enter=nn.Linear(108, 16), bias=nn.Parameter(torch.zeros(108))),
        "enter",
    ),
}


def task_of(model: nn.Module) -> ToyTask:
    inputs = torch.randn(16, *IMAGES, generator=torch.Generator().manual_seed(0))
    model.eval().requires_grad_(False)
    return ToyTask(model, inputs, torch.zeros(16, dtype=torch.long))


@pytest.mark.parametrize("name", CODES)
def test_half_the_channels_go_and_the_rest_computes_what_zeros_leave(name: str) -> None:
    torch.manual_seed(0)
    make, layer = CODES[name]
    task = task_of(make())
    groups = find_channel_groups(task.baseline, task.example).groups
    assert layer in [group.name for group in groups]
    pruned = ChannelPruning(ratio=0.5)(task.baseline, task)
    before, after = (dict(m.named_parameters()) for m in (task.baseline, pruned))
    weight = f"{layer}.weight"
    assert after[weight].shape[0] * 2 == before[weight].shape[0]
    assert pruned(task.inputs).shape == task.baseline(task.inputs).shape


@pytest.mark.parametrize(
    "computed",
    [
        parametrizations.weight_norm,
        parametrizations.spectral_norm,
        torch.nn.utils.weight_norm,
        torch.nn.utils.spectral_norm,
    ],
    ids=lambda norm: f"{norm.__module__.rpartition('.')[2]}.{norm.__name__}",
)
@pytest.mark.filterwarnings("ignore:.*weight_norm.*is deprecated:FutureWarning")
def test_a_layer_with_a_computed_weight_stays_and_the_rest_goes(
    computed: Callable[[nn.Module], nn.Module],
) -> None:
    torch.manual_seed(0)
    normed = computed(conv(3, 8))
    model = nn.Sequential(normed, nn.ReLU(), conv(8, 12), nn.ReLU(), conv(12, 2))
    model(torch.randn(2, *IMAGES))  # old hooks leave a part of autograd's graph in the layer
    task = task_of(model)
    step = ChannelPruning(ratio=0.5)
    left = step.skipped_layers(model, task)
    assert "computed anew" in left["0"]
    assert set(left) == {"0", "4"}
    pruned = step(model, task)
    assert pruned[2].weight.shape[:2] == (6, 8)
    assert pruned(task.inputs).shape == (16, 2, 6, 6)


def test_where_only_computed_weights_are_left_the_reason_is_said() -> None:
    model = nn.Sequential(parametrizations.weight_norm(conv(3, 8)), nn.ReLU(), conv(8, 2))
    with pytest.raises(InfeasibleError, match="0: its weight is computed anew in each pass"):
        ChannelPruning(ratio=0.5)(model.eval(), task_of(model))


def test_a_width_in_code_is_named_with_its_module() -> None:
    def written(model: Code, x: Tensor) -> Tensor:
        return model.leave(model.enter(x).view(len(x), 8, 36).mean(2))

    model = Code(written, enter=conv(3, 8), leave=nn.Linear(8, 2))
    left = ChannelPruning().skipped_layers(model, task_of(model))
    assert left["enter"].startswith("its width is written into the model's code, in the model (")


def test_channels_that_a_mean_reads_stay() -> None:
    def averaged(model: Code, x: Tensor) -> Tensor:
        x = model.enter(x)
        return model.leave(x * x.mean(1, keepdim=True))

    torch.manual_seed(0)
    model = Code(averaged, enter=conv(3, 8), leave=conv(8, 2))
    left = ChannelPruning().skipped_layers(model, task_of(model))
    assert "used together" in left["enter"]


def test_a_model_of_one_layer_is_infeasible_with_its_reason() -> None:
    model = nn.Linear(4, 2).eval()
    task = ToyTask(model, torch.randn(8, 4), torch.zeros(8, dtype=torch.long))
    with pytest.raises(InfeasibleError, match="the model: its channels are those of the model's"):
        ChannelPruning(ratio=0.5)(model, task)
