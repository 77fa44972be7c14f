"""Opening MLflow without noise, telemetry or long waits, with errors that are one line."""

import logging
import os
import re
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from filelock import FileLock

from search.errors import TrackingError

if TYPE_CHECKING:
    from mlflow import MlflowClient

REACH_TIMEOUT_S = 5.0
_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
"""Set unless the user has set them: no calls home, no chatter, no minutes of retries."""
_SCHEMA_LOGGERS = ("mlflow.store.db.utils", "alembic")


def connect(uri: str) -> "MlflowClient":
    """Return a client of a tracking URI, creating the SQLite database if it is missing.

    Raises: TrackingError if a server does not answer or a database cannot be opened.
    """
    check_reachable(uri)
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    with one_line_errors(uri), _quiet_schema(), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from mlflow import MlflowClient

        if not uri.startswith("sqlite:///"):
            return MlflowClient(tracking_uri=uri)
        path = Path(uri.removeprefix("sqlite:///")).resolve()
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            if not path.exists():
                _create_database(path)
            return MlflowClient(tracking_uri=uri)


def _create_database(path: Path) -> None:
    """Make MLflow's tables under another name, since it cannot go on with a part of them.

    A process that is killed meanwhile leaves the draft, which the next one begins anew.
    """
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    draft = path.with_name(f"{path.name}.part")
    draft.unlink(missing_ok=True)
    artifacts = (path.parent / "mlartifacts").as_uri()
    store = SqlAlchemyStore(f"sqlite:///{draft}", artifacts)  # type: ignore[no-untyped-call]
    store.engine.dispose()
    draft.replace(path)


def check_reachable(uri: str) -> None:
    """Raise `TrackingError` if the host of an http or database URI accepts no connection."""
    parts = urlsplit(uri)
    ports = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306, "mssql": 1433}
    port = parts.port or ports.get(parts.scheme.split("+")[0])
    if parts.hostname is None or port is None:
        return
    try:
        socket.create_connection((parts.hostname, port), timeout=REACH_TIMEOUT_S).close()
    except OSError as error:
        raise TrackingError(
            f"tracking.uri={shown(uri)} cannot be reached ({error}): start the server, correct "
            "tracking.uri, or use tracking=none"
        ) from error


def shown(uri: str) -> str:
    """Return a URI without its user and password."""
    return re.sub(r"//[^@/]*@", "//***@", uri)


@contextmanager
def one_line_errors(uri: str) -> Iterator[None]:
    """Turn what MLflow, its database or its files raise into a `TrackingError` of one line."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError
    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = lines[0] if lines else type(error).__name__
        raise TrackingError(f"MLflow at {shown(uri)}: {reason}") from error


@contextmanager
def _quiet_schema() -> Iterator[None]:
    """Keep the report of every created table off the terminal."""
    loggers = [logging.getLogger(name) for name in _SCHEMA_LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
