"""The stored studies of a runs folder and the configurations that they were run with."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from search.config.study_config import StudyConfig, study_config
from search.config.study_name import check_study_name
from search.errors import ConfigError
from search.utils.files import write_atomically
from search.utils.yaml_text import read_yaml

CONFIG = "config.yaml"


def existing_study(arguments: Mapping[str, Any]) -> Path:
    """Return the folder of a stored study.

    Args:
        arguments: `runs_dir`, the folder of all studies, and `study`, a name.

    Raises:
        ConfigError: There is no such study; the message lists the stored ones.
    """
    runs_dir, name = Path(arguments["runs_dir"]), arguments["study"]
    if name is not None:
        check_study_name(str(name))
    folder = runs_dir / str(name)
    if name is None or not (folder / CONFIG).is_file():
        known = sorted(path.parent.name for path in runs_dir.glob(f"*/{CONFIG}"))
        raise ConfigError(f"no study '{name}' in {runs_dir}; there are: {', '.join(known) or '-'}")
    return folder


def keep_config(config: StudyConfig) -> None:
    """Write the configuration of a study into its folder, from where `read_config` reads it."""
    with write_atomically(config.folder / CONFIG) as file:
        file.write(config.to_yaml().encode())


def read_config(folder: Path) -> StudyConfig:
    """Return the configuration with which a study was last run.

    Raises:
        ConfigError: The file that keeps it is damaged.
    """
    composed = read_yaml(folder / CONFIG)
    composed.pop("code", None)
    return study_config(composed | {"study": folder.name, "runs_dir": str(folder.parent)}, "")
