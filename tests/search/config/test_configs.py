"""Every YAML composes, and what it names can be built."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from search.config.compose import compose_search
from search.config.paths import conf_folder
from search.config.study_config import StudyConfig
from search.errors import ConfigError
from search.proposal.samplers import build_sampler
from search.recipe.validation import check_space
from search.study.builders import build_executor, build_tracker
from search.tasks.loading import task_builder

GROUPS = ("task", "recipe", "sampler", "objectives", "executor", "tracking", "experiment")
OPTIONS = [
    f"{group}={path.stem}"
    for group in GROUPS
    for path in sorted((conf_folder() / group).glob("*.yaml"))
]
COMMANDS = ("search", "front", "export", "apply", "repair", "ui")


def plain(command: str, *overrides: str) -> dict[str, Any]:
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        config = compose(command, list(overrides))
    found = OmegaConf.to_container(config, resolve=True)
    assert isinstance(found, dict)
    return {str(key): value for key, value in found.items()}


def composed(*overrides: str) -> StudyConfig:
    return compose_search(overrides)


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_composes_and_builds(option: str) -> None:
    config = composed(option)
    check_space(config.space)
    assert callable(task_builder(config.task))
    build_sampler(config.sampler, 0)
    build_executor(config)
    build_tracker(config)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_composes(command: str) -> None:
    assert plain(command)["runs_dir"] == "runs"


def test_unpacking_composes() -> None:
    assert plain("unpack") == {"file": None, "out": None, "limit_bytes": 2**29}


STEPS = ["remove", "prune", "factorise", "sparsify", "distil", "share", "quantize", "tune"]


@pytest.mark.parametrize(
    ("overrides", "steps"),
    [
        ((), STEPS),
        (("~compressor@steps.share",), [step for step in STEPS if step != "share"]),
        *((("~steps." + name,), [step for step in STEPS if step != name]) for name in STEPS),
        (("+compressor@steps.again=distillation",), [*STEPS, "again"]),
    ],
)
def test_steps_are_dropped_and_added_from_the_command_line(
    overrides: tuple[str, ...], steps: list[str]
) -> None:
    assert list(composed(*overrides).space.steps) == steps


def test_a_step_is_swapped_from_the_command_line() -> None:
    steps = composed("compressor@steps.quantize=weight_sharing").space.steps
    assert steps["quantize"].target == "compressors.weight_sharing.WeightSharing"


def test_a_range_is_fixed_or_narrowed_where_the_value_stands() -> None:
    steps = composed("steps.prune.ratio=0.3", "steps.sparsify.ratio.high=0.5").space.steps
    assert steps["prune"].fixed["ratio"] == 0.3
    assert steps["sparsify"].ranges["ratio"].high == 0.5


def test_single_layers_have_values_of_their_own_by_pattern() -> None:
    steps = composed("steps.sparsify.layers={*conv*: 0.9, fc1.weight: 0.5}").space.steps
    assert steps["sparsify"].fixed["layers"] == {"*conv*": 0.9, "fc1.weight": 0.5}


def test_the_study_is_named_after_task_and_seed() -> None:
    assert composed().study == "digits"
    assert composed("task=mnist_lenet5", "seed=3").study == "mnist_lenet5-seed3"
    assert composed("study=mine", "seed=3").study == "mine"


def test_recovery_epochs_of_the_task_bound_the_distillation() -> None:
    epochs = composed("task=mnist_lenet5").space.steps["distil"].ranges["epochs"]
    assert epochs.high == plain("search", "task=mnist_lenet5")["task"]["recovery_epochs"]


def test_a_folder_of_ones_own_joins_the_groups(user_folder: Path) -> None:
    config = compose_search(["task=mine"], user_folder / "my_conf")
    assert config.study == "mine"
    assert config.task["_target_"] == "user_model.Task"


@pytest.mark.parametrize("override", ["task=nope", "trails=5", "+trails=5", "trials=0"])
def test_from_python_bad_input_is_a_config_error(override: str) -> None:
    with pytest.raises(ConfigError):
        compose_search([override])


def test_two_threads_can_compose_at_once() -> None:
    with ThreadPoolExecutor(4) as pool:
        seeds = [c.seed for c in pool.map(compose_search, [[f"seed={n}"] for n in range(8)])]
    assert seeds == list(range(8))
