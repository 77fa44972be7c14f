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
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
"""Environment variables that are set unless the user has set them: no telemetry, no progress bars,
no minutes of retries."""
_LOGGERS = ("mlflow.store.db.utils", "alembic")
"""Loggers that print created tables, and each error before it is raised."""


def connect(uri: str) -> "MlflowClient":
    """Return a client of a tracking URI, creating the SQLite database if it is missing.

    Raises:
        TrackingError: a server does not answer, or a database cannot be opened.
    """
    check_reachable(uri)
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    with one_line_errors(uri), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from mlflow import MlflowClient

        if not uri.startswith("sqlite:///"):
            return MlflowClient(tracking_uri=uri)
        path = Path(uri.removeprefix("sqlite:///")).resolve()
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            if not path.exists():
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
    """Turn errors of MLflow, its database and its files into a `TrackingError` of one line."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError
    try:
        with _quiet():
            yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
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
