"""What a user needs to know of an error: its cause, the layer, and the line of the user's code."""

import sysconfig
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).parents[2]
LIBRARIES = tuple(
    str(path)
    for path in (
        *(ROOT / package for package in ("search", "compressors", "paredown")),
        *(sysconfig.get_paths()[key] for key in ("stdlib", "purelib", "platlib")),
        "<",
    )
)
"""Folders of code that is not the user's, and the mark of code in no file."""
MAX_MESSAGE = 300
"""Characters of an error's message that are kept."""


def failure_cause(error: BaseException) -> str:
    """Return an error in one line: its kind and message, the layer, and the user's own line.

    Of a message of several lines the first is kept, since what follows is a dump of native code.
    """
    lines = [line.strip() for line in message_of(error).splitlines() if line.strip()]
    cause = type(error).__name__ + (f": {lines[0][:MAX_MESSAGE]}" if lines else "")
    return ", ".join([cause, *_layer(error), *_user_line(error)])


def message_of(error: BaseException) -> str:
    """Return an error's message; a note in place of one whose class cannot print it."""
    return str(traceback.TracebackException(type(error), error, None))


def _layer(error: BaseException) -> Iterator[str]:
    """Yield the innermost module of a model whose `forward` was running."""
    modules = [m for frame in _frames(error) if (m := _running_module(frame)) is not None]
    if modules:
        names = {id(module): name for name, module in modules[0].named_modules()}
        kind, name = type(modules[-1]).__name__, names.get(id(modules[-1]), "")
        yield f"in layer '{name}' ({kind})" if name else f"in the model ({kind})"


def _running_module(frame: FrameType) -> Any:
    """Return the module that a frame runs the `forward` of; told by its methods, without torch."""
    module = frame.f_locals.get("self")
    runs = frame.f_code.co_name == "forward" and hasattr(type(module), "named_modules")
    return module if runs else None


def _frames(error: BaseException) -> Iterator[FrameType]:
    step = error.__traceback__
    while step is not None:
        yield step.tb_frame
        step = step.tb_next


def _user_line(error: BaseException) -> Iterator[str]:
    """Yield the last line of code that is neither ours nor a library's."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not frame.filename.startswith(LIBRARIES)]
    if own:
        yield f"in line {own[-1].lineno} of {own[-1].filename}: {own[-1].line}"
