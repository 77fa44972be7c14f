"""Each command behind `paredown`: Hydra composes its configuration, and every error is one line."""

import os
import sys
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from search.config.environment import composed_values
from search.config.existing import existing_study
from search.config.hydra_errors import as_config_errors, check_flags
from search.config.overrides import check_additions, chosen_task, flags_first, name_bare, rewrite
from search.config.paths import conf_folder
from search.config.schema import (
    ApplySchema,
    CompareSchema,
    ExportSchema,
    FrontSchema,
    StoredSchema,
    SyncSchema,
    UiSchema,
    UnpackSchema,
    VerifySchema,
    check_types,
)
from search.config.study_config import study_config
from search.errors import ConfigError, StudyError
from search.study.builders import build_executor
from search.utils.interruption import ended_like_ctrl_c
from search.utils.secrets import without_secrets

BARE = {"unpack": ("file",), "verify": ("folder",), "compare": ("a", "b")}
"""By command, the keys of the arguments that are given without one."""


def run_command(command: str, arguments: list[str]) -> list[str]:
    """Run a command; return what was refused, a line for each job of a sweep that was.

    Args:
        command: A key of `COMMANDS`.
        arguments: What follows it on the command line.
    """
    arranged = name_bare(flags_first(arguments), BARE.get(command, ()))
    try:
        with ended_like_ctrl_c():
            refused = _run(command, [rewrite(argument, command) for argument in arranged])
    except (ConfigError, OSError) as error:
        refused = [error]
    return [without_secrets(explain(error)) for error in refused]


def _run(command: str, arguments: list[str]) -> list[Exception]:
    """Have Hydra compose and run a command, once for each job of a sweep; return what it refused.

    Errors that the user can mend are caught inside the job, since Hydra prints what leaves it.
    """
    refused: list[Exception] = []
    unexpected: list[Exception] = []

    def job(config: DictConfig) -> None:
        try:
            choices = HydraConfig.get().runtime.choices
            check_additions(_overrides(), choices, [str(key) for key in config])
            COMMANDS[command](config)
        except (ConfigError, StudyError, OSError) as error:
            refused.append(error)
        except Exception as error:  # noqa: BLE001 - raised again outside Hydra, which prints overrides
            unexpected.append(error)

    check_flags(arguments)
    # Hydra then raises its errors instead of printing them over many lines and exiting.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    # A user's own modules lie where the command is run or beside the user's configurations.
    sys.path += [str(Path.cwd()), *_config_folders(arguments)]
    sys.argv = [f"paredown {command}", *arguments]
    composed = hydra.main(version_base="1.3", config_path=str(conf_folder()), config_name=command)
    with as_config_errors(arguments):  # the job keeps its own
        composed(job)()
    if unexpected:
        raise unexpected[0]
    return refused


def _task_name() -> str:
    return chosen_task(HydraConfig.get().runtime.choices)


def _overrides() -> list[str]:
    """Return the overrides as they were given: interpolations in them are not for this list."""
    return cast(list[str], OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False))


def _config_folders(arguments: list[str]) -> list[str]:
    found = []
    for flag, following in pairwise([*arguments, ""]):
        name, separator, value = flag.partition("=")
        if name in ("--config-dir", "-cd"):
            found.append(str(Path(value if separator else following).resolve()))
    return found


def explain(error: Exception) -> str:
    """Return in one line what is wrong."""
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename is not None else ""
        return f"{where}{error.strerror}; mend that, then the same command goes on"
    return " ".join(str(error).split())


def _checked(config: DictConfig, schema: type) -> dict[str, Any]:
    """Return a composed configuration whose keys and types are those of a command's schema."""
    return check_types(composed_values(config), schema)


def _search(config: DictConfig) -> None:
    checked = study_config(composed_values(config), _task_name(), _overrides())
    print(f"study {checked.study}: {checked.trials} trials in {checked.folder}", flush=True)
    executor = build_executor(checked)
    executor.prepare()
    # Only now, since these import torch, and then everything else.
    from search.recipe.validation import check_space

    check_space(checked.space)
    from search.commands.search import search

    search(checked, executor, alone=HydraConfig.get().mode is not RunMode.MULTIRUN)


def _front(config: DictConfig) -> None:
    arguments = _checked(config, FrontSchema)
    folder = existing_study(arguments)
    from search.commands.front import front

    front(folder, arguments["select"], arguments["format"])


def _compare(config: DictConfig) -> None:
    arguments = _checked(config, CompareSchema)
    from search.commands.compare import compare

    runs_dir = Path(arguments["runs_dir"])
    compare(arguments["a"], arguments["b"], arguments["study"], runs_dir)


def _report(config: DictConfig) -> None:
    folder = existing_study(_checked(config, StoredSchema))
    from search.commands.report import report

    report(folder)


def _export(config: DictConfig) -> None:
    arguments = _checked(config, ExportSchema)
    folder = existing_study(arguments)
    from search.commands.export import export

    names = ("select", "output", "trust", "formats")
    export(folder, *(arguments[name] for name in names))


def _verify(config: DictConfig) -> None:
    arguments = _checked(config, VerifySchema)
    if arguments["folder"] is None:
        raise ConfigError("verify needs the folder of an export: paredown verify FOLDER")
    from search.commands.verify import verify

    verify(Path(arguments["folder"]), arguments["rounds"], arguments["trust"])


def _apply(config: DictConfig) -> None:
    arguments = _checked(config, ApplySchema) | {"task_name": _task_name()}
    from search.deploy.apply import apply

    apply(arguments)


def _unpack(config: DictConfig) -> None:
    arguments = _checked(config, UnpackSchema)
    if arguments["file"] is None:
        raise ConfigError("unpack needs a file: paredown unpack model.packed")
    source = Path(arguments["file"])
    target = Path(arguments["out"] or source.with_suffix(".onnx"))
    from search.artefact.packed_form.unpack import CorruptFileError, unpack_file

    try:
        written = unpack_file(source, target, arguments["limit_bytes"])
    except (OSError, CorruptFileError) as error:
        raise ConfigError(f"cannot unpack {source}: {error}") from error
    print(f"{source.stat().st_size} bytes unpacked to {written}: {target}")


def _repair(config: DictConfig) -> None:
    folder = existing_study(_checked(config, StoredSchema))
    from search.commands.repair import repair

    repair(folder)


def _sync(config: DictConfig) -> None:
    arguments = _checked(config, SyncSchema)
    from search.commands.sync import sync

    sync(existing_study(arguments), arguments["trust"])


def _ui(config: DictConfig) -> None:
    arguments = _checked(config, UiSchema)
    from search.tracking.ui import serve

    serve(Path(arguments["runs_dir"]), arguments["host"], arguments["port"])


COMMANDS: Mapping[str, Callable[[DictConfig], None]] = {
    "search": _search,
    "front": _front,
    "compare": _compare,
    "report": _report,
    "export": _export,
    "verify": _verify,
    "unpack": _unpack,
    "apply": _apply,
    "repair": _repair,
    "sync": _sync,
    "ui": _ui,
}
