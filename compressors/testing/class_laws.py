"""Laws that a compressor class keeps whatever the network."""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from types import MappingProxyType, UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import torch
from torch import nn

from compressors.errors import InfeasibleError
from compressors.kinds import CompressorKind
from compressors.testing.case import CompressorClass
from compressors.testing.task import ToyTask

ClassLaw = Callable[[CompressorClass, Mapping[str, Any]], str | None]
"""Returns what is wrong with a class and its values, None if the law holds."""

REASON = r"[a-z0-9 -]+: .{10,}"
"""The pattern of an `InfeasibleError`: the name of the method, then why it cannot act."""


def is_a_frozen_dataclass(cls: CompressorClass, values: Mapping[str, Any]) -> str | None:
    """The class is a frozen, keyword-only dataclass with `kind` and `active`."""
    parameters = getattr(cls, "__dataclass_params__", None)
    if parameters is None or not parameters.frozen:
        return "the class is not a frozen dataclass"
    if not all(field.kw_only for field in fields(cls)):
        return "the dataclass is not keyword-only"
    if not isinstance(getattr(cls, "kind", None), CompressorKind):
        return "the class has no `kind` of type CompressorKind"
    if cls().active is not False or cls(**values).active is not True:
        return "`active` is not False without arguments and True with the given values"
    return None


def refuses_bad_values(cls: CompressorClass, values: Mapping[str, Any]) -> str | None:
    """Numbers outside of every range and choices that do not exist raise `ValueError`."""
    for name, bad in _bad_values(cls):
        try:
            cls(**{**values, name: bad})
        except ValueError as error:
            if name not in str(error) or repr(bad) not in str(error):
                return f"the error for {name}={bad!r} does not name the field and the value"
        else:
            return f"{name}={bad!r} is accepted"
    return None


def needs_something_to_act_on(cls: CompressorClass, values: Mapping[str, Any]) -> str | None:
    """On a model without parameters it raises `InfeasibleError` with a reason."""
    model = nn.Sequential(nn.Flatten(), nn.Softmax(-1)).eval()
    inputs = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))
    task = ToyTask(model, inputs, torch.zeros(8, dtype=torch.long))
    try:
        cls(**values)(model, task)
    except InfeasibleError as error:
        return complaint_about(error)
    return "a model without parameters is accepted"


def complaint_about(error: InfeasibleError) -> str | None:
    """Return what is wrong with the message of an error, None if it gives a reason."""
    if re.match(REASON, str(error)):
        return None
    return f"the message {str(error)!r} is not of the form 'name of the method: reason'"


def _bad_values(cls: CompressorClass) -> Iterator[tuple[str, object]]:
    """Yield fields with values that none accepts, as far as the annotations tell."""
    hints = get_type_hints(cls)
    for field in fields(cls):
        hint = hints[field.name]
        if get_origin(hint) is Literal:
            yield field.name, "no such choice"
        if {int, float} & set(get_args(hint) if isinstance(hint, UnionType) else [hint]):
            yield field.name, math.nan
            yield field.name, -math.inf


CLASS_LAWS: Mapping[str, ClassLaw] = MappingProxyType(
    {
        law.__name__: law
        for law in (is_a_frozen_dataclass, refuses_bad_values, needs_something_to_act_on)
    }
)
"""The laws by name."""
