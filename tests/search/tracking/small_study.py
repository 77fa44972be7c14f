"""Four finished trials, a mirror of them, and what MLflow has of it."""

import socket

from search.tracking import MlflowTracker
from search.tracking.base import StudyDescription
from search.trial_record import TrialRecord

OBJECTIVES = {"score": "maximize", "size_bytes": "minimize"}


PARAMETERS = ["encode", "prune.ratio", "share.clusters"]


def trial(number, **changes):
    fields = {
        "status": "ok",
        "origin": "sampled" if number else "baseline",
        "seed": number,
        "params": {"encode": "share", "prune.ratio": 0.1 * number} if number else {},
        "recipe": {"seed": number, "steps": {"prune": {"_target_": "x.Y", "ratio": 0.1 * number}}},
        "recipe_hash": f"{number:04x}",
        "metrics": {"score": 0.9, "size_bytes": 100.0 - number, "achieved/prune/parameters": 0.5},
        "verdict": "size gain",
        "started": 1000.0 + 10 * number,
        "finished": 1004.0 + 10 * number,
    }
    return TrialRecord(number=number, **(fields | changes))


FAILED = {
    "status": "error",
    "metrics": {},
    "verdict": "",
    "error": "Traceback (most recent call last):\n  File\nValueError: broken",
}


RECORDS = [trial(0), trial(1), trial(2, **FAILED), trial(3)]


HISTORY = {0: 0.0, 1: 0.2, 2: 0.2, 3: 0.4}


def description(runs_dir, **changes):
    fields = {
        "name": "digits",
        "config_yaml": "trials: 4\n",
        "objectives": OBJECTIVES,
        "parameters": PARAMETERS,
        "tags": {"paredown.space_hash": "abc"},
    }
    return StudyDescription(runs_dir=runs_dir, **(fields | changes))


def opened(runs_dir, **changes):
    return MlflowTracker().open(description(runs_dir, **changes))


def written(mirror, records, front, history):
    mirror.write_trials(records)
    mirror.write_front(front, history)


def children(mirror):
    found = mirror.study.client.search_runs(
        [mirror.study.experiment_id], f"tags.`mlflow.parentRunId` = '{mirror.study.run_id}'"
    )
    return {int(run.data.tags["paredown.trial"]): run for run in found}


def parents(mirror):
    """Return the parent runs of all studies in the mirror's experiment."""
    query = "tags.`paredown.kind` = 'study'"
    return mirror.study.client.search_runs([mirror.study.experiment_id], query)


def logged_steps(mirror):
    history = mirror.study.client.get_metric_history(mirror.study.run_id, "hypervolume")
    return sorted((metric.step, metric.value) for metric in history)


def front_in(mirror):
    return sorted(
        number
        for number, run in children(mirror).items()
        if run.data.tags["paredown.front"] == "true"
    )


def artifacts(mirror, run_id):
    return {item.path for item in mirror.study.client.list_artifacts(run_id)}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
