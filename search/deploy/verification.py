"""Checking that exported files are the ones that a trial measured."""

from pathlib import Path

from search.artefact.model_files import RUN_FORM, SHIP_FORM, run_bytes
from search.artefact.onnx_form.runtime import predictor
from search.artefact.packed_form.packing import restores
from search.deploy.task_now import TaskNow
from search.errors import StudyError
from search.tasks.task import EvaluatedTask
from search.trial.scoring import evaluate
from search.trial_record import TrialRecord

TOLERANCE = 1e-6
"""Relative difference that is allowed, absolute for values below 1."""


def verify(folder: Path, record: TrialRecord, now: TaskNow) -> None:
    """Reload the files of an export and compare them with what the trial measured.

    Score and likelihood are measured again if the task is what it was. If it has changed since, the
    files are checked by themselves: their sizes, and that the packed file restores the ONNX file.

    Raises:
        StudyError: a metric differs, or the packed file does not unpack to the ONNX file.
    """
    run, packed = folder / RUN_FORM, folder / SHIP_FORM
    found = {"size_bytes": float(packed.stat().st_size), "run_bytes": float(run_bytes(run))}
    if now.task is not None and not now.changed:
        found |= measured_again(run, now.task)
    for name, value in found.items():
        if differs(value, record.metrics[name]):
            raise StudyError(
                f"trial {record.number} was measured with {name}={record.metrics[name]:g}, but the "
                f"exported file gives {value:g}: not exported; see {folder}"
            )
    if not restores(packed, run):
        raise StudyError(f"{packed} does not unpack to {RUN_FORM}: not exported")


def measured_again(run: Path, task: EvaluatedTask) -> dict[str, float]:
    """Return the metrics on validation data that an ONNX file gives wherever it is measured."""
    score = evaluate(predictor(run, task.outputs_like), task.validation, task)
    return {"score": score.value, "nll": score.nll}


def differs(found: float, expected: float) -> bool:
    """Return whether a metric is not the one that was measured, or is no number."""
    return not abs(found - expected) <= TOLERANCE * max(1.0, abs(expected))
