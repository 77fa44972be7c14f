"""Connecting to MLflow without noise, telemetry or long waits, with errors that are one line.

MLflow takes seconds to import. Every function imports it when it is called, so that commands
without a tracker start fast.
"""

import logging
import os
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from filelock import FileLock

from search.errors import TrackingError
from search.tracking.mlflow_database import create_database
from search.utils.secrets import without_secrets

if TYPE_CHECKING:
    from mlflow import MlflowClient

REACH_TIMEOUT_S = 5.0
_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
"""Environment variables that are set unless the user has set them: no telemetry, no progress bars,
no minutes of retries."""
_LOGGERS = ("mlflow.store.db.utils", "alembic", "urllib3.connectionpool")
"""Loggers that print created tables, and each error before it is raised."""
_SQLITE_SETTINGS = {"MLFLOW_SQLALCHEMYSTORE_POOLCLASS": "NullPool"}
"""The same for SQLite: a connection that is kept goes on with a file that was deleted."""
LOCK_TIMEOUT_S = 60.0
"""How long another process may take to create a database."""


def connect(uri: str) -> "MlflowClient":
    """Return a client of a tracking URI, creating the SQLite database if it is missing.

    Raises:
        TrackingError: a server does not answer, or a database cannot be opened.
    """
    check_reachable(uri)
    sqlite = uri.startswith("sqlite:///")
    for name, value in (_SETTINGS | (_SQLITE_SETTINGS if sqlite else {})).items():
        os.environ.setdefault(name, value)
    with one_line_errors(uri), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from mlflow import MlflowClient

        if not sqlite:
            return MlflowClient(tracking_uri=uri)
        path = Path(uri.removeprefix("sqlite:///")).resolve()
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock"), timeout=LOCK_TIMEOUT_S):
            # SQLite puts an empty file in the place of one that was deleted under a client.
            if not path.exists() or (path.is_file() and not path.stat().st_size):
                create_database(path)
            return MlflowClient(tracking_uri=uri)


def check_reachable(uri: str) -> None:
    """Check that the host of an http or database URI accepts connections.

    Raises:
        TrackingError: it does not.
    """
    parts = urlsplit(uri)
    ports = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306, "mssql": 1433}
    port = parts.port or ports.get(parts.scheme.split("+")[0])
    if parts.hostname is None or port is None:
        return
    try:
        socket.create_connection((parts.hostname, port), timeout=REACH_TIMEOUT_S).close()
    except OSError as error:
        raise TrackingError(
            f"tracking.uri={without_secrets(uri)} cannot be reached ({error}): start the server, "
            "correct tracking.uri, or use tracking=none"
        ) from error


@contextmanager
def one_line_errors(uri: str) -> Iterator[None]:
    """Turn what MLflow, its database and its files raise into a `TrackingError` of one line.

    MLflow lets through whatever a damaged database or another kind of server leads to.
    """
    try:
        with _quiet():
            yield
    except TrackingError:
        raise
    except Exception as error:
        raise TrackingError(f"MLflow at {without_secrets(uri)}: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
    """Return what a database says, if an error comes of it, else the first line of the error."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(database := getattr(cause, "orig", None), Exception):
            return str(database)
        cause = cause.__cause__ or cause.__context__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep messages of the database off the terminal."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
