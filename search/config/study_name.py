"""The name of a study, which is that of its folder."""

from search.errors import ConfigError

UNFIT = set("/\\:*?\"<>|'")
"""Characters that no folder has on every system."""
MAX_BYTES = 120
"""Length of a name; systems take 255 bytes for a name, and files beside it have longer ones."""


def check_study_name(name: str) -> None:
    """Check that a name is usable as that of a folder, and of one in the folder of all studies.

    Raises:
        ConfigError: It is not.
    """
    reasons = {
        "must not be empty": not name,
        f"must have at most {MAX_BYTES} bytes": len(name.encode(errors="replace")) > MAX_BYTES,
        f"must have none of {' '.join(sorted(UNFIT))}": bool(set(name) & UNFIT),
        "must be printable on one line": not name.isprintable(),
        "must not begin with a dot": name.startswith("."),
        "must not begin or end with a blank": name != name.strip(),
    }
    for reason, holds in reasons.items():
        if holds:
            shown = name if len(name) <= MAX_BYTES else f"{name[:20]}..."
            raise ConfigError(f"study names a folder and {reason}, got {shown!r}")
