"""Opening a study's journal file: one driver at a time, also after a kill."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock, Timeout
from optuna.storages.journal import JournalFileBackend

from search.errors import StudyError
from search.study.journal import Journal

JOURNAL = "journal.log"


@contextmanager
def open_journal(
    folder: Path,
    *,
    objectives: Mapping[str, str],
    identity: Mapping[str, Any],
) -> Iterator[Journal]:
    """Open a study's journal, or begin it, and keep other drivers out.

    Args:
        folder: The study's folder.
        objectives: By metric, `maximize` or `minimize`.
        identity: What makes two trials of the study comparable, as plain data; kept by
            `Journal.begin` and compared on every later opening.

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
        study = _open_file(folder / JOURNAL, folder.name, list(objectives.values()))
        journal = Journal(study=study, objectives=objectives)
        _check_identity(journal, identity, folder)
        yield journal
    finally:
        lock.release()


def read_journal(folder: Path, objectives: Mapping[str, str]) -> Journal:
    """Open the journal of a study that was begun, only to read it."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = optuna.storages.JournalStorage(JournalFileBackend(str(folder / JOURNAL)))
    study = optuna.load_study(study_name=folder.name, storage=storage)
    return Journal(study=study, objectives=objectives)


def _open_file(path: Path, name: str, directions: list[Any]) -> optuna.Study:
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


def _check_identity(journal: Journal, identity: Mapping[str, Any], folder: Path) -> None:
    now = json.loads(json.dumps(identity))
    kept = journal.identity()
    changed = [key for key in now if kept is not None and kept.get(key) != now[key]]
    if changed:
        raise StudyError(
            f"study '{folder.name}' was begun with another {', '.join(changed)}; its trials could "
            f"not be compared: give the new study a name (study=...) or delete {folder}"
        )
