"""The code that runs: the package's version, the git commit of a checkout, the methods' source."""

import contextlib
import importlib
import subprocess
from functools import cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def code_version() -> dict[str, str]:
    """Return the `version` of the installed package and the `commit` of the checkout, if known.

    The commit ends in `-dirty` if files differ from it. A wheel has no commit, an uninstalled
    checkout no version.
    """
    known = {}
    with contextlib.suppress(PackageNotFoundError):
        known["version"] = version("paredown")
    commit = _commit(Path(__file__).resolve().parents[2])
    return known | ({"commit": commit} if commit else {})


@cache
def methods_digest() -> str:
    """Return a digest of the source of all compressors, on which a compressed model depends."""
    digest = sha256()
    for path in sorted((Path(__file__).resolve().parents[2] / "compressors").rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


@cache
def source_digest(target: str) -> str:
    """Return a digest of the module of an import path, `""` if the module has no source file."""
    path = importlib.import_module(target.rpartition(".")[0]).__file__
    return sha256(Path(path).read_bytes()).hexdigest() if path else ""


def _commit(root: Path) -> str:
    if not (root / ".git").exists():
        return ""
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        done = subprocess.run([*command, "--exclude=*"], capture_output=True, text=True, timeout=10)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
