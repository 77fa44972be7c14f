"""The MLflow UI on the studies of a runs folder, as a child process that ends with us."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import FrameType

from search.errors import ConfigError, TrackingError
from search.tracking.base import database_path, default_uri
from search.tracking.mlflow_links import links_of_studies

START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 10.0
_SETTINGS = {
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


def serve(runs_dir: Path, host: str = "127.0.0.1", port: int = 5000) -> None:
    """Show the studies of a runs folder in the browser until Ctrl-C.

    Prints for each study, the newest first, links that open its table, front and charts.

    Raises: ConfigError if there is no database or the port is taken; TrackingError if the server
    does not start.
    """
    if not database_path(runs_dir).is_file():
        raise ConfigError(
            f"{database_path(runs_dir)} does not exist: run `paredown search` with tracking=mlflow "
            "first, or name the folder with runs_dir="
        )
    if isinstance(port, bool) or not isinstance(port, int) or not 0 < port < 65536:
        raise ConfigError(f"port must be a whole number in [1, 65535], got {port!r}")
    _check_free(host, port)
    base = f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}"
    studies = links_of_studies(default_uri(runs_dir), base)
    previous = signal.signal(signal.SIGTERM, _interrupt)
    server = subprocess.Popen(
        _command(runs_dir, host, port),
        env={**os.environ, **_SETTINGS},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        _wait_until_up(server, base)
        for study, links in studies:
            print(f"study {study}")
            for what, address in links.items():
                print(f"  {what:8} {address}")
        print(f"MLflow at {base}, Ctrl-C to stop", flush=True)
        server.communicate()
        raise TrackingError(f"the MLflow server ended with exit code {server.returncode}")
    except KeyboardInterrupt:
        print("MLflow stopped")
    finally:
        _stop(server)
        signal.signal(signal.SIGTERM, previous)


def _command(runs_dir: Path, host: str, port: int) -> list[str]:
    store = ["--backend-store-uri", default_uri(runs_dir), "--workers", "1"]
    return [sys.executable, "-m", "mlflow", "server", *store, "--host", host, "--port", str(port)]


def _check_free(host: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ConfigError(
                f"port {port} on {host} cannot be used ({error.strerror}): set another with port="
            ) from error


def _wait_until_up(server: "subprocess.Popen[str]", base: str) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if server.poll() is not None:
            _, errors = server.communicate()
            lines = errors.strip().splitlines() or ["no message"]
            raise TrackingError(f"the MLflow server did not start: {lines[-1]}")
        try:
            with urllib.request.urlopen(f"{base}/health", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise TrackingError(f"the MLflow server did not answer within {START_TIMEOUT_S:g} s")


def _stop(server: "subprocess.Popen[str]") -> None:
    """End the server and the workers in its process group, gently first."""
    if server.poll() is not None:
        return
    os.killpg(server.pid, signal.SIGTERM)
    try:
        server.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
