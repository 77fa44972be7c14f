"""Files name code to run; code that is neither ours nor trusted is not imported, let alone run."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from paredown import apply_recipe, load_compressed, load_study
from search.config.compose import compose_search
from search.deploy.apply import apply
from search.deploy.export import export_trial
from search.errors import ConfigError
from search.study.journal_file import JOURNAL
from search.utils.trust import (
    SIGNATURE,
    check_targets,
    sign_folder,
    signed_targets,
    targets_of,
)
from tests.search.study.test_driver import MadeUp, run

MODULE = "module_of_a_stranger"
TOUCH = {"_target_": "pathlib.Path.touch", "self": "ran"}
PATHS = [
    "os.system",
    "subprocess.run",
    "builtins.exec",
    "builtins:eval",
    "runpy.run_path",
    "shutil.rmtree",
    "torch.load",
    "torch.hub.load",
    "numpy.load",
    "pickle.loads",
    f"{MODULE}.run",
    f"{MODULE}:run",
    # reachable from our modules, but not ours
    "compressors.layer_removal.F.has_torch_function",
    "compressors.models.calibration:torch.load",
    "compressors.distillation.torch.load",
    # ours, but no compressor
    "search.utils.files.write_atomically",
    "search.tasks.loading.load_task",
    "search.artefact.packed_form.unpack.unpack_file",
    "paredown.studies.run_study",
    "compressorsevil.run",
    "compressors",
    "",
]


@pytest.fixture(autouse=True)
def stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module that leaves a file when it is imported; the current folder holds it."""
    (tmp_path / f"{MODULE}.py").write_text("open('ran', 'w')\ndef run(**_): open('ran', 'w')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PAREDOWN_CONFIG", str(tmp_path / "config"))
    yield tmp_path
    assert not (tmp_path / "ran").exists()


def recipe_of(target: str, **values: Any) -> dict[str, Any]:
    return {"seed": 0, "steps": {"first": {"_target_": target, **values}}}


@pytest.mark.parametrize("target", PATHS)
def test_a_recipe_names_compressors_of_ours_alone(target: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe_of(target, command="touch ran")))
    refused = pytest.raises(ConfigError, match=r"names the code .* trust=")
    with refused:
        apply_recipe(path, object(), {})  # type: ignore[arg-type]
    arguments = {"recipe_file": str(path), "trust": [], "latency": {}, "runs_dir": "runs"}
    with pytest.raises(ConfigError, match=r"names the code .* trust="):
        apply(arguments | {"task_name": "digits"})


def test_code_below_a_trusted_step_is_checked_too(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    known = "compressors.channel_pruning.ChannelPruning"
    path.write_text(yaml.safe_dump(recipe_of(known, layers=[{"x": TOUCH}])))
    with pytest.raises(ConfigError, match=r"pathlib\.Path\.touch"):
        apply_recipe(path, object(), {})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "tag", ["!!python/object/apply:os.system ['touch ran']", "!!python/name:os"]
)
def test_a_recipe_is_plain_data(tag: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(f"seed: 0\nsteps: {tag}\n")
    with pytest.raises(ConfigError, match="is no YAML"):
        apply_recipe(path, object(), {})  # type: ignore[arg-type]


def test_a_compressor_is_told_before_it_is_called(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe_of("pathlib.Path.touch", self="ran")))
    with pytest.raises(ConfigError, match="is no compressor"):
        apply_recipe(path, object(), {}, trust=["pathlib"])  # type: ignore[arg-type]


def test_a_package_that_the_user_names_is_trusted() -> None:
    check_targets("a recipe", recipe_of(f"{MODULE}.run"), [MODULE])
    check_targets("a recipe", recipe_of(f"{MODULE}.inner:run"), [MODULE])
    check_targets("a recipe", recipe_of("compressors.channel_pruning.ChannelPruning"))
    with pytest.raises(ConfigError, match=f"trust={MODULE}_2"):
        check_targets("a recipe", recipe_of(f"{MODULE}_2.run"), [MODULE])


def test_every_configuration_of_ours_needs_no_trust() -> None:
    for overrides in (["task=digits"], ["recipe=deep_compression", "task=mnist_lenet5"]):
        for sampler in ("tpe", "gp", "nsga2", "nsga3", "random", "brute_force"):
            composed = compose_search([*overrides, f"sampler={sampler}"]).composed
            assert len(list(targets_of(composed))) > 5
            check_targets("ours", composed)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    run(tmp_path / "runs", MadeUp(slots=1), "trials=3")
    return tmp_path / "runs" / "digits"


def test_a_study_is_signed_for_its_user_alone(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "search.tasks.digits.digits" in signed_targets(study)
    monkeypatch.setenv("PAREDOWN_CONFIG", str(study / "another user"))
    assert signed_targets(study) == []


@pytest.mark.parametrize("change", ["targets", "signature"])
def test_a_changed_signature_counts_for_nothing(change: str, study: Path) -> None:
    kept = json.loads((study / SIGNATURE).read_text())
    kept[change] = [*kept["targets"], "os.system"] if change == "targets" else "é"
    (study / SIGNATURE).write_text(json.dumps(kept))
    assert signed_targets(study) == []
    (study / SIGNATURE).write_text("[")
    assert signed_targets(study) == []


def test_without_a_place_for_the_key_nothing_is_signed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a file").touch()
    monkeypatch.setenv("PAREDOWN_CONFIG", str(tmp_path / "a file"))
    sign_folder(tmp_path, ["os.system"])
    assert signed_targets(tmp_path) == []


@pytest.mark.parametrize("target", [f"{MODULE}.run", "os.system", "search.tasks.loading.load_task"])
def test_the_task_of_a_strangers_study_is_not_built(target: str, study: Path) -> None:
    path = study / "config.yaml"
    kept = yaml.safe_load(path.read_text())
    kept["task"] = {"_target_": target, "config": TOUCH, "command": "touch ran"}
    path.write_text(yaml.safe_dump(kept))
    for attempt in (
        lambda: export_trial(study, 1),
        lambda: load_study(study).trials[0].load(),
        lambda: load_study(study).export(1),
    ):
        with pytest.raises(ConfigError, match=r"task names the code .* trust="):
            attempt()


def test_a_recipe_in_a_strangers_journal_is_not_built(study: Path) -> None:
    journal = study / JOURNAL
    known = "compressors.distillation.Distillation"
    assert known in journal.read_text()
    journal.write_text(journal.read_text().replace(known, f"{MODULE}.run"))
    with pytest.raises(ConfigError, match=r"trial 1: steps names the code module_of_a_stranger"):
        load_study(study).trials[1].load()
    with pytest.raises(ConfigError, match="steps names the code module_of_a_stranger"):
        run(study.parent, MadeUp(slots=1), "trials=4")


@pytest.mark.parametrize("target", [f"{MODULE}.run", "os.system"])
def test_the_task_of_a_strangers_export_is_not_built(target: str, tmp_path: Path) -> None:
    folder = tmp_path / "export"
    folder.mkdir()
    built = {"task": {"_target_": target}, "threads": 1, "baseline_fingerprint": "x"}
    (folder / "evidence.json").write_text(json.dumps({"built_from": built}))
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe_of("os.system")))
    with pytest.raises(ConfigError, match=r"task names the code .* trust="):
        load_compressed(folder)
    built["task"]["_target_"] = "search.tasks.digits.digits"
    (folder / "evidence.json").write_text(json.dumps({"built_from": built}))
    with pytest.raises(ConfigError, match=r"steps names the code os\.system.* trust=os"):
        load_compressed(folder)
