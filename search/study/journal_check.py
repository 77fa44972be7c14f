"""Checking a journal line by line before it is read: Optuna passes over what it cannot place."""

import json
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path
from typing import Any

from search.errors import StudyError


class Operation(IntEnum):
    """What a line of Optuna's journal does, of the kinds that a study has."""

    CREATE_STUDY = 0
    SET_STUDY_USER_ATTR = 2
    SET_STUDY_SYSTEM_ATTR = 3
    CREATE_TRIAL = 4
    SET_TRIAL_STATE_VALUES = 6
    SET_TRIAL_USER_ATTR = 8
    SET_TRIAL_SYSTEM_ATTR = 9


NEEDED: dict[Operation, dict[str, type]] = {
    Operation.CREATE_STUDY: {"study_name": str, "directions": list},
    Operation.SET_STUDY_USER_ATTR: {"user_attr": dict},
    Operation.SET_STUDY_SYSTEM_ATTR: {"system_attr": dict},
    Operation.CREATE_TRIAL: {"user_attrs": dict, "distributions": dict, "params": dict},
    Operation.SET_TRIAL_STATE_VALUES: {"trial_id": int, "state": int},
    Operation.SET_TRIAL_USER_ATTR: {"trial_id": int, "user_attr": dict},
    Operation.SET_TRIAL_SYSTEM_ATTR: {"trial_id": int, "system_attr": dict},
}
"""By operation, what its line must have."""
Line = dict[str, Any]


def check_journal(path: Path) -> None:
    """Check that each line of a journal is whole, and that none is missing between two trials.

    Raises:
        StudyError: One is not; the message has the file, the number of the line and the remedy.
    """
    trials, name = 0, None
    for number, line in enumerate(journal_lines(path), 1):
        if number == 1 and line is not None:
            name = line.get("study_name")
        fault = "it is no operation of a study" if line is None else _fault(line, name, trials)
        if fault:
            raise damaged_journal(path, f"line {number}: {fault}")
        trials += line is not None and line["op_code"] == Operation.CREATE_TRIAL


def damaged_journal(path: Path, fault: str) -> StudyError:
    """Return the error of a damaged journal, with the remedy."""
    return StudyError(
        f"{path}, {fault}; 'paredown repair study={path.parent.name} "
        f"runs_dir={path.parent.parent}' rescues the trials"
    )


def journal_lines(path: Path) -> Iterator[Line | None]:
    """Yield the operations of a journal; None for a line that is none.

    The last line is left out if its end is missing, as after a kill.
    """
    with path.open("rb") as file:
        for text in file:
            if text.endswith(b"\n"):
                yield _operation(text)


def _operation(text: bytes) -> Line | None:
    try:
        line = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(line, dict) or type(line.get("op_code")) is not int:
        return None
    if line["op_code"] not in set(Operation):
        return None
    needed = NEEDED[Operation(line["op_code"])]
    return line if all(isinstance(line.get(key), kind) for key, kind in needed.items()) else None


def _fault(line: Line, name: str | None, trials: int) -> str:
    """Return what is wrong with an operation; nothing if it is in its place.

    Args:
        line: The operation. Each opening of a study creates it once more, to no effect.
        name: Name of the study that the first line creates; None if it creates none.
        trials: The number of trials that were begun before.
    """
    if name is None:
        return "the beginning of the study is missing"
    if line["op_code"] == Operation.CREATE_STUDY:
        return "" if line["study_name"] == name else "another study begins"
    if line["op_code"] == Operation.CREATE_TRIAL:
        plan = line["user_attrs"].get("plan")
        found = plan.get("number") if isinstance(plan, dict) else None
        return "" if found == trials else f"trial {trials} is expected, trial {found} is there"
    trial = line.get("trial_id", -1)
    return "" if trial < trials else f"trial {trial} was not begun"
