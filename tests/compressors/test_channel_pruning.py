import pytest
import torch
from torch import Tensor, nn

from compressors.base import Selective, run
from compressors.channel_pruning import ChannelPruning
from compressors.errors import InfeasibleError
from compressors.testing.data import CLASSES
from compressors.testing.task import ToyTask
from compressors.weight_pruning import WeightPruning
from tests.zoo import ARCHITECTURES, toy_task


def task_for(model: nn.Module, *shape: int) -> ToyTask:
    inputs = torch.randn(32, *shape, generator=torch.Generator().manual_seed(0))
    return ToyTask(model.eval().requires_grad_(False), inputs, torch.zeros(32, dtype=torch.long))


@pytest.mark.parametrize("importance", ["magnitude", "taylor", "wanda"])
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
    by_data = ChannelPruning(ratio=0.34, importance="taylor")(model, task)
    assert torch.equal(by_data[0].weight, model[0].weight[[0, 2, 3, 5]])


def widths(model: nn.Module) -> dict[str, int]:
    """Return the outputs of every layer that has any, heads and hidden units too."""
    return {
        name: module.hidden_size if isinstance(module, nn.RNNBase) else module.weight.shape[0]
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.RNNBase)
    }


@pytest.mark.parametrize("net", ARCHITECTURES)
@pytest.mark.parametrize(
    "values",
    [
        {"ratio": 0.25, "importance": "taylor"},
        {"ratio": 0.75, "allocation": "global"},
        {"ratio": 0.99, "importance": "wanda"},
        {"ratio": 0.5, "round_to": 4, "allocation": "global", "importance": "wanda"},
        {"ratio": 0.5, "allocation": "sensitivity"},
    ],
    ids=str,
)
def test_every_setting_gives_a_model_that_runs(net: str, values: dict) -> None:
    task = toy_task(net)
    pruned = ChannelPruning(**values)(task.baseline, task)
    assert run(pruned, task.inputs).shape == task.logits.shape
    kept = widths(pruned)
    assert min(kept.values()) >= 1
    if "round_to" in values:
        assert all(width % 4 == 0 for width in kept.values())


@pytest.mark.parametrize("net", ARCHITECTURES)
def test_what_is_left_is_only_what_must_be(net: str) -> None:
    task = toy_task(net)
    step = ChannelPruning(ratio=0.5)
    assert isinstance(step, Selective)
    left = step.skipped_layers(task.baseline, task)
    shared = {"first", "second", "block.2"} if net == "shared" else set()
    outputs = {"depthwise": "head.2", "mlp": "4"}.get(net, "head")
    assert set(left) == {outputs} | shared
    assert "outputs" in left.pop(outputs)
    assert all("is shared with" in reason for reason in left.values())


@pytest.mark.parametrize("ratio", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_the_share_of_each_layer_is_exact(ratio: float) -> None:
    model = nn.Sequential(
        nn.Linear(4, 10), nn.ReLU(), nn.Linear(10, 20), nn.ReLU(), nn.Linear(20, 2)
    )
    pruned = ChannelPruning(ratio=ratio)(model, task_for(model, 4))
    assert pruned[0].out_features == round(10 * (1 - ratio))
    assert pruned[2].out_features == round(20 * (1 - ratio))


def test_one_threshold_takes_from_the_less_important_layer() -> None:
    model = nn.Sequential(
        nn.Linear(8, 20), nn.ReLU(), nn.Linear(20, 20), nn.ReLU(), nn.Linear(20, 4)
    )
    task = task_for(model, 8)
    with torch.no_grad():
        model[0].weight[5:] *= 0.01
        model[2].weight[:, 5:] *= 0.01
    pruned = ChannelPruning(ratio=0.4, allocation="global")(model, task)
    assert pruned[0].out_features + pruned[2].out_features == 24
    assert pruned[0].out_features < pruned[2].out_features


def test_stream_heads_and_hidden_layers_of_a_transformer_go() -> None:
    task = toy_task("transformer")
    pruned = ChannelPruning(ratio=0.5)(task.baseline, task)
    assert pruned.embedding.embedding_dim == pruned.head.in_features == 8
    for layer in pruned.encoder.layers:
        assert layer.linear1.out_features == 16
        assert layer.norm1.normalized_shape == (8,)
        assert layer.self_attn.num_heads == 2
        assert layer.self_attn.inward[0].weight.shape == (24, 8)


def test_single_groups_keep_to_their_own_share() -> None:
    task = toy_task("transformer")
    layers = {"*self_attn": 0.25, "encoder.layers.?.linear1": 0.5}
    pruned = ChannelPruning(layers=layers)(task.baseline, task)
    assert pruned.embedding.embedding_dim == 16
    assert [layer.linear1.out_features for layer in pruned.encoder.layers] == [16, 16, 16]
    assert [layer.self_attn.num_heads for layer in pruned.encoder.layers] == [3, 3, 3]


def test_a_pattern_that_matches_nothing_is_refused() -> None:
    task = toy_task("mlp")
    with pytest.raises(InfeasibleError, match=r"'conv\*' matches none of 0, 2"):
        ChannelPruning(ratio=0.5, layers={"conv*": 0.1})(task.baseline, task)


def test_sensitivity_spares_the_layer_that_matters() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 4)
    )
    with torch.no_grad():
        model[2].weight[:, 4:] = 0  # only four nodes of the first layer are used
        model[4].weight *= 5
    task = task_for(model, 8)
    uniform = ChannelPruning(ratio=0.5)(model, task)
    chosen = ChannelPruning(ratio=0.5, allocation="sensitivity")(model, task)
    assert chosen[0].out_features < 8 < chosen[2].out_features

    def moved(pruned: nn.Module) -> float:
        return float((pruned(task.inputs) - task.logits).square().mean())

    assert moved(chosen) < 0.7 * moved(uniform)


@pytest.mark.parametrize("round_to", [1, 8])
def test_heads_and_units_are_rounded_in_their_outputs(round_to: int) -> None:
    transformer, recurrent = toy_task("transformer"), toy_task("recurrent")
    step = ChannelPruning(ratio=0.7, round_to=round_to)
    heads = step(transformer.baseline, transformer).encoder.layers[0].self_attn.num_heads
    assert heads == 2  # of four outputs each
    units = step(recurrent.baseline, recurrent).lstm.hidden_size
    assert units == (5 if round_to == 1 else 8)


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
    assert "written into" in ChannelPruning().skipped_layers(model, task)["qkv"]
    assert pruned.up.out_features == pruned.down.in_features == 16
    assert pruned(task.inputs).shape == (32, CLASSES)


def test_tied_layers_stay_tied() -> None:
    model = nn.Sequential(
        nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 12), nn.Linear(12, 2)
    )
    model[2].weight = model[0].weight
    pruned = ChannelPruning(ratio=0.5)(model, task_for(model, 6))
    assert pruned[0].weight is pruned[2].weight
    assert pruned[4].out_features == 6


class TiedEmbedding(nn.Module):
    """The output layer is the embedding, as in language models; classes are tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20, 12)
        self.hidden = nn.Linear(12, 12)
        self.head = nn.Linear(12, 20, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens)
        return self.head((x + self.hidden(x).relu()).mean(1))


def test_an_embedding_tied_to_the_output_layer_is_cut_with_it() -> None:
    model = TiedEmbedding().eval().requires_grad_(False)
    task = ToyTask(model, torch.randint(0, 20, (32, 6)), torch.zeros(32, dtype=torch.long))
    pruned = ChannelPruning(ratio=0.5)(model, task)
    assert pruned.head.weight is pruned.embedding.weight
    assert pruned.head.weight.shape == (20, 6)
    assert pruned.hidden.weight.shape == (6, 6)


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
