"""A study in a PostgreSQL database: one driver at a time, also across a restart of the server."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from typing import Any, TypeVar

import optuna
import sqlalchemy
from optuna.distributions import BaseDistribution
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError

from search.config.study_config import StudyConfig
from search.errors import ConfigError, StudyError
from search.study.journal import IDENTITY, Journal
from search.study.journal_file import check_identity, made_study
from search.study.plan import TrialPlan
from search.trial_record import TrialRecord
from search.utils.secrets import without_secrets

PATIENCE_SECONDS = 300.0
"""How long a server may be gone, as in a restart, before the study ends."""
PAUSE_SECONDS = 1.0
SCHEME, DRIVER = "postgresql:", "postgresql+psycopg:"
TRY_LOCK = "SELECT pg_try_advisory_lock(hashtext('paredown'), hashtext(:name))"
T = TypeVar("T")


@contextmanager
def open_database(config: StudyConfig, address: str) -> Iterator[Journal]:
    """Open a study in a database, or begin it, and keep other drivers out.

    Args:
        config: The study's configuration.
        address: `postgresql://host/database`.

    Raises:
        ConfigError: psycopg is not installed, or no server answers at the address.
        StudyError: Another driver has the study, or it was begun with other settings.
    """
    lock = DriverLock(address=address, name=config.study)
    lock.acquire()
    storage: RDBStorage | None = None
    try:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        storage = RDBStorage(_driver(address), {"pool_pre_ping": True})
        make = partial(_remade, config.study, storage)
        study = made_study(config.study, storage, config.objectives)
        journal = DatabaseJournal(study=study, objectives=config.objectives, remake=make, lock=lock)
        check_identity(journal, config.identity(), config.folder)
        yield journal
    finally:
        if storage is not None:
            storage.engine.dispose()
        lock.release()


def read_database(config: StudyConfig, address: str) -> Journal:
    """Open a study in a database, only to read it.

    Raises:
        ConfigError: psycopg is not installed, or no server answers at the address.
        StudyError: The database has no such study.
    """
    study = _study(config, address)
    if study is None:
        where = without_secrets(address)
        raise StudyError(f"{where} has no study '{config.study}': run the search")
    return Journal(study=study, objectives=config.objectives)


def objectives_in_database(config: StudyConfig, address: str) -> Mapping[str, str]:
    """Return the objectives with which a study has begun; none before that.

    Raises:
        ConfigError: psycopg is not installed, or no server answers at the address.
    """
    study = _study(config, address)
    identity = study.user_attrs.get(IDENTITY, {}) if study is not None else {}
    objectives: Mapping[str, str] = identity.get("objectives", {})
    return objectives


def _study(config: StudyConfig, address: str) -> optuna.Study | None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with _reachable(address):
        storage = RDBStorage(_driver(address), {"poolclass": sqlalchemy.NullPool})
    try:
        return optuna.load_study(study_name=config.study, storage=storage)
    except KeyError:
        return None


@dataclass(kw_only=True)
class DriverLock:
    """PostgreSQL's advisory lock of a study; it ends with the connection that holds it.

    Advisory locks: PostgreSQL documentation, section 13.3.5.
    """

    address: str
    name: str
    _connection: sqlalchemy.Connection | None = field(default=None, init=False)

    def acquire(self) -> None:
        """Take the lock.

        Raises:
            ConfigError: The server does not answer.
            StudyError: Another driver has the lock.
        """
        with _reachable(self.address):
            self._take()

    def keep(self) -> None:
        """Take the lock again if the connection was lost.

        Raises:
            StudyError: Another driver has taken it meanwhile.
            SQLAlchemyError: The server does not answer.
        """
        if self._connection is not None:
            try:
                self._connection.execute(sqlalchemy.text("SELECT 1"))
                self._connection.commit()
                return
            except DBAPIError:
                self.release()
        self._take()

    def release(self) -> None:
        """Give the lock back."""
        if self._connection is not None:
            self._connection.invalidate()
            self._connection.close()
            self._connection = None

    def _take(self) -> None:
        engine = sqlalchemy.create_engine(_driver(self.address), poolclass=sqlalchemy.NullPool)
        connection = engine.connect()
        asked = sqlalchemy.text(
            "SELECT pg_try_advisory_lock(hashtext('paredown'), hashtext(:name))"
        )
        free = connection.execute(asked, {"name": self.name}).scalar()
        connection.commit()
        if not free:
            connection.close()
            raise StudyError(
                f"another process is running the study '{self.name}' in this database; wait for "
                "it, or give the new study a name (study=...)"
            )
        self._connection = connection


@dataclass(kw_only=True)
class DatabaseJournal(Journal):
    """A journal in a database, which waits for a server that restarts.

    What was to be written is written again when the server answers, and nothing twice: an answer
    may be lost after the writing.
    """

    lock: DriverLock

    def trials(self) -> list[FrozenTrial]:
        """Return all trials as Optuna knows them, in order of number; not to be changed."""
        return self._answered(super().trials)

    def add(
        self,
        plan: TrialPlan,
        distributions: Mapping[str, BaseDistribution],
        system_attrs: Mapping[str, Any],
    ) -> None:
        """Write down a trial before it starts."""
        write = super().add

        def once() -> None:
            self.lock.keep()
            if len(self.trials()) == plan.number:
                write(plan, distributions, system_attrs)
            self.hashes.add(plan.recipe_hash)

        self._answered(once)

    def tell(self, record: TrialRecord) -> None:
        """Write down how a trial ended."""
        write = super().tell

        def once() -> None:
            self.lock.keep()
            if self.trials()[record.number].state.is_finished():
                self._keep(record)
            else:
                write(record)

        self._answered(once)

    def begin(self, *arguments: Any, **named: Any) -> None:
        """Write down, once, what makes trials comparable and what the preparation found."""
        write = super().begin

        def once() -> None:
            self.lock.keep()
            write(*arguments, **named)

        self._answered(once)

    def keep_test(self, number: int, metrics: Mapping[str, float]) -> None:
        """Write down the test metrics of a finished trial."""
        write = super().keep_test

        def once() -> None:
            self.lock.keep()
            write(number, metrics)

        self._answered(once)

    def _answered(self, ask: Callable[[], T]) -> T:
        """Return what `ask` returns, as soon as the server answers.

        Raises:
            StudyError: It does not, or another driver has the study now.
        """
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return ask()
            except (OperationalError, StorageInternalError) as error:
                lost = error if isinstance(error, OperationalError) else error.__cause__
                if not isinstance(lost, OperationalError):
                    raise
                self._wait_for_lock(deadline, lost)

    def _wait_for_lock(self, deadline: float, lost: OperationalError) -> None:
        """Wait until the server answers and the lock is this driver's."""
        while time.monotonic() < deadline:
            time.sleep(PAUSE_SECONDS)
            with suppress(SQLAlchemyError):
                self.lock.keep()
                return
        raise StudyError(
            f"the database has not answered for {PATIENCE_SECONDS:g} s: {_first_line(lost)}; the "
            "same command goes on with the study"
        )


def _remade(name: str, storage: RDBStorage, objectives: Mapping[str, str]) -> optuna.Study:
    optuna.delete_study(study_name=name, storage=storage)
    return made_study(name, storage, objectives)


def _driver(address: str) -> str:
    return address.replace(SCHEME, DRIVER, 1)


@contextmanager
def _reachable(address: str) -> Iterator[None]:
    if find_spec("psycopg") is None:
        raise ConfigError(
            "storage=postgresql://... needs psycopg: pip install 'paredown[postgres]'"
        )
    try:
        yield
    except SQLAlchemyError as error:
        raise ConfigError(
            f"storage={without_secrets(address)}: {_first_line(error)}; is the server up, and "
            "does the database exist?"
        ) from error


def _first_line(error: Exception) -> str:
    cause = getattr(error, "orig", None) or error
    return without_secrets(" ".join(str(cause).split())[:200])
