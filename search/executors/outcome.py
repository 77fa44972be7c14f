"""How a job ended, as its worker writes it into the folder of the job."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from search.trial_record import FORMER_STATUS
from search.utils.files import write_atomically
from search.utils.storable_text import storable_data

OUTCOME = "outcome.json"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a job ended."""

    status: str
    """ok, infeasible, config_error, error, timeout, oom, crashed or environment."""
    result: Mapping[str, Any] | None = None
    """What the function returned, as plain data; None unless the status is ok."""
    error: str = ""
    """The traceback or the reason; empty when the status is ok."""
    repeatable: bool = False
    """Whether the reason may lie outside the job, so that the same job may succeed: its worker was
    killed, or memory, disk or files ran out."""
    subject: str = ""
    """What the job was about, as its `Job` says."""
    cause: str = ""
    """For the status error: the error in one line, with the layer and the user's line of code."""
    started: float
    """Unix time in seconds."""
    finished: float
    """Unix time in seconds."""

    def __post_init__(self) -> None:
        """Make all text storable, since it comes from libraries and the user's code."""
        for name in ("result", "error", "cause"):
            object.__setattr__(self, name, storable_data(getattr(self, name)))

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Self:
        """Return the outcome that plain data describe, written by this version or by 0.1.0."""
        named = {("status" if key == "kind" else key): value for key, value in data.items()}
        status = FORMER_STATUS.get(named["status"], named["status"])
        return cls(**{**named, "status": status})


def write_outcome(outcome: Outcome, folder: Path) -> None:
    """Write an outcome into the folder of its job, whole or not at all."""
    with write_atomically(folder / OUTCOME) as file:
        file.write(json.dumps(asdict(outcome)).encode())


def left_outcome(folder: Path) -> Outcome | None:
    """Return the outcome that an earlier worker left in a folder; None if it left no whole one."""
    try:
        return read_outcome(folder)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def read_outcome(folder: Path) -> Outcome:
    """Read the outcome that a worker wrote into the folder of its job."""
    return Outcome.from_data(json.loads((folder / OUTCOME).read_text()))
