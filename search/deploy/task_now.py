"""The task of a study as it is when a trial is exported or verified, and what has changed in it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from search.errors import ConfigError
from search.tasks.loading import load_task
from search.tasks.task import EvaluatedTask
from search.trial.baseline import check_baseline
from search.utils.secrets import without_secrets


@dataclass(frozen=True, kw_only=True)
class TaskNow:
    """The task, or why there is none."""

    task: EvaluatedTask | None
    """None if it cannot be built any more."""
    changed: str
    """What has changed since the study was begun; empty if nothing has."""


def task_now(node: Mapping[str, Any], threads: int, baseline: Path) -> TaskNow:
    """Build the task, with a trial's number of threads from the start, and compare it with then.

    Args:
        node: The configuration that builds the task.
        threads: Threads that torch computes with, on which trained weights depend.
        baseline: Folder of the study's baseline.
    """
    torch.set_num_threads(threads)
    try:
        task = load_task(node)
    except ConfigError as error:
        return TaskNow(task=None, changed=_said(f"the task cannot be built: {error}"))
    try:
        check_baseline(task, baseline)
    except ConfigError as error:
        return TaskNow(task=task, changed=_said(str(error)))
    return TaskNow(task=task, changed="")


def _said(reason: str) -> str:
    """Return a reason in one line that may be kept in an export."""
    return " ".join(without_secrets(reason).split())
