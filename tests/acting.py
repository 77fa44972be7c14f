"""Every compressor of conf/compressor/, built with values at which it acts."""

import importlib
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from compressors.base import Compressor

FOLDER = Path(__file__).parent.parent / "conf" / "compressor"
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))


def compressor_class(name: str) -> Any:
    """Return the class that a file of conf/compressor/ names."""
    module, _, attribute = _values(name)["_target_"].rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def acting(name: str, **changes: Any) -> Compressor:
    """Build the compressor with the anchor, or the first choice, of every range in its file."""
    made: Compressor = compressor_class(name)(**acting_values(name) | changes)
    return made


def acting_values(name: str) -> dict[str, Any]:
    """Return the anchor, or the first choice, of every range in the file of a compressor."""
    values = {field: _anchor(value) for field, value in _values(name).items()}
    del values["_target_"]
    return values


def _values(name: str) -> dict[str, Any]:
    plain = OmegaConf.to_container(OmegaConf.load(FOLDER / f"{name}.yaml"), resolve=True)
    assert isinstance(plain, dict)
    return {str(field): value for field, value in plain.items()}


def _anchor(value: Any) -> Any:
    if not (isinstance(value, dict) and "_suggest_" in value):
        return value
    return value["anchor"] if "anchor" in value else value["choices"][0]
