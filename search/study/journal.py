"""The study on disk: Optuna's journal, opened by one driver at a time, as trial records."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock, Timeout
from optuna.distributions import BaseDistribution
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState, create_trial

from search.errors import StudyError
from search.trial_record import KNOWN_MODEL, TrialRecord, Value

JOURNAL = "journal.log"
_TEST = "test:"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A trial that was asked for: everything needed to run it, now or after a restart."""

    number: int
    origin: str
    seed: int
    params: Mapping[str, Value]
    recipe: Mapping[str, Any]
    recipe_hash: str


@dataclass(kw_only=True)
class Store:
    """The open journal of one study; what was read of it once is kept."""

    study: optuna.Study
    objectives: Mapping[str, str]
    changes: list[TrialRecord] = field(init=False, default_factory=list)
    """Every record as it was told or gained test figures, in that order; grows at its end."""
    hashes: set[str] = field(init=False, default_factory=set)
    """Of the recipes that were asked for."""
    _records: dict[int, TrialRecord] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        attributes = self.study.user_attrs
        for trial in self.trials():
            self.hashes.add(trial.user_attrs["plan"]["recipe_hash"])
            if trial.state.is_finished():
                figures = attributes.get(f"{_TEST}{trial.number}", {})
                self._keep(_with_figures(_record(trial), figures))

    def trials(self) -> list[FrozenTrial]:
        """Return all trials as Optuna knows them, in order of number; not to be changed."""
        return self.study.get_trials(deepcopy=False)

    def unfinished(self) -> list[Plan]:
        """Return the trials that were asked for and not told, in order of number."""
        running = [t for t in self.trials() if t.state is TrialState.RUNNING]
        return [Plan(**trial.user_attrs["plan"]) for trial in running]

    def records(self) -> list[TrialRecord]:
        """Return the finished trials in order of number, with test figures where measured."""
        return [self._records[number] for number in sorted(self._records)]

    def add(
        self,
        plan: Plan,
        distributions: Mapping[str, BaseDistribution],
        system_attrs: Mapping[str, Any],
    ) -> None:
        """Write down a trial before it starts."""
        self.study.add_trial(
            create_trial(
                state=TrialState.RUNNING,
                params=dict(plan.params),
                distributions=dict(distributions),
                user_attrs={"plan": asdict(plan)},
                system_attrs=dict(system_attrs),
            )
        )
        self.hashes.add(plan.recipe_hash)

    def tell(self, record: TrialRecord) -> None:
        """Write down how a trial ended."""
        trial_id = self.trials()[record.number]._trial_id
        trial = optuna.trial.Trial(self.study, trial_id)
        trial.set_user_attr("record", asdict(record))
        if record.status == "ok":
            for name, violation in record.violations.items():
                trial.set_constraint(name, violation)
            self.study.tell(trial, [record.metrics[name] for name in self.objectives])
        else:
            # A model that is known says nothing against its recipe; a weak one does, and that is
            # what samplers take a pruned trial for (measured by benchmarks/weak_trials.py).
            weak = record.status == "stopped" and not record.error.startswith(KNOWN_MODEL)
            self.study.tell(trial, state=TrialState.PRUNED if weak else TrialState.FAIL)
        self._keep(_record(self.trials()[record.number]))

    def begin(self, identity: Mapping[str, Any], infeasible_steps: Mapping[str, str]) -> None:
        """Write down, once, what makes trials comparable and which steps cannot act, and why."""
        if self.infeasible_steps() is None:
            self.study.set_user_attr("infeasible_steps", dict(infeasible_steps))
            self.study.set_user_attr("identity", dict(identity))

    def infeasible_steps(self) -> dict[str, str] | None:
        """Return why some steps cannot act on the model; None before the study has begun."""
        known: dict[str, str] | None = self.study.user_attrs.get("infeasible_steps")
        return known if "identity" in self.study.user_attrs else None

    def keep_test(self, number: int, figures: Mapping[str, float]) -> None:
        """Write down the test figures of a finished trial."""
        self.study.set_user_attr(f"{_TEST}{number}", dict(figures))
        self._keep(_with_figures(self._records[number], figures))

    def _keep(self, record: TrialRecord) -> None:
        self._records[record.number] = record
        self.changes.append(record)


def _record(trial: FrozenTrial) -> TrialRecord:
    return TrialRecord(**trial.user_attrs["record"])


def _with_figures(record: TrialRecord, figures: Mapping[str, float]) -> TrialRecord:
    return replace(record, metrics={**record.metrics, **figures})


@contextmanager
def open_store(
    folder: Path,
    *,
    objectives: Mapping[str, str],
    identity: Mapping[str, Any],
) -> Iterator[Store]:
    """Open a study's journal, or begin it, and keep other drivers out.

    Arguments:
        folder: the study's folder.
        identity: what makes two trials of the study comparable, as plain data; kept by
            `Store.begin` and compared on every later opening.

    Raises:
        StudyError: another driver has the study, or the identity differs from the one kept.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / "driver.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise StudyError(f"{folder}: another process is running this study") from error
    try:
        study = _open_journal(folder / JOURNAL, folder.name, list(objectives.values()))
        _check_identity(study, identity, folder)
        yield Store(study=study, objectives=objectives)
    finally:
        lock.release()


def read_store(folder: Path, objectives: Mapping[str, str]) -> Store:
    """Open the journal of a study that was begun, only to read it."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = optuna.storages.JournalStorage(JournalFileBackend(str(folder / JOURNAL)))
    study = optuna.load_study(study_name=folder.name, storage=storage)
    return Store(study=study, objectives=objectives)


def _open_journal(path: Path, name: str, directions: list[Any]) -> optuna.Study:
    """Open a journal that a killed driver may have left with a torn line and a stale lock."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path.with_name(f"{path.name}.lock").unlink(missing_ok=True)
    if path.exists():
        content = path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            path.write_bytes(content[:whole])
    storage = optuna.storages.JournalStorage(JournalFileBackend(str(path)))
    return optuna.create_study(
        study_name=name, storage=storage, directions=directions, load_if_exists=True
    )


def _check_identity(study: optuna.Study, identity: Mapping[str, Any], folder: Path) -> None:
    now = json.loads(json.dumps(identity))
    kept = study.user_attrs.get("identity")
    changed = [key for key in now if kept is not None and kept.get(key) != now[key]]
    if changed:
        raise StudyError(
            f"study '{folder.name}' was begun with another {', '.join(changed)}; its trials could "
            f"not be compared: give the new study a name (study=...) or delete {folder}"
        )
