"""Whether a model gives the same outputs in two calls, and what draws random numbers if not."""

import math
import sysconfig
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from compressors.base import Inputs, output_tensors, run
from compressors.errors import UnfitModelError

OTHER_CODE = tuple(
    str(path)
    for path in (
        Path(torch.__file__).parent,
        Path(__file__).parent.parent,
        sysconfig.get_paths()["stdlib"],
    )
)
"""Folders of code that is not the user's."""


def check_repeatable(model: nn.Module, example: Inputs, expected: list[Tensor]) -> None:
    """Run a model once more and compare its outputs with those of the first call.

    Args:
        model: The model, in eval mode.
        example: One batch of inputs `[B, ...]`.
        expected: Its outputs of an earlier call, each `[B, ...]`.

    Raises:
        UnfitModelError: They differ; the message names the line that draws random numbers.
    """
    with _RandomCalls() as random:
        outputs = output_tensors(run(model, example))
    error = tolerance([*model.parameters(), *expected])
    pairs = zip(outputs, expected, strict=True)
    if all(relative_difference(output, known) <= error for output, known in pairs):
        return
    cause = random.found[0] if random.found else "a state that it keeps, or numbers of its own"
    raise UnfitModelError(
        "the model's outputs differ between two calls in eval mode, so that nothing can be "
        f"compared with it; the cause is {cause}; make it depend on the mode, as nn.Dropout or "
        "F.dropout(..., training=self.training) do"
    )


def tolerance(tensors: Iterable[Tensor]) -> float:
    """Return the relative error at which two results count as equal: half of their digits.

    Args:
        tensors: Parameters and outputs of any shapes; the coarsest of their types counts.
    """
    types = {tensor.dtype for tensor in tensors if tensor.is_floating_point()}
    return math.sqrt(max(torch.finfo(kind).eps for kind in types | {torch.float32}))


def relative_difference(one: Tensor, other: Tensor) -> float:
    """Return the norm of the difference of two outputs `[B, ...]` over the norm of the second.

    It is infinite if the shapes differ, and 0 if the same values are not finite in both.
    """
    if one.shape != other.shape:
        return math.inf
    first, second = one.double(), other.double()
    if not torch.equal(first.isfinite(), second.isfinite()):
        return math.inf
    difference = torch.nan_to_num(first - second, 0.0, 0.0, 0.0).norm()
    size = torch.nan_to_num(second, 0.0, 0.0, 0.0).norm()
    return float(difference / size) if size else float(difference)


class _RandomCalls(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes, in this context, the lines of the user's code that draw from torch's generator."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:  # torch prescribes this signature
        if torch.Tag.nondeterministic_seeded in func.tags:
            own = [f for f in traceback.extract_stack() if not f.filename.startswith(OTHER_CODE)]
            name = str(func).split(".")[1].strip("_")
            line = f" in line {own[-1].lineno} of {own[-1].filename}: {own[-1].line}" if own else ""
            self.found.append(f"'{name}'{line}")
        return func(*args, **kwargs or {})
