import pytest
import torch
from torch import Tensor, nn

from compressors.base import InfeasibleError
from compressors.channel_groups import channel_groups, output_layers
from compressors.channel_pruning import ChannelPruning
from compressors.weight_pruning import WeightPruning
from tests.zoo import CLASSES, NETS, ToyTask, toy_task


def task_for(model: nn.Module, *shape: int) -> ToyTask:
    inputs = torch.randn(32, *shape, generator=torch.Generator().manual_seed(0))
    return ToyTask(model.eval().requires_grad_(False), inputs, torch.zeros(32, dtype=torch.long))


@pytest.mark.parametrize("importance", ["magnitude", "contribution"])
def test_half_the_hidden_nodes_of_a_perceptron_go_and_the_rest_computes_the_same(
    importance: str,
) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(10, 20), nn.Tanh(), nn.Linear(20, 10))
    task = task_for(model, 10)
    pruned = ChannelPruning(ratio=0.5, importance=importance)(model, task)
    assert [tuple(p.shape) for p in pruned.parameters()] == [(10, 10), (10,), (10, 10), (10,)]
    kept = [
        next(i for i in range(20) if torch.equal(model[0].weight[i], row))
        for row in pruned[0].weight
    ]
    assert len(set(kept)) == 10
    expected = model[1](model[0](task.inputs))[:, kept] @ model[2].weight[:, kept].T
    torch.testing.assert_close(pruned(task.inputs), expected + model[2].bias)


def test_the_least_important_nodes_go() -> None:
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))
    task = task_for(model, 4)
    model[0].weight[[1, 4]] = 1e-3
    model[2].weight[:, [1, 4]] = 1e-3
    pruned = ChannelPruning(ratio=0.34)(model, task)
    assert torch.equal(pruned[0].weight, model[0].weight[[0, 2, 3, 5]])
    model[0].weight[[1, 4]] = 10.0
    model[2].weight[:, [1, 4]] = 0.0
    by_data = ChannelPruning(ratio=0.34, importance="contribution")(model, task)
    assert torch.equal(by_data[0].weight, model[0].weight[[0, 2, 3, 5]])


@pytest.mark.parametrize("net", [name for name in NETS if name != "recurrent"])
@pytest.mark.parametrize("importance", ["magnitude", "contribution"])
@pytest.mark.parametrize("scope", ["layer", "global"])
@pytest.mark.parametrize(("ratio", "round_to"), [(0.25, 1), (0.75, 1), (0.99, 1), (0.5, 4)])
def test_every_setting_gives_a_model_that_runs(
    net: str, importance: str, scope: str, ratio: float, round_to: int
) -> None:
    task = toy_task(net)
    step = ChannelPruning(ratio=ratio, importance=importance, scope=scope, round_to=round_to)
    pruned = step(task.baseline, task)
    assert pruned(task.inputs).shape == task.logits.shape
    widths = [m.weight.shape[0] for m in pruned.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    assert min(widths) >= 1
    assert len(widths) == sum(isinstance(m, nn.Linear | nn.Conv2d) for m in task.baseline.modules())
    if round_to > 1:
        assert all(width % round_to == 0 for width in widths)


@pytest.mark.parametrize("ratio", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_the_share_of_each_layer_is_exact(ratio: float) -> None:
    model = nn.Sequential(
        nn.Linear(4, 10), nn.ReLU(), nn.Linear(10, 20), nn.ReLU(), nn.Linear(20, 2)
    )
    pruned = ChannelPruning(ratio=ratio)(model, task_for(model, 4))
    assert pruned[0].out_features == round(10 * (1 - ratio))
    assert pruned[2].out_features == round(20 * (1 - ratio))


def test_global_scope_takes_from_the_less_important_layer() -> None:
    model = nn.Sequential(
        nn.Linear(8, 20), nn.ReLU(), nn.Linear(20, 20), nn.ReLU(), nn.Linear(20, 4)
    )
    task = task_for(model, 8)
    with torch.no_grad():
        model[0].weight[5:] *= 0.01
        model[2].weight[:, 5:] *= 0.01
    pruned = ChannelPruning(ratio=0.4, scope="global")(model, task)
    assert pruned[0].out_features + pruned[2].out_features == 24
    assert pruned[0].out_features < pruned[2].out_features


def test_the_residual_stream_of_a_transformer_stays() -> None:
    task = toy_task("transformer")
    pruned = ChannelPruning(ratio=0.5)(task.baseline, task)
    assert pruned.embedding.embedding_dim == 16
    assert [layer.linear1.out_features for layer in pruned.encoder.layers] == [16, 16, 16]


def test_depthwise_channels_go_with_their_neighbours() -> None:
    task = toy_task("depthwise")
    pruned = ChannelPruning(ratio=0.5)(task.baseline, task)
    expand, _, _, depthwise, _, _, project, _ = pruned.blocks[0].body
    assert expand.out_channels == depthwise.groups == depthwise.out_channels == 8
    assert project.in_channels == 8
    assert project.out_channels == pruned.stem[0].out_channels == 4


class Grouped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3)
        self.grouped = nn.Conv2d(8, 16, 3, groups=4)
        self.norm = nn.GroupNorm(2, 16)
        self.head = nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.grouped(self.stem(x))).mean((2, 3)))


def test_grouped_convolutions_lose_as_much_of_every_group() -> None:
    model = Grouped()
    task = task_for(model, 1, 8, 8)
    pruned = ChannelPruning(ratio=0.5)(model, task)
    assert pruned.grouped.out_channels == 8
    assert pruned(task.inputs).shape == (32, CLASSES)


class Heads(nn.Module):
    """Attention with its number of heads and their width written into a reshape."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(8, 8)
        self.qkv = nn.Linear(8, 24)
        self.up, self.down = nn.Linear(8, 32), nn.Linear(32, 8)
        self.head = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).view(len(x), -1, 3, 2, 4).permute(2, 0, 3, 1, 4)
        x = x + ((q @ k.mT).softmax(-1) @ v).transpose(1, 2).flatten(2)
        return self.head((x + self.down(self.up(x).relu())).mean(1))


def test_what_a_model_has_written_into_its_code_is_left() -> None:
    model = Heads()
    task = task_for(model, 6, 8)
    pruned = ChannelPruning(ratio=0.5)(model, task)
    assert pruned.qkv.out_features == 24
    assert pruned.up.out_features == pruned.down.in_features == 16
    assert pruned(task.inputs).shape == (32, CLASSES)


class TwoOutputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Linear(8, 16)
        self.left, self.right = nn.Linear(16, 8), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        features = self.trunk(x).relu()
        return {"left": (self.left(features) + x).softmax(-1), "right": self.right(features)}


def test_output_layers_are_found_behind_what_follows_them() -> None:
    model = TwoOutputs().eval()
    assert set(output_layers(model, torch.randn(2, 8))) == {model.left, model.right}
    assert [group.name for group in channel_groups(model, torch.randn(2, 8))] == ["trunk"]


def test_tied_layers_stay_tied() -> None:
    model = nn.Sequential(
        nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 12), nn.Linear(12, 2)
    )
    model[2].weight = model[0].weight
    pruned = ChannelPruning(ratio=0.5)(model, task_for(model, 6))
    assert pruned[0].weight is pruned[2].weight
    assert pruned[4].out_features == 6


def test_masked_weights_are_refused() -> None:
    task = toy_task("mlp")
    masked = WeightPruning(ratio=0.5)(task.baseline, task)
    with pytest.raises(InfeasibleError, match="mask or a code"):
        ChannelPruning(ratio=0.5)(masked, task)


def test_a_model_of_outputs_only_is_infeasible() -> None:
    model = nn.Sequential(nn.Linear(4, 2))
    with pytest.raises(InfeasibleError, match="no channels between"):
        ChannelPruning(ratio=0.5)(model, task_for(model, 4))


def test_rounding_that_leaves_everything_is_infeasible() -> None:
    task = toy_task("mlp")
    with pytest.raises(InfeasibleError, match="round_to 64 leaves every channel"):
        ChannelPruning(ratio=0.5, round_to=64)(task.baseline, task)
