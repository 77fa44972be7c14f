"""Running a study, loading one that was run, and exporting a trial of it."""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from search.config.compose import compose_search
from search.config.existing import existing_study, read_config
from search.errors import ConfigError
from search.study.builders import build_executor

if TYPE_CHECKING:
    from paredown.study import Study
    from search.deploy.export import Export
    from search.deploy.verified import Verified


def run_study(*overrides: str, config_dir: str | Path | None = None) -> "Study":
    """Launch a study or go on with it, as `paredown search` does.

    Trials run in processes of their own, which import the module of the task, but not the script
    or notebook that calls this: it needs no `if __name__ == "__main__"`.

    Args:
        overrides: As on the command line, `"task=digits", "trials=20"`.
        config_dir: A folder of your own configurations.

    Raises:
        ConfigError: the configuration cannot run; nothing was started.
        StudyError: another process runs the study, it was begun with other settings, or the task
            fails.
    """
    config = compose_search(overrides, Path(config_dir) if config_dir else None)
    executor = build_executor(config)
    executor.prepare()
    # Only now, since these import torch, as the workers do meanwhile.
    from paredown.study import Study
    from search.recipe.validation import check_space
    from search.study.run import run_study as run
    from search.study.terminal import Display

    check_space(config.space)
    result = run(config, executor, Display())
    # The caller may change to another folder afterwards.
    return Study(config=replace(config, runs_dir=config.runs_dir.resolve()), result=result)


def load_study(name_or_folder: str | Path, runs_dir: str | Path = "runs") -> "Study":
    """Read a study as it stands; it may be running.

    Args:
        name_or_folder: The study's name, or the path of its folder.
        runs_dir: The folder that a name is looked up in.

    Raises:
        ConfigError: there is no such study; the message names those in `runs_dir`.
    """
    from paredown.study import Study
    from search.report.result import study_result
    from search.study.storage.opening import read_study

    config = read_config(_folder(name_or_folder, Path(runs_dir)).resolve())
    records = read_study(config).records()
    return Study(config=config, result=study_result(config, records))


def export(
    study: "Study | str | Path",
    select: str | int = "knee",
    output: str | Path | None = None,
    runs_dir: str | Path = "runs",
    trust: Collection[str] = (),
    formats: Collection[str] = ("onnx", "packed", "safetensors"),
) -> "Export":
    """Write a trial of a study for deployment, as `paredown export` does.

    Args:
        study: The study, its name, or the path of its folder.
        select: Which trial, by its number or an expression, as in `Study.select`.
        output: The folder to write; `export/trial-NNNN` in the study's folder unless given.
        runs_dir: The folder that a name is looked up in.
        trust: Packages whose code may run because a study from elsewhere names it.
        formats: Some of onnx, packed, safetensors, pt2 and openvino; onnx is always one.

    Returns:
        The folder, the trial's record and its metrics on the test set.

    Raises:
        ConfigError: there is no such study, or the expression names no trial.
        StudyError: the exported file does not give the trial's metrics.
    """
    found = load_study(study, runs_dir) if isinstance(study, str | Path) else study
    return found.export(select, output, trust, formats)


def verify(folder: str | Path, rounds: int = 30, trust: Collection[str] = ()) -> "Verified":
    """Compare an export with its evidence on this machine, as `paredown verify` does.

    Args:
        folder: What an export wrote.
        rounds: Readings of the latency.
        trust: Packages whose code may run because an export from elsewhere names it.

    Returns:
        What differs, the score if the task is here, and the latency on this machine; they are
        written to a file in the folder `machines` of the export too.

    Raises:
        ConfigError: the folder is no export, or its task names code that is not trusted.
    """
    from paredown.torch_state import as_in_a_trial
    from search.deploy.verified import verify_export

    with as_in_a_trial(1):
        return verify_export(Path(folder), rounds, trust)


def _folder(name_or_folder: str | Path, runs_dir: Path) -> Path:
    """Return the folder of a study that is given by its name or its path."""
    given = Path(name_or_folder)
    is_path = given.is_absolute() or len(given.parts) > 1
    there = (given / "config.yaml").is_file()
    if is_path and not there:
        raise ConfigError(f"{given} is no folder of a study: it has no config.yaml")
    if there and (is_path or not (runs_dir / given / "config.yaml").is_file()):
        return given
    return existing_study({"runs_dir": runs_dir, "study": given})
