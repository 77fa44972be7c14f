"""Find the constructs of a model's code that no file can follow."""

import linecache
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.jit._trace import TracerWarning
from torch.nn.utils.rnn import PackedSequence

from compressors.base import run
from compressors.models.copying import copy_model
from search.artefact.onnx_form.exporting.call import Call

LIBRARIES = "site-packages"
"""Folder of the installed packages, whose lines a user cannot change."""


def packs_sequences(model: nn.Module, call: Call) -> str | None:
    """Return the name of a layer that is called on a packed sequence; None if there is none."""
    found: list[str] = []
    watched = copy_model(model)
    for path, module in watched.named_modules():

        def watch(_: nn.Module, inputs: tuple[Any, ...], path: str = path) -> None:
            if any(isinstance(item, PackedSequence) for item in inputs):
                found.append(path)

        module.register_forward_pre_hook(watch)
    with torch.no_grad():
        run(watched, call.example)
    return found[0] if found else None


def fixed_lines(model: nn.Module, call: Call) -> list[str]:
    """Return the lines of the model's code whose result a trace fixes to that of the example.

    Torch's tracer names them: `len` of a tensor, and tensors that become Python values.
    """
    with warnings.catch_warnings(record=True) as caught, suppress(RuntimeError, TypeError):
        warnings.simplefilter("always")
        torch.jit.trace(  # type: ignore[no-untyped-call]
            model,
            None if call.keywords else call.arguments,
            example_kwarg_inputs=call.keywords or None,
            check_trace=False,
            strict=False,
        )
    places = dict.fromkeys(
        (warning.filename, warning.lineno)
        for warning in caught
        if issubclass(warning.category, TracerWarning) and LIBRARIES not in warning.filename
    )
    return [
        f"{Path(file).name}:{line} `{linecache.getline(file, line).strip()}`"
        for file, line in places
    ]
