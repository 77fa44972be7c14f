"""Where the configurations lie: beside the package in a checkout, inside it in a wheel."""

from pathlib import Path


def conf_folder() -> Path:
    """Return the absolute path of the folder `conf`."""
    here = Path(__file__).resolve().parent
    inside = here / "conf"
    return inside if inside.is_dir() else here.parent / "conf"
