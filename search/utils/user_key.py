"""A key of the user on this machine, by which the user's own files are told from others'."""

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from platformdirs import user_config_path

KEY_BYTES = 32
_DIGEST = hashlib.sha256
_DIGEST_BYTES = 32


def signature(content: bytes) -> bytes | None:
    """Return the signature `[32]` of some content; None if there is no place for a key."""
    key = _key()
    return None if key is None else hmac.new(key, content, _DIGEST).digest()


def is_signature(given: bytes, content: bytes) -> bool:
    """Return whether this user signed some content so."""
    own = signature(content)
    return own is not None and hmac.compare_digest(own, given)


def sealed(content: bytes) -> bytes | None:
    """Return some content behind its signature; None if there is no place for a key."""
    own = signature(content)
    return None if own is None else own + content


def unsealed(content: bytes) -> bytes | None:
    """Return what this user sealed; None for anything else."""
    given, inner = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
    return inner if is_signature(given, inner) else None


def _key() -> bytes | None:
    """Return the key, made on the first call: in `$PAREDOWN_CONFIG` or the platform's folder."""
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
