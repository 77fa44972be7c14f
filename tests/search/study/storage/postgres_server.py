"""A PostgreSQL server of Debian's package, for tests: on loopback, stopped by its process id."""

import getpass
import os
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil


def programs() -> Path | None:
    """Return the folder of the newest server's programs; None where there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    on_path = shutil.which("initdb")
    return found[-1].parent if found else Path(on_path).parent if on_path else None


@dataclass(kw_only=True)
class PostgresServer:
    """A server with one database, `studies`."""

    bin: Path
    folder: Path
    port: int = 0
    _process: "subprocess.Popen[bytes] | None" = field(default=None, init=False)

    def __post_init__(self) -> None:
        """Make the database's files; the server refuses to run as root."""
        self.user = "postgres" if os.geteuid() == 0 else getpass.getuser()
        self.folder.mkdir(parents=True)
        if os.geteuid() == 0:
            shutil.chown(self.folder, self.user)
        self._run("initdb", "-D", str(self.folder), "-A", "trust", "-U", "studies", "--no-sync")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]

    @property
    def address(self) -> str:
        """The address that a study is given."""
        return f"postgresql://studies@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Start the server and wait until it answers."""
        options = ["-D", str(self.folder), "-p", str(self.port), "-h", "127.0.0.1", "-k", ""]
        self._process = subprocess.Popen(
            [str(self.bin / "postgres"), *options, "-F"],
            user=self.user,
            cwd="/",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 60
        ready = [str(self.bin / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        while subprocess.run(ready, check=False).returncode:
            assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(0.1)

    def stop(self) -> None:
        """End the server at once, as a crash of its machine would."""
        if self._process is None:
            return
        children = psutil.Process(self._process.pid).children(recursive=True)
        for process in (psutil.Process(self._process.pid), *children):
            if process.is_running():
                process.kill()
        self._process.wait()
        self._process = None
        (self.folder / "postmaster.pid").unlink(missing_ok=True)

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self.bin / program), *arguments]
        done = subprocess.run(command, user=self.user, cwd="/", capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
