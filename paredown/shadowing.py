"""A check that the packages Paredown is made of are its own, not a user's of the same name."""

import sys
from importlib.util import find_spec
from pathlib import Path

PACKAGES = ("search", "compressors")


def check_packages() -> None:
    """Find out which files `import search` and `import compressors` lead to; imports neither.

    Raises:
        ImportError: one of them is a user's own file, such as a `search.py` in the working folder.
    """
    root = Path(__file__).resolve().parents[1]
    for name in PACKAGES:
        found = _file_of(name)
        if found is None or found.resolve() != root / name / "__init__.py":
            raise ImportError(
                f"{found} hides the package '{name}' that Paredown needs from Python: rename it, "
                "or run Python in another folder, then import paredown again",
                name=name,
                path=str(found),
            )


def _file_of(name: str) -> Path | None:
    """Return the file of a module that is imported, or that an import would read."""
    module = sys.modules.get(name)
    if module is not None:
        file = getattr(module, "__file__", None)
    else:
        spec = find_spec(name)
        file = spec.origin if spec else None
    return Path(file) if file else None
