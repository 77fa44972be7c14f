"""The compressed model of a trial or of an exported folder, as a torch module."""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from compressors.models.fingerprint import fingerprint
from paredown.kept_module import kept_module
from paredown.torch_state import as_in_a_trial
from paredown.trial import Trial
from search.artefact.model_files import MODULE_FORM
from search.errors import ConfigError, StudyError
from search.recipe.recipe import read_recipe
from search.tasks.loading import load_task
from search.trial.compress import compress
from search.utils.files import file_sha256
from search.utils.trust import check_targets, signed_targets


def load_compressed(source: Trial | str | Path, trust: Collection[str] = ()) -> nn.Module:
    """Return the compressed model as a torch module.

    An exported folder keeps the weights, and the name of the task: the task is built for the code
    of its modules alone, nothing is trained, and the outputs are compared with those of the ONNX
    file. A folder without `model.safetensors` keeps the recipe: its steps run in this process.
    To run the exported file itself, give `model.onnx` to ONNX Runtime.

    Args:
        source: A trial of a study, or the path of a folder that an export wrote.
        trust: Packages whose code may run because a folder from elsewhere names it.

    Returns:
        The model, in eval mode and frozen: masks, codebooks and quantisers lie on the weights as
        parametrisations.

    Raises:
        ConfigError: the folder is none that an export wrote, its task cannot be built, or it
            names code that is not trusted.
        StudyError: the trial measured no model, or the task's model is not the one that was
            compressed.
    """
    if isinstance(source, Trial):
        return source.load(trust)
    folder = Path(source)
    evidence = _evidence(folder)
    built = evidence["built_from"]
    trusted = (*signed_targets(folder), *trust)
    check_targets(str(folder), {"task": built["task"]}, trusted)
    recipe = read_recipe(folder / "recipe.yaml", trusted)
    with as_in_a_trial(built["threads"]):
        task = load_task(built["task"])
        if (folder / MODULE_FORM).exists():
            if file_sha256(folder / MODULE_FORM) != evidence["sha256"].get(MODULE_FORM):
                raise StudyError(
                    f"{folder / MODULE_FORM} is not the file that was exported, its hash in "
                    "evidence.json is another; export the trial again"
                )
            fidelity = evidence["validation"]["fidelity_db"]
            return kept_module(folder, task, recipe.to_data(), fidelity)
        if fingerprint(task.baseline) != built["baseline_fingerprint"]:
            raise StudyError(
                f"the model of task {built['task']['_target_']} is not the one that {folder} was "
                "compressed from; build it from the saved weights of then"
            )
        return compress(recipe, task)[0]


def _evidence(folder: Path) -> Mapping[str, Any]:
    """Return what an export kept of how its model was built."""
    path = folder / "evidence.json"
    kept = json.loads(path.read_text()) if path.is_file() else {}
    if "built_from" not in kept:
        raise ConfigError(
            f"{folder} is no folder of an export that names its task: {path} must hold "
            "'built_from'; export the trial again, or give recipe.yaml to apply_recipe"
        )
    found: Mapping[str, Any] = kept
    return found
