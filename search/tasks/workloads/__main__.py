"""Build a task, which trains and caches its baseline: `NAME KEY=VALUE ...`, as in `task`."""

import sys
import time
from collections.abc import Sequence
from importlib.util import find_spec

import torch
import yaml

from compressors.base import run
from compressors.errors import ParedownError
from search.errors import ConfigError
from search.tasks.loading import load_task
from search.tasks.task import EvaluatedTask


def main(arguments: Sequence[str]) -> None:
    """Build the task and print how long that took and what the baseline scores.

    Args:
        arguments: Name of a task of this folder, then values of its `task` node.

    Raises:
        ConfigError: There is no such task, or a value does not suit it.
    """
    name, *pairs = arguments or [""]
    target = f"{__package__}.{name}"
    if not name.isidentifier() or find_spec(target) is None:
        raise ConfigError(f"name a task of conf/task/ whose target is in {__package__}: {name!r}")
    values = {key: yaml.safe_load(value) for key, _, value in (p.partition("=") for p in pairs)}
    started = time.monotonic()
    task = load_task({"_target_": f"{target}.{name}", **values})
    seconds = time.monotonic() - started
    print(f"{name}: ready after {seconds:.0f} s; validation score {validation_score(task):.4f}")


def validation_score(task: EvaluatedTask) -> float:
    """Return the mean of the baseline's scores per example of the validation data."""
    with torch.no_grad():
        scores = [
            torch.as_tensor(task.score(run(task.baseline, inputs), targets))
            for inputs, targets in task.validation
        ]
    return float(torch.cat(scores).mean())


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except ParedownError as error:
        sys.exit(f"{__package__}: {error}")
