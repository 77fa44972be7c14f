"""How far the outputs of one model are from those of another, by what they are."""

import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from compressors.outputs.spec import OutputSpec


def divergence(
    spec: OutputSpec, outputs: Tensor, reference: Tensor, temperature: float = 1.0
) -> Tensor:
    """Return how far outputs are from those of a reference, a scalar that is 0 for equal outputs.

    For classes it is KL(reference || outputs) in nats; for labels the same for each label alone;
    for values the squared error divided by `spec.scale`; for embeddings 1 - cosine. It is the mean
    over all samples and positions. KL is multiplied by the square of the temperature
    (Hinton et al., 2015, arXiv:1503.02531).

    Args:
        spec: What the outputs are.
        outputs: The distilled tensor, of any shape.
        reference: The same tensor of the other model, of the same shape.
        temperature: Divisor of the logits; it does not act on values and embeddings.
    """
    if spec.kind == "classes":
        return _classes(spec.axis, outputs / temperature, reference / temperature) * temperature**2
    if spec.kind == "labels":
        return _labels(outputs / temperature, reference / temperature) * temperature**2
    if spec.kind == "embedding":
        return (1 - F.cosine_similarity(outputs, reference, dim=spec.axis)).mean()
    return (outputs - reference).square().mean() / spec.scale


def _classes(axis: int, outputs: Tensor, reference: Tensor) -> Tensor:
    """Return the mean over all other axes of KL between the softmax of logits `[..., C, ...]`."""
    ours = F.log_softmax(outputs.movedim(axis, -1), dim=-1).flatten(0, -2)
    theirs = F.log_softmax(reference.movedim(axis, -1), dim=-1).flatten(0, -2)
    return F.kl_div(ours, theirs, reduction="batchmean", log_target=True)


def _labels(outputs: Tensor, reference: Tensor) -> Tensor:
    """Return the mean KL between the sigmoids of logits of any shape."""
    true = reference.sigmoid()
    missed = true * (F.logsigmoid(reference) - F.logsigmoid(outputs))
    invented = (1 - true) * (F.logsigmoid(-reference) - F.logsigmoid(-outputs))
    return (missed + invented).mean()
