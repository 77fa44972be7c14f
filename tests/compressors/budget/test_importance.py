import pytest
import torch
from torch import Tensor, nn

from compressors.base import run
from compressors.budget.importance import magnitude, taylor, wanda
from compressors.testing.data import CLASSES
from compressors.testing.task import ToyTask
from compressors.weight_pruning import WeightPruning
from compressors.weights.compressible import compressible_weights
from tests.zoo import ARCHITECTURES, NETS, toy_task


def task_of(model: nn.Module, inputs: Tensor) -> ToyTask:
    model.eval().requires_grad_(False)
    return ToyTask(model, inputs, torch.arange(len(inputs)) % CLASSES)


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_magnitude_is_the_absolute_value() -> None:
    assert magnitude(torch.tensor([[-2.0, 0.5]])).tolist() == [[2.0, 0.5]]


def test_taylor_by_hand() -> None:
    """With cross-entropy the gradient is (softmax - one-hot)^T x / B."""
    task = task_of(nn.Sequential(nn.Linear(3, CLASSES)), normal(8, 3))
    layer = task.baseline[0]
    error = torch.softmax(layer(task.inputs), 1) - nn.functional.one_hot(task.targets, CLASSES)
    found = taylor(task.baseline, task)
    torch.testing.assert_close(
        found["0.weight"], (layer.weight * (error.T @ task.inputs / 8)).abs()
    )
    torch.testing.assert_close(found["0.bias"], (layer.bias * error.mean(0)).abs())


def test_taylor_takes_the_absolute_value_of_each_batch() -> None:
    task = task_of(nn.Sequential(nn.Linear(3, CLASSES)), normal(128, 3))
    singles = []
    for inputs, targets in task.train_batches(0):
        singles.append(taylor(task.baseline, ToyTask(task.baseline, inputs, targets))["0.weight"])
    assert len(singles) == 2
    torch.testing.assert_close(taylor(task.baseline, task)["0.weight"], sum(singles) / 2)


@pytest.mark.parametrize("net", NETS)
def test_taylor_matches_finite_differences_of_the_loss(net: str) -> None:
    task = toy_task(net)
    task.inputs, task.targets = task.inputs[:8], task.targets[:8]
    if task.inputs.is_floating_point():
        task.inputs = task.inputs.double()
    model = task.baseline.double()
    scores = taylor(model, task)
    step = 1e-6
    for name, parameter in list(model.named_parameters())[:4]:
        place = scores[name].flatten().argmax()
        flat = parameter.view(-1)
        value = float(flat[place])
        losses = []
        for moved in (value + step, value - step):
            flat[place] = moved
            losses.append(float(task.loss(run(model, task.inputs), task.targets)))
        flat[place] = value
        slope = (losses[0] - losses[1]) / (2 * step)
        assert float(scores[name].flatten()[place]) == pytest.approx(
            abs(value * slope), rel=1e-4, abs=1e-9
        )


@pytest.mark.parametrize("net", ARCHITECTURES)
@pytest.mark.parametrize("importance", [taylor, wanda])
def test_masked_weights_score_nothing_and_the_model_is_left_alone(net: str, importance) -> None:
    task = toy_task(net)
    masked = WeightPruning(ratio=0.5)(task.baseline, task)
    scores = importance(masked, task)
    masks = {n: b for n, b in masked.named_buffers() if n.endswith(".mask")}
    assert masks
    for name, mask in masks.items():
        stored = name.removesuffix("0.mask") + "original"
        assert (scores[stored][~mask] == 0).all()
        assert scores[stored].any()
    assert all(p.grad is None and not p.requires_grad for p in masked.parameters())
    assert not any(m._forward_hooks for m in masked.modules())


@pytest.mark.parametrize("net", ARCHITECTURES)
def test_names_are_those_of_the_parameters(net: str) -> None:
    task = toy_task(net)
    shapes = {name: p.shape for name, p in task.baseline.named_parameters()}
    assert {name: s.shape for name, s in taylor(task.baseline, task).items()} == shapes
    weights = {w.name: w.value().shape for w in compressible_weights(task.baseline)}
    assert {name: s.shape for name, s in wanda(task.baseline, task).items()} == weights


@pytest.mark.parametrize("importance", [taylor, wanda])
def test_only_the_asked_number_of_samples_is_used(importance) -> None:
    task = toy_task("mlp")
    drawn = 0

    def count(module: nn.Module, args: tuple[Tensor]) -> None:
        nonlocal drawn
        drawn += len(args[0])

    task.baseline.register_forward_pre_hook(count)
    importance(task.baseline, task, samples=100)
    assert drawn == 128  # two whole batches of 64


@pytest.mark.parametrize("importance", [taylor, wanda])
def test_no_data_and_data_that_are_not_finite_are_errors(importance) -> None:
    model = nn.Sequential(nn.Linear(3, CLASSES))
    task = task_of(model, torch.full((4, 3), torch.inf))
    with pytest.raises(FloatingPointError, match=r"0\.weight is not finite"):
        importance(model, task)
    task.train_batches = lambda _epoch: iter(())
    with pytest.raises(ValueError, match="yields no batch"):
        importance(model, task)


def norms(scores: Tensor, weight: Tensor) -> Tensor:
    return scores / weight.abs()


def test_wanda_of_a_linear_layer_is_the_norm_of_each_input() -> None:
    model = nn.Sequential(nn.Linear(3, CLASSES))
    inputs = torch.tensor([[3.0, 0.0, 1.0], [4.0, 0.0, -1.0]])
    found = norms(wanda(model, task_of(model, inputs))["0.weight"], model[0].weight)
    torch.testing.assert_close(found, torch.tensor([5.0, 0.0, 2**0.5]).expand(CLASSES, -1))


CONVOLUTIONS = {
    "plain": nn.Conv2d(4, 6, 3),
    "padded, strided": nn.Conv2d(4, 6, 3, padding=1, stride=2),
    "dilated": nn.Conv2d(4, 6, (3, 2), dilation=2, padding=(2, 1)),
    "grouped": nn.Conv2d(4, 6, 3, groups=2, padding=1),
    "depthwise": nn.Conv2d(4, 8, 3, groups=4),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_wanda_of_a_convolution_is_that_of_its_unfolded_linear_layer(name: str) -> None:
    layer = CONVOLUTIONS[name]
    model = nn.Sequential(layer, nn.AdaptiveAvgPool2d(1), nn.Flatten()).requires_grad_(False)
    inputs = normal(5, 4, 9, 8)
    found = norms(wanda(model, task_of(model, inputs))["0.weight"], layer.weight)
    columns = nn.functional.unfold(
        inputs, layer.kernel_size, layer.dilation, layer.padding, layer.stride
    )
    by_input = columns.square().sum((0, 2)).sqrt().view(4, *layer.kernel_size)
    outputs = layer.out_channels // layer.groups
    expected = torch.cat([p.expand(outputs, -1, -1, -1) for p in by_input.chunk(layer.groups)])
    torch.testing.assert_close(found, expected)


def test_wanda_of_an_embedding_counts_the_tokens() -> None:
    model = nn.Sequential(nn.Embedding(5, 3), nn.Flatten(), nn.Linear(6, CLASSES))
    tokens = torch.tensor([[0, 2], [2, 2], [2, 4]])
    found = norms(wanda(model, task_of(model, tokens))["0.weight"], model[0].weight)
    torch.testing.assert_close(found[:, 0], torch.tensor([1.0, 0, 4, 0, 1]).sqrt())


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, 3)
        self.head = nn.Linear(3, 5, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.embedding(tokens))


def test_wanda_of_a_tied_weight_counts_every_use() -> None:
    model = Tied()
    tokens = torch.tensor([0, 2, 2, 3])
    found = wanda(model, task_of(model, tokens))
    assert list(found) == ["embedding.weight"]
    features = model.embedding(tokens).square().sum(0)
    expected = (torch.tensor([1.0, 0, 2, 1, 0])[:, None] + features).sqrt()
    torch.testing.assert_close(norms(found["embedding.weight"], model.head.weight), expected)


class Attention(nn.Module):
    def __init__(self, **sizes: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True, **sizes)

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return self.attention(query, value=value, key=key, need_weights=False)[0].mean(1)


class AttentionTask(ToyTask):
    def __init__(self, model: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self.baseline = model
        self.batch = inputs

    def train_batches(self, epoch: int):
        yield self.batch, None


@pytest.mark.parametrize("sizes", [{}, {"kdim": 6, "vdim": 4}])
def test_wanda_of_attention_tells_query_key_and_value_apart(sizes: dict[str, int]) -> None:
    model = Attention(**sizes).eval().requires_grad_(False)
    inputs = (
        normal(2, 3, 8),
        normal(2, 5, sizes.get("kdim", 8)),
        normal(2, 5, sizes.get("vdim", 8)),
    )
    found = wanda(model, AttentionTask(model, inputs))
    expected = [x.flatten(0, 1).norm(dim=0).expand(8, -1) for x in inputs]
    owner = model.attention
    if sizes:
        for letter, wanted in zip("qkv", expected, strict=True):
            weight = getattr(owner, f"{letter}_proj_weight")
            score = found[f"attention.{letter}_proj_weight"]
            torch.testing.assert_close(norms(score, weight), wanted)
    else:
        score = norms(found["attention.in_proj_weight"], owner.in_proj_weight)
        torch.testing.assert_close(score, torch.cat(expected))
    out = norms(found["attention.out_proj.weight"], owner.out_proj.weight)
    torch.testing.assert_close(out, torch.full_like(out, 6**0.5))  # positions of the query


def test_wanda_of_a_recurrent_layer_sees_its_inputs() -> None:
    task = toy_task("recurrent")
    found = wanda(task.baseline, task)
    layer = task.baseline.lstm
    inputs = norms(found["lstm.weight_ih_l0"], layer.weight_ih_l0)
    torch.testing.assert_close(inputs[0], task.inputs.flatten(0, 1).norm(dim=0))
    states = norms(found["lstm.weight_hh_l0"], layer.weight_hh_l0)
    torch.testing.assert_close(states, torch.full_like(states, (256 * 8) ** 0.5))


class Own(nn.Module):
    """A user's module that multiplies by a weight of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(normal(CLASSES, 3))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight.T


def test_wanda_of_an_unknown_layer_counts_its_feature_as_one_a_sample() -> None:
    model = Own()
    found = wanda(model, task_of(model, normal(9, 3)))
    torch.testing.assert_close(found["weight"], model.weight.abs() * 3)
