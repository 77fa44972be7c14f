"""The trial of a study that is to be deployed."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from search.config.existing import read_config
from search.config.study_config import StudyConfig
from search.pareto.front import pareto_front
from search.pareto.selection import select
from search.study.storage.opening import read_study
from search.trial_record import TrialRecord
from search.utils.trust import check_targets, signed_targets


@dataclass(frozen=True, kw_only=True)
class SelectedTrial:
    """A trial, the expression that selected it, and the study that it is from."""

    config: StudyConfig
    records: list[TrialRecord]
    """All finished trials of the study."""
    record: TrialRecord
    expression: str

    @property
    def front(self) -> list[int]:
        """Numbers of the trials on the study's front, the best by the first objective first."""
        return [member.number for member in pareto_front(self.records, self.config.objectives)]


def select_trial(folder: Path, expression: str | int) -> SelectedTrial:
    """Return the trial of a study that an expression selects.

    Raises:
        SelectionError: the expression selects no trial.
    """
    config = read_config(folder)
    records = read_study(config).records()
    record = select(records, config.objectives, expression, config.preferences.weights)
    return SelectedTrial(config=config, records=records, record=record, expression=str(expression))


def check_study(
    config: StudyConfig, record: TrialRecord, trusted: Collection[str] = ()
) -> list[str]:
    """Check the code that is run to make the model of a trial again.

    Returns:
        The code that this user named for the study when it was launched on this machine; empty for
        a study from elsewhere.

    Raises:
        ConfigError: The study or the recipe names code that is not trusted.
    """
    known = signed_targets(config.folder)
    where = f"study '{config.study}'"
    check_targets(where, {"task": config.task}, (*known, *trusted))
    check_targets(f"{where}, trial {record.number}", record.recipe, (*known, *trusted))
    return known


def metrics_on_test(record: TrialRecord) -> dict[str, float]:
    """Return the metrics that the study measured on the test set; empty if it measured none."""
    found = {n: v for n, v in record.metrics.items() if n.startswith("test_")}
    return {name.removeprefix("test_"): value for name, value in found.items()}
