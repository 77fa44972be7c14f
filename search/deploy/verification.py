"""Checking that exported files are the ones that a trial measured."""

from pathlib import Path

from search.artefact.model_files import RUN_FORM, SHIP_FORM, run_bytes
from search.artefact.onnx_form.runtime import predictor
from search.artefact.packed_form.packing import restores
from search.errors import StudyError
from search.tasks.task import EvaluatedTask
from search.trial.scoring import evaluate
from search.trial_record import TrialRecord

REBUILT_METRICS = ("score", "nll", "size_bytes", "run_bytes")
"""Metrics that a trial's artefact gives again, whenever and wherever it is measured."""
TOLERANCE = 1e-6
"""Relative difference that is allowed, absolute for values below 1."""


def verify(folder: Path, record: TrialRecord, task: EvaluatedTask) -> None:
    """Reload the files of an export and measure them against the trial's metrics.

    Raises:
        StudyError: a metric differs, or the packed file does not unpack to the ONNX file.
    """
    run, packed = folder / RUN_FORM, folder / SHIP_FORM
    score = evaluate(predictor(run, task.outputs_like), task.validation, task)
    found = {
        "score": score.value,
        "nll": score.nll,
        "size_bytes": packed.stat().st_size,
        "run_bytes": run_bytes(run),
    }
    for name in REBUILT_METRICS:
        expected = record.metrics[name]
        if abs(found[name] - expected) > TOLERANCE * max(1.0, abs(expected)):
            raise StudyError(
                f"trial {record.number} was measured with {name}={expected:g}, but the exported "
                f"file gives {found[name]:g}: not exported; see {folder}"
            )
    if not restores(packed, run):
        raise StudyError(f"{packed} does not unpack to {RUN_FORM}: not exported")
