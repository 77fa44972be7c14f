"""The stored studies of a runs folder and the configurations that they were run with."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from search.config.study_config import StudyConfig, study_config
from search.errors import ConfigError


def existing_study(arguments: Mapping[str, Any]) -> Path:
    """Return the folder of a stored study.

    Args:
        arguments: `runs_dir`, the folder of all studies, and `study`, a name.

    Raises:
        ConfigError: There is no such study; the message lists the stored ones.
    """
    runs_dir, name = Path(arguments["runs_dir"]), arguments["study"]
    folder = runs_dir / str(name)
    if name is None or not (folder / "config.yaml").is_file():
        known = sorted(path.parent.name for path in runs_dir.glob("*/config.yaml"))
        raise ConfigError(f"no study '{name}' in {runs_dir}; there are: {', '.join(known) or '-'}")
    return folder


def read_config(folder: Path) -> StudyConfig:
    """Return the configuration with which a study was last run."""
    composed = yaml.safe_load((folder / "config.yaml").read_text())
    composed.pop("code")
    return study_config(composed | {"study": folder.name, "runs_dir": str(folder.parent)}, "")
