"""Whether the baseline knows anything: a model at chance level cannot lose score."""

from collections.abc import Mapping

from search.tasks.task import EvaluatedTask

STANDARD_ERRORS = 2.0
"""Standard errors by which a score must lie above chance."""


def chance_notes(task: EvaluatedTask, metrics: Mapping[str, float], *, maximize: bool) -> list[str]:
    """Return one line if the baseline scores no better than guessing its classes, else none.

    Args:
        task: Says what the outputs are; other outputs than classes have no known chance level.
        metrics: The baseline's `score` on validation data, and its standard error.
        maximize: Whether a higher score is better; where it is not, no chance level is known.
    """
    score, error = metrics["score"], metrics.get("score_standard_error", 0.0)
    if task.outputs.kind != "classes" or not maximize or not 0 <= score <= 1:
        return []
    output = task.outputs.select(task.outputs_like)
    classes = output.shape[task.outputs.axis % output.dim()]
    if classes < 2 or score > 1 / classes + STANDARD_ERRORS * error:
        return []
    return [
        f"the baseline is at chance level: its score {score:.4f} ± {error:.4f} is no better than "
        f"guessing one of {classes} classes ({1 / classes:.4f}); load trained weights in the task, "
        "since a model that knows nothing has no score to lose"
    ]
