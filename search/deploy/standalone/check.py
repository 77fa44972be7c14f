"""Compare the files of this folder with SHA256SUMS: `python check.py`; needs Python alone."""

import hashlib
import sys
from pathlib import Path

SUMS = "SHA256SUMS"


def differences(folder: Path) -> list[str]:
    """Return a line for each file that is missing, or is not the one that was exported."""
    try:
        lines = (folder / SUMS).read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        return [f"{SUMS} cannot be read: {error}"]
    found = [] if lines else [f"{SUMS} is empty"]
    for line in lines:
        digest, separator, name = line.partition("  ")
        path = folder / name
        if not separator or len(digest) != 64 or path.parent != folder:
            found.append(f"{SUMS} is damaged: {line!r}")
        elif not path.is_file():
            found.append(f"{name} is missing")
        elif _sha256(path) != digest:
            found.append(f"{name} is not the file that was exported: its hash is another")
    return found


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    found = differences(Path(__file__).resolve().parent)
    print("\n".join(found) or "every file is the one that was exported")
    sys.exit(1 if found else 0)
