"""The folder of the configurations: beside the package in a checkout, inside it in a wheel."""

from pathlib import Path


def conf_folder() -> Path:
    """Return the absolute path of the folder `conf`."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "conf"
    return inside if inside.is_dir() else package.parent / "conf"
