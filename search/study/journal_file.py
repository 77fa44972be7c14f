"""Opening a study's journal file: one driver at a time, also after a kill."""

import json
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock, Timeout
from optuna.exceptions import ExperimentalWarning
from optuna.storages.journal import BaseJournalBackend, JournalFileBackend
from optuna.study import StudyDirection

from search.errors import StudyError
from search.executors.outcome import OUTCOME
from search.study.journal import IDENTITY, Journal
from search.study.journal_check import Operation, check_journal, damaged_journal, journal_lines

JOURNAL = "journal.log"
DAMAGED = (ValueError, TypeError, LookupError, AttributeError, RuntimeError, ArithmeticError)
"""What Optuna and our records raise for values that no study has."""


@contextmanager
def open_journal(
    folder: Path,
    *,
    objectives: Mapping[str, str],
    identity: Mapping[str, Any],
    anew: bool = False,
) -> Iterator[Journal]:
    """Open a study's journal, or begin it, and keep other drivers out.

    Args:
        folder: The study's folder.
        objectives: By metric, `maximize` or `minimize`.
        identity: What makes two trials of the study comparable, as plain data; kept by
            `Journal.begin` and compared on every later opening.
        anew: Whether a journal may begin in a folder that has trials.

    Raises:
        StudyError: another driver has the study, the identity differs from the one kept, or the
            journal is damaged or gone.
    """
    with driver_lock(folder):
        path = folder / JOURNAL
        _cut_torn_line(path)
        if path.exists() or not anew:
            _check(path)
        with _damage_named(path):
            study = _open_file(path, objectives)
            journal = Journal(study=study, objectives=objectives, remake=partial(_remade, path))
        check_identity(journal, identity, folder)
        yield journal


@contextmanager
def driver_lock(folder: Path) -> Iterator[None]:
    """Keep other processes from writing a study or its mirror.

    Raises:
        StudyError: Another one does.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / "driver.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise StudyError(f"{folder}: another process is running this study") from error
    try:
        yield
    finally:
        lock.release()


def read_journal(folder: Path, objectives: Mapping[str, str]) -> Journal:
    """Open the journal of a study that was begun, only to read it.

    Raises:
        StudyError: The journal is damaged or gone.
    """
    _check(folder / JOURNAL)
    if not (folder / JOURNAL).exists():
        raise StudyError(f"{folder} has no trials yet: run the search")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with _damage_named(folder / JOURNAL):
        storage = optuna.storages.JournalStorage(JournalFileBackend(str(folder / JOURNAL)))
        study = optuna.load_study(study_name=_name(folder / JOURNAL), storage=storage)
        return Journal(study=study, objectives=objectives)


def kept_objectives(folder: Path) -> Mapping[str, str]:
    """Return the objectives with which a study has begun; none before that."""
    path = folder / JOURNAL
    for line in journal_lines(path) if path.exists() else ():
        if line is not None and line["op_code"] == Operation.SET_STUDY_USER_ATTR:
            identity = line["user_attr"].get(IDENTITY)
            if isinstance(identity, dict) and isinstance(identity.get("objectives"), dict):
                return {str(name): str(way) for name, way in identity["objectives"].items()}
    return {}


@dataclass(frozen=True)
class _NamedFile(BaseJournalBackend):
    """Optuna's journal file; an error of the disk while it grows names the file."""

    path: Path
    file: JournalFileBackend

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        """Return the lines of the file from a number on."""
        return self.file.read_logs(log_number_from)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Add lines to the file."""
        try:
            self.file.append_logs(logs)
        except OSError as error:
            error.filename = error.filename or str(self.path)
            raise


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    """Raise an error of ours for one of Optuna or of records that lines of a journal lead to.

    Raises:
        StudyError: There was one.
    """
    try:
        yield
    except DAMAGED as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise damaged_journal(path, f"it cannot be read: {reason}") from error


def _name(path: Path) -> str:
    """Return the name under which a journal has its study: that of its folder at the beginning."""
    first = next(journal_lines(path), None) or {}
    return str(first.get("study_name", path.parent.name))


def _open_file(path: Path, objectives: Mapping[str, str]) -> optuna.Study:
    """Open a journal that a killed driver may have left with a stale lock."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path.with_name(f"{path.name}.lock").unlink(missing_ok=True)
    name = _name(path) if path.exists() else path.parent.name
    file = _NamedFile(path, JournalFileBackend(str(path)))
    return made_study(name, optuna.storages.JournalStorage(file), objectives)


def made_study(
    name: str, storage: optuna.storages.BaseStorage, objectives: Mapping[str, str]
) -> optuna.Study:
    """Return Optuna's study of a name in a storage, made if there is none."""
    study = optuna.create_study(
        study_name=name,
        storage=storage,
        directions=[StudyDirection[way.upper()] for way in objectives.values()],
        load_if_exists=True,
    )
    if len(study.directions) == len(objectives) and study.metric_names != list(objectives):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            study.set_metric_names(list(objectives))  # what optuna-dashboard labels its axes with
    return study


def _remade(path: Path, objectives: Mapping[str, str]) -> optuna.Study:
    path.unlink()
    return _open_file(path, objectives)


def _cut_torn_line(path: Path) -> None:
    """Cut off a last line whose end is missing, as after a kill or on a full disk."""
    if path.exists():
        content = path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            os.truncate(path, whole)


def _check(path: Path) -> None:
    """Check that a journal is whole, or that there is none because the study has no trials.

    Raises:
        StudyError: It is damaged or gone.
    """
    if path.exists() and path.stat().st_size:
        check_journal(path)
    elif any((path.parent / "trials").glob(f"*/{OUTCOME}")):
        raise StudyError(
            f"{path} is gone or empty, but there are trials beside it: put it back, or "
            f"'paredown repair study={path.parent.name} runs_dir={path.parent.parent}' rescues "
            "them, or delete the folder to start again"
        )


def check_identity(journal: Journal, identity: Mapping[str, Any], folder: Path) -> None:
    """Check that a study goes on with the settings that it was begun with.

    Raises:
        StudyError: One has changed.
    """
    now = json.loads(json.dumps(identity))
    kept = journal.identity()
    changed = [key for key in now if kept is not None and kept.get(key) != now[key]]
    if changed:
        raise StudyError(
            f"study '{folder.name}' was begun with another {', '.join(changed)}; its trials could "
            f"not be compared: give the new study a name (study=...) or delete {folder}"
        )
