"""The folder of the configurations: beside the package in a checkout, inside it in a wheel."""

from pathlib import Path

IN_WHEEL = "built-in-conf"
"""Their folder in an installed package: no identifier, so that it cannot be imported."""


def conf_folder() -> Path:
    """Return the absolute path of the folder with the configurations that come along."""
    package = Path(__file__).resolve().parents[1]
    inside = package / IN_WHEEL
    return inside if inside.is_dir() else package.parent / "conf"
