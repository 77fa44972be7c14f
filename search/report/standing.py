"""How a study stands, in one line."""

from collections.abc import Sequence

from search.config.study_config import StudyConfig
from search.pareto.selection import roles
from search.report.formatting import format_metric
from search.trial_record import TrialRecord


def standing(config: StudyConfig, front: Sequence[TrialRecord]) -> str:
    """Return the trials of a front that one would choose from, with their objectives.

    Args:
        config: The study's configuration.
        front: The members of the front so far.

    Returns:
        Such as `best so far: knee trial 25 (score 0.9833, size_bytes 2.1 kB)`; empty while no
        compressed trial is on the front.
    """
    chosen = roles(front, config.objectives, config.preferences.weights)
    by_number = {record.number: record for record in front}
    parts = [
        f"{', '.join(words)} trial {number} ({_figures(config, by_number[number])})"
        for number, words in chosen.items()
    ]
    return f"best so far: {'; '.join(parts)}" if parts else ""


def _figures(config: StudyConfig, record: TrialRecord) -> str:
    return ", ".join(f"{n} {format_metric(n, record.metrics[n])}" for n in config.objectives)
