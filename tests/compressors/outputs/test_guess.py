"""What outputs are is found through losses that nobody knows by name."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from compressors.outputs.guess import LabelledOutputs, guess_outputs
from compressors.outputs.spec import OutputSpec, StatedOutputs

GENERATOR = torch.Generator().manual_seed(0)
SAMPLES = 8


def drawn(*shape: int) -> Tensor:
    return torch.randn(SAMPLES, *shape, generator=GENERATOR)


def numbers(*shape: int, below: int = 3) -> Tensor:
    return torch.randint(below, (SAMPLES, *shape), generator=GENERATOR)


def guess(
    outputs: Any, targets: Any, loss: Callable[[Any, Any], Tensor], **stated: Any
) -> OutputSpec:
    batch = LabelledOutputs(
        outputs=outputs,
        targets=targets,
        loss=loss,
        sample_axes=dict.fromkeys(["output", "0", "1", "logits", "features", "boxes"], 0),
    )
    return guess_outputs(batch, StatedOutputs(**stated))


def focal(outputs: Tensor, targets: Tensor) -> Tensor:
    found = F.log_softmax(outputs, 1).gather(1, targets[:, None])
    return -((1 - found.exp()) ** 2 * found).mean()


def one_against_all(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(outputs, F.one_hot(targets, 3).float())


def contrastive(outputs: Tensor, targets: Tensor) -> Tensor:
    alike = F.normalize(outputs, dim=1) @ F.normalize(outputs, dim=1).t()
    same = (targets[:, None] == targets).float()
    return -(F.log_softmax(alike, 1) * same).mean()


def dice(outputs: Tensor, targets: Tensor) -> Tensor:
    found = outputs.sigmoid()
    return 1 - 2 * (found * targets).sum() / (found.sum() + targets.sum())


def centred(outputs: Tensor, targets: Tensor) -> Tensor:
    return ((outputs - outputs.mean(1, keepdim=True)) - targets).square().mean()


def next_tokens(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs[:, :-1].flatten(0, 1), targets[:, 1:].flatten())


def penalised(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs, targets) + 0.01 * outputs.square().mean()


CASES = [
    ("vectors", drawn(3), numbers(), F.cross_entropy, "classes", 1),
    ("soft targets", drawn(3), drawn(3).softmax(1), F.cross_entropy, "classes", 1),
    ("maps", drawn(3, 4, 4), numbers(4, 4), F.cross_entropy, "classes", 1),
    ("log-probabilities", drawn(3).log_softmax(1), numbers(), F.nll_loss, "classes", 1),
    ("focal loss", drawn(3), numbers(), focal, "classes", 1),
    ("hinges", drawn(3), numbers(), F.multi_margin_loss, "classes", 1),
    ("penalty", drawn(3), numbers(), penalised, "classes", 1),
    ("tokens", drawn(5, 7), numbers(5, below=7), next_tokens, "classes", 2),
    ("as many tokens as classes", drawn(7, 7), numbers(7, below=7), next_tokens, "classes", 2),
    (
        "labels",
        drawn(3),
        numbers(3, below=2).float(),
        F.binary_cross_entropy_with_logits,
        "labels",
        0,
    ),
    (
        "one label",
        drawn(1),
        numbers(below=2),
        lambda o, t: F.soft_margin_loss(o[:, 0], 2 * t - 1),
        "labels",
        0,
    ),
    (
        "mask",
        drawn(1, 4, 4),
        numbers(4, 4, below=2).float(),
        lambda o, t: dice(o[:, 0], t),
        "labels",
        0,
    ),
    ("one against all", drawn(3), numbers(), one_against_all, "labels", 0),
    (
        "probabilities",
        drawn(3).sigmoid(),
        numbers(3, below=2).float(),
        F.binary_cross_entropy,
        "values",
        0,
    ),
    ("regression", drawn(3), drawn(3), F.mse_loss, "values", 0),
    ("one number", torch.randn(SAMPLES), drawn(), F.l1_loss, "values", 0),
    ("zeros and ones", drawn(3), numbers(3, below=2).float(), F.mse_loss, "values", 0),
    ("signals", drawn(9), drawn(9), centred, "values", 0),
    ("embedding", drawn(6), numbers(), contrastive, "embedding", -1),
]


@pytest.mark.parametrize(
    ("outputs", "targets", "loss", "kind", "axis"),
    [case[1:] for case in CASES],
    ids=[case[0] for case in CASES],
)
def test_the_loss_tells_what_outputs_are(
    outputs: Tensor, targets: Tensor, loss: Any, kind: str, axis: int
) -> None:
    found = guess(outputs, targets, loss)
    assert found.kind == kind
    if kind in ("classes", "embedding"):
        assert found.axis == axis


def test_of_several_outputs_one_that_the_loss_depends_on_is_distilled() -> None:
    outputs = {"features": drawn(6), "boxes": drawn(4), "logits": drawn(3)}
    targets = {"kind": numbers(), "box": drawn(4)}

    def loss(o: Any, t: Any) -> Tensor:
        return F.cross_entropy(o["logits"], t["kind"]) + F.mse_loss(o["boxes"], t["box"])

    assert guess(outputs, targets, loss).name == "logits"
    boxes = guess(outputs, targets, loss, name="boxes")
    assert (boxes.name, boxes.kind) == ("boxes", "values")
    with pytest.raises(ValueError, match=r"no floating-point tensor 'masks'; name one of features"):
        guess(outputs, targets, loss, name="masks")


def test_what_the_task_states_is_taken() -> None:
    outputs, targets = drawn(3, 5), drawn(3, 5)
    assert guess(outputs, targets, F.mse_loss, kind="labels").kind == "labels"
    assert guess(outputs, targets, F.mse_loss, kind="classes", axis=2).axis == 2
    with pytest.raises(ValueError, match=r"the axis of the classes of output .* cannot be found"):
        guess(outputs, targets, F.mse_loss, kind="classes")
    with pytest.raises(ValueError, match="has no axis 3"):
        guess(outputs, targets, F.mse_loss, kind="classes", axis=3)


def test_values_are_scaled_by_their_variance_over_samples() -> None:
    levels = torch.tensor([0.0, 100.0])
    outputs = drawn(2) + levels
    variance = float(outputs.var(0, correction=0).mean())
    assert guess(outputs, outputs, F.mse_loss).scale == pytest.approx(variance)
    assert guess(torch.ones(SAMPLES, 2), outputs, F.mse_loss).scale == 1.0


def test_the_guess_leaves_the_outputs_and_the_generator_alone() -> None:
    outputs, targets = drawn(3), numbers()
    before = outputs.clone()

    def careless(o: Tensor, t: Tensor) -> Tensor:
        torch.rand(1)
        return F.cross_entropy(o.mul_(2), t)

    state = torch.get_rng_state()
    assert guess(outputs, targets, careless).kind == "classes"
    assert torch.equal(outputs, before)
    assert torch.equal(torch.get_rng_state(), state)
