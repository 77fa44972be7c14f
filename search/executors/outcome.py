"""How a job ended, as its worker writes it into the folder of the job."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from search.trial_record import FORMER_STATUS
from search.utils.files import write_atomically

OUTCOME = "outcome.json"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a job ended."""

    status: str
    """ok, infeasible, config_error, error, timeout, oom or crashed."""
    result: Mapping[str, Any] | None = None
    """What the function returned, as plain data; None unless the status is ok."""
    error: str = ""
    """The traceback or the reason; empty when the status is ok."""
    cause: str = ""
    """For the status error: the error in one line, with the layer and the user's line of code."""
    started: float
    """Unix time in seconds."""
    finished: float
    """Unix time in seconds."""

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


def has_outcome(folder: Path) -> bool:
    """Return whether the worker of a job has written its outcome."""
    return (folder / OUTCOME).exists()


def read_outcome(folder: Path) -> Outcome:
    """Read the outcome that a worker wrote into the folder of its job."""
    return Outcome.from_data(json.loads((folder / OUTCOME).read_text()))
