"""The MLflow server as a child process that ends with its parent."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from search.errors import ConfigError, TrackingError
from search.tracking import ending_with_parent
from search.tracking.mlflow_database import default_uri

START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 10.0
_SETTINGS = {
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
"""Environment variables of the server."""


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where a server listens.

    Raises:
        ConfigError: the port is no whole number in [1, 65535].
    """

    host: str
    port: int

    def __post_init__(self) -> None:
        port = self.port
        if isinstance(port, bool) or not isinstance(port, int) or not 0 < port < 65536:
            raise ConfigError(f"port must be a whole number in [1, 65535], got {port!r}")

    @property
    def url(self) -> str:
        """Address for a browser on this machine."""
        return f"http://{'127.0.0.1' if self.host == '0.0.0.0' else self.host}:{self.port}"

    def check_free(self) -> None:
        """Check that a server can listen here.

        Raises:
            ConfigError: it cannot, for example because the port is taken.
        """
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((self.host, self.port))
            except OSError as error:
                raise ConfigError(
                    f"port {self.port} on {self.host} cannot be used ({error.strerror}): set "
                    "another with port="
                ) from error


@contextmanager
def running_server(runs_dir: Path, address: Address) -> Iterator["subprocess.Popen[str]"]:
    """Run a server on the database of a runs folder while the block runs.

    Raises:
        TrackingError: the server does not start.
    """
    # The server's default is the folder that it is started in, whatever that is.
    artifacts = str((runs_dir / "mlartifacts").resolve())
    store = ["--backend-store-uri", default_uri(runs_dir), "--artifacts-destination", artifacts]
    listen = ["--host", address.host, "--port", str(address.port)]
    command = ["mlflow", "server", *store, *listen, "--workers", "1"]
    lifeline, held = os.pipe()
    server = subprocess.Popen(
        [sys.executable, "-m", ending_with_parent.__name__, sys.executable, "-m", *command],
        env={**os.environ, **_SETTINGS},
        stdin=lifeline,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(lifeline)
    try:
        _wait_until_up(server, address.url)
        yield server
    finally:
        os.close(held)
        _stop(server)


def _wait_until_up(server: "subprocess.Popen[str]", url: str) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if server.poll() is not None:
            _, errors = server.communicate()
            lines = errors.strip().splitlines() or ["no message"]
            raise TrackingError(f"the MLflow server did not start: {lines[-1]}")
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise TrackingError(f"the MLflow server did not answer within {START_TIMEOUT_S:g} s")


def _stop(server: "subprocess.Popen[str]") -> None:
    """Wait for the end of the server, whose lifeline is cut, and of the workers in its group."""
    with server:  # closes its pipe
        try:
            server.wait(STOP_TIMEOUT_S)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGKILL)
