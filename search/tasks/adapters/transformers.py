"""A model of the library transformers as it is: its loss, and accuracy where it classifies.

Interface: `PreTrainedModel.loss_function` and `config`, transformers 5.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from search.tasks.tensors import correct

Loss = Callable[[Any, Any], Tensor]
ONE_CLASS = (None, "single_label_classification")
"""Problem types of a classifier whose targets are class numbers."""


def transformers_parts(parts: Mapping[str, Any]) -> dict[str, Any]:
    """Return loss and score of a transformers model, as far as they are known and not given.

    The loss is the model's own, of its logits. The score of a model that classifies whole samples
    is its accuracy.
    """
    model = parts.get("model")
    config, function = getattr(model, "config", None), getattr(model, "loss_function", None)
    if config is None or not callable(function):
        return {}
    loss = _loss(function, config)
    score = {"score": _accuracy} if _classifies(model, config) else {}
    return ({"loss": loss} if loss else {}) | score | dict(parts)


def _loss(function: Callable[..., Tensor], config: Any) -> Loss | None:
    """Return a loss of the library as one of outputs and targets, None if it needs more."""
    takes = inspect.signature(function).parameters
    if "labels" not in takes or not {"logits", "pooled_logits"} & takes.keys():
        return None
    known = {"config": config, "vocab_size": getattr(config, "vocab_size", None)}
    settings = {name: value for name, value in known.items() if name in takes}
    logits = "logits" if "logits" in takes else "pooled_logits"

    def loss(outputs: Any, targets: Any) -> Tensor:
        found: Tensor = function(labels=targets, **{logits: outputs["logits"]}, **settings)
        return found

    return loss


def _classifies(model: Any, config: Any) -> bool:
    kind = getattr(model, "loss_type", None) or ""
    return (
        kind.endswith("Classification")
        and "Token" not in kind
        and getattr(config, "num_labels", 0) > 1
        and getattr(config, "problem_type", None) in ONE_CLASS
    )


def _accuracy(outputs: Any, targets: Tensor) -> Tensor:
    """Return 1.0 where the largest logit of `[B, C]` is at the class `[B]`, else 0.0; `[B]`."""
    return correct(outputs["logits"], targets)
