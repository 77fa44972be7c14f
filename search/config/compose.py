"""The configuration of a study from Python, without Hydra's command line."""

import threading
from collections.abc import Sequence
from pathlib import Path

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from search.config.environment import composed_values
from search.config.hydra_errors import as_config_errors
from search.config.overrides import check_additions, chosen_task, rewrite
from search.config.paths import conf_folder
from search.config.study_config import StudyConfig, study_config

_ONE_AT_A_TIME = threading.Lock()
"""Hydra composes in global state that all threads share."""


def compose_search(overrides: Sequence[str] = (), config_dir: Path | None = None) -> StudyConfig:
    """Compose `conf/search.yaml` with overrides and check the result.

    Args:
        overrides: Hydra's overrides, as on the command line.
        config_dir: A folder whose groups join those of `conf/`.

    Raises:
        ConfigError: An override, an option or a value is not accepted.
    """
    overrides = [rewrite(override, "search") for override in overrides]
    own = [f"hydra.searchpath=[file://{config_dir.resolve()}]"] if config_dir else []
    with (
        as_config_errors(overrides),
        _ONE_AT_A_TIME,
        initialize_config_dir(str(conf_folder()), version_base="1.3"),
    ):
        composed = compose("search", [*overrides, *own], return_hydra_config=True)
    choices = composed.hydra.runtime.choices
    check_additions(overrides, choices, [str(key) for key in composed])
    plain = OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])
    return study_config(composed_values(plain), chosen_task(choices), overrides)
