"""Which code a file may name: parts of Paredown, what the user trusts, and what this user ran.

A recipe, a study's folder and an export name functions and classes that are called when a model is
made again. Whoever wrote such a file chooses them, so that each is checked before it is imported.
A study that a user launches on a machine, and its exports, are signed with a key of this user there
and name no strangers.
"""

import hashlib
import hmac
import json
import os
import pkgutil
import secrets
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from platformdirs import user_config_path

from search.errors import ConfigError
from search.utils.files import write_atomically
from search.utils.instantiate import TARGET

OURS = {
    "steps": ("compressors.",),
    "task": ("search.tasks.digits.", "search.tasks.mnist.", "search.tasks.workloads."),
    "sampler": ("optuna.samplers.",),
    "executor": ("search.executors.",),
    "tracking": ("search.tracking.",),
}
"""By key at the top of a file, the beginnings of import paths that need no trust there."""
SIGNATURE = "trusted.json"
KEY_BYTES = 32


def check_targets(where: str, data: Mapping[str, Any], trusted: Collection[str] = ()) -> None:
    """Check all code that a recipe or a configuration names; none of it is called.

    Args:
        where: The file, for the message.
        data: A mapping with some of the keys of `OURS`.
        trusted: Packages, modules or full import paths that need no check.

    Raises:
        ConfigError: It names other code.
    """
    for key, node in data.items():
        for target in targets_of(node):
            if not (_in(target, trusted) or _is_ours(target, OURS.get(key, ()))):
                package = target.partition(".")[0]
                raise ConfigError(
                    f"{where}: {key} names the code {target}, which is no part of Paredown and may "
                    f"do anything; if you know where it comes from, add trust={package}"
                )


def targets_of(node: Any) -> Iterator[str]:
    """Yield the value of every `_target_` inside plain data, at any depth."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            if key == TARGET:
                yield str(value)
            else:
                yield from targets_of(value)
    elif isinstance(node, list | tuple):
        for value in node:
            yield from targets_of(value)


def sign_folder(folder: Path, targets: Collection[str]) -> None:
    """Keep in the folder of a study or an export, signed, which code its user named for it.

    Without a place for the key nothing is kept; the user's own code then needs `trust`.
    """
    key = _key()
    if key is not None:
        known = sorted(set(targets))
        content = {"targets": known, "signature": _signature(key, known)}
        with write_atomically(folder / SIGNATURE) as file:
            file.write(json.dumps(content, indent=2).encode())


def signed_targets(folder: Path) -> list[str]:
    """Return the code that this user named for a folder; nothing if another one signed it."""
    key = _key()
    try:
        kept = json.loads((folder / SIGNATURE).read_bytes())
        targets, signature = [str(t) for t in kept["targets"]], str(kept["signature"])
    except (OSError, ValueError, KeyError, TypeError):
        return []
    valid = key is not None and hmac.compare_digest(
        _signature(key, targets).encode(), signature.encode(errors="replace")
    )
    return targets if valid else []


def _signature(key: bytes, targets: list[str]) -> str:
    return hmac.new(key, json.dumps(targets).encode(), hashlib.sha256).hexdigest()


def _key() -> bytes | None:
    """Return the user's key, made on the first call; None if there is no place for it."""
    chosen = os.environ.get("PAREDOWN_CONFIG")
    path = (Path(chosen) if chosen else user_config_path("paredown")) / "key"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            known = path.read_bytes()
            return known if len(known) == KEY_BYTES else None
        with open(handle, "wb") as file:
            key = secrets.token_bytes(KEY_BYTES)
            file.write(key)
        return key
    except OSError:
        return None


def _in(target: str, trusted: Collection[str]) -> bool:
    return any(target == name or target.startswith((f"{name}.", f"{name}:")) for name in trusted)


@cache
def _is_ours(target: str, beginnings: tuple[str, ...]) -> bool:
    """Return whether a target is defined in one of our modules, not only reachable from there."""
    if not target.startswith(beginnings):
        return False
    try:
        found = pkgutil.resolve_name(target)
    except (ImportError, AttributeError, ValueError):
        return True  # there is no such code; whoever builds it says so
    return f"{getattr(found, '__module__', '')}.".startswith(beginnings)
