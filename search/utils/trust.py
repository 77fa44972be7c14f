"""Which code a file may name: parts of Paredown, what the user trusts, and what this user ran.

A recipe, a study's folder and an export name functions and classes that are called when a model is
made again. Whoever wrote such a file chooses them, so that each is checked before it is imported.
A study that a user launches on a machine, and its exports, are signed with a key of this user there
and name no strangers.
"""

import json
import pkgutil
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from search.errors import ConfigError
from search.utils.files import write_atomically
from search.utils.instantiate import TARGET
from search.utils.user_key import is_signature, signature

OURS = {
    "steps": ("compressors.",),
    "task": ("search.tasks.digits.", "search.tasks.mnist.", "search.tasks.workloads."),
    "sampler": ("optuna.samplers.",),
    "executor": ("search.executors.",),
    "tracking": ("search.tracking.",),
}
"""By key at the top of a file, the beginnings of import paths that need no trust there."""
SIGNATURE = "trusted.json"


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
    known = sorted(set(targets))
    own = signature(_as_bytes(known))
    if own is not None:
        content = {"targets": known, "signature": own.hex()}
        with write_atomically(folder / SIGNATURE) as file:
            file.write(json.dumps(content, indent=2).encode())


def signed_targets(folder: Path) -> list[str]:
    """Return the code that this user named for a folder; nothing if another one signed it."""
    try:
        kept = json.loads((folder / SIGNATURE).read_bytes())
        targets, given = [str(t) for t in kept["targets"]], bytes.fromhex(kept["signature"])
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return targets if is_signature(given, _as_bytes(targets)) else []


def _as_bytes(targets: list[str]) -> bytes:
    return json.dumps(targets).encode()


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
