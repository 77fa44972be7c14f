"""A study from Python: run, loaded, its models taken out, its recipes applied elsewhere."""

import importlib
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import onnxruntime
import pytest
import torch
import yaml

import paredown
from compressors.models.fingerprint import structure_digest
from paredown import Study, Trial
from search.tasks.loading import training_task
from tests.conftest import USER_MODEL

QUICK = (
    *("task=public", "trials=7", "latency.rounds=3", "tracking=none", "executor.workers=2"),
    "objectives=score_size",  # so that no timing decides what is tried
    "~constraints.relative_drop",  # so that every trial can be selected
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A working folder with a model of the user's own, importable while these tests run."""
    folder = tmp_path_factory.mktemp("public")
    (folder / "public_model.py").write_text(USER_MODEL)
    (folder / "conf" / "task").mkdir(parents=True)
    node = {"_target_": "public_model.Task", "recovery_epochs": 1}
    (folder / "conf" / "task" / "public.yaml").write_text(yaml.safe_dump(node))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        patch.chdir(folder)
        patch.setenv("PAREDOWN_CACHE", str(folder / "cache"))
        yield folder
        sys.modules.pop("public_model", None)


@pytest.fixture(scope="module")
def study(folder: Path) -> Study:
    return paredown.run_study(*QUICK, config_dir="conf")


@pytest.fixture(scope="module")
def user(study: Study) -> ModuleType:
    """The user's own module."""
    return importlib.import_module("public_model")


@pytest.fixture(scope="module")
def trained(study: Study) -> Trial:
    """A trial whose recipe trains and then encodes."""
    found = (t for t in study.trials if "share" in t.recipe.to_data()["steps"] and t.number > 2)
    return next(t for t in found if t.metrics)


def test_a_study_is_run_and_loaded_by_its_name_or_its_folder(study: Study, folder: Path) -> None:
    assert [trial.number for trial in study.trials] == list(range(7))
    assert study.name == "public"
    for loaded in (
        paredown.load_study("public"),
        paredown.load_study("public", runs_dir=folder / "runs"),
        paredown.load_study("runs/public"),
        paredown.load_study(folder / "runs" / "public"),
    ):
        assert [t.record for t in loaded.trials] == [t.record for t in study.trials]
        assert [t.number for t in loaded.front] == [t.number for t in study.front]
    assert repr(loaded) == (
        f"<Study 'public' in {folder / 'runs' / 'public'}: 7 trials, "
        f"{len(study.front)} on the front>"
    )


def test_a_study_that_is_not_there_is_named_beside_those_that_are(study: Study) -> None:
    with pytest.raises(paredown.ConfigError, match="no study 'pubic' in runs; there are: public"):
        paredown.load_study("pubic")


def test_the_frame_has_a_row_for_each_trial(study: Study) -> None:
    frame = study.frame()
    assert frame["number"].tolist() == list(range(7))
    scores = [trial.metrics.get("score", float("nan")) for trial in study.trials]
    np.testing.assert_equal(frame["score"].to_numpy(), scores)  # nan where nothing was measured
    assert frame.loc[frame["front"], "number"].tolist() == sorted(t.number for t in study.front)


def test_a_trial_is_selected_by_an_expression_or_its_number(study: Study) -> None:
    knee = study.select("knee")
    assert knee.number in {trial.number for trial in study.front}
    assert study.trial(knee.number) == knee
    assert study.select("min size_bytes").metrics["size_bytes"] == min(
        trial.metrics["size_bytes"] for trial in study.trials if trial.feasible
    )
    assert study.select(knee.number) == study.select(str(knee.number)) == knee
    assert study.select("best where size_bytes <= 1GB") == study.select("best")
    with pytest.raises(paredown.SelectionError, match="cannot read select='good'"):
        study.select("good")
    with pytest.raises(paredown.StudyError, match=re.escape("no finished trial 99; there are: 0")):
        study.trial(99)


def test_a_trial_shows_its_record(trained: Trial) -> None:
    record = trained.record
    assert trained.recipe.to_data() == record.recipe
    assert (trained.verdict, trained.notes, trained.error) == (record.verdict, record.notes, "")
    assert repr(trained).startswith(f"<Trial {trained.number} of 'public', ok: ")


def test_the_module_of_a_trial_computes_what_was_measured(study: Study) -> None:
    compared = 0
    for trial in study.front:  # whose files a study keeps
        module = trial.load()
        assert not module.training
        if "quantize" in trial.recipe.to_data()["steps"]:
            continue  # the file rounds its activations too, by ranges of its own
        artefact = study.folder / "trials" / f"{trial.number:04d}" / "model.onnx"
        session = onnxruntime.InferenceSession(artefact)
        inputs = torch.randn(50, 12, generator=torch.Generator().manual_seed(5))
        (found,) = session.run(None, {session.get_inputs()[0].name: inputs.numpy()})
        with torch.no_grad():
            np.testing.assert_allclose(module(inputs).numpy(), found, rtol=1e-4, atol=1e-5)
        compared += 1
    assert compared


def test_loading_uses_no_kept_state_that_differs(trained: Trial, study: Study) -> None:
    kept = structure_digest(trained.load())
    shutil.rmtree(study.folder / "prefixes")
    assert structure_digest(trained.load()) == kept
    assert structure_digest(paredown.load_compressed(trained)) == kept


def test_a_recipe_gives_another_instance_of_the_model_what_the_study_got(
    trained: Trial, user: ModuleType, study: Study, tmp_path: Path
) -> None:
    wanted = structure_digest(trained.load())
    task = user.Task()
    model = task.model.train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    path = tmp_path / "recipe.yaml"
    path.write_text(trained.recipe.to_yaml())
    for recipe in (trained.recipe, trained.record.recipe, path, str(path)):
        assert structure_digest(paredown.apply_recipe(recipe, model, task)) == wanted
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert all(bool((before[n] == t).all()) for n, t in model.state_dict().items())


def test_a_task_to_compress_for_needs_training_data_and_a_loss_alone(
    trained: Trial, user: ModuleType
) -> None:
    whole = user.Task()
    wanted = structure_digest(trained.load())
    for parts in (
        {"train": whole.train, "loss": whole.loss},
        SimpleNamespace(train=whole.train, loss=whole.loss, model=None),
        training_task(whole, user.Task().model),
        SimpleNamespace(
            train_batches=training_task(whole, user.Task().model).train_batches,
            loss=whole.loss,
        ),
    ):
        found = paredown.apply_recipe(trained.recipe, whole.model, parts)
        assert structure_digest(found) == wanted
    with pytest.raises(paredown.ConfigError, match="gives no loss"):
        paredown.apply_recipe(trained.recipe, whole.model, {"train": whole.train})


def test_a_model_of_other_weights_is_its_own_teacher(trained: Trial, user: ModuleType) -> None:
    task = user.Task()
    with torch.no_grad():
        for parameter in task.model.parameters():
            parameter.mul_(1.1)
    other = paredown.apply_recipe(trained.recipe, task.model, task)
    assert structure_digest(other) != structure_digest(trained.load())


def test_steps_in_a_wrong_order_are_refused(trained: Trial, user: ModuleType) -> None:
    steps = trained.record.recipe["steps"]
    data = {
        "seed": 0,
        "steps": {
            "share": steps["share"],
            "prune": {"_target_": "compressors.channel_pruning.ChannelPruning", "ratio": 0.5},
        },
    }
    with pytest.raises(paredown.ConfigError, match="'prune' removes structure and cannot come"):
        paredown.apply_recipe(data, user.Task().model, user.Task())


def test_the_callers_torch_is_left_as_it_was(
    trained: Trial, study: Study, user: ModuleType, tmp_path: Path
) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    task = user.Task()
    torch.manual_seed(7)
    state = torch.get_rng_state()
    try:
        with torch.no_grad():
            trained.load()
            paredown.apply_recipe(trained.recipe, task.model, task)
            study.export("knee", tmp_path / "export")
            paredown.load_compressed(tmp_path / "export")
            assert not torch.is_grad_enabled()
        assert torch.get_num_threads() == threads + 1
        assert bool((torch.get_rng_state() == state).all())
    finally:
        torch.set_num_threads(threads)


def test_an_export_gives_its_module_back(study: Study, trained: Trial, tmp_path: Path) -> None:
    expression = f"max score where size_bytes=={trained.metrics['size_bytes']:.12g}"
    written = paredown.export("public", expression, tmp_path / "export")
    module = paredown.load_compressed(written.folder)
    assert structure_digest(module) == structure_digest(study.trial(written.record.number).load())
    assert paredown.export(study).folder.parent == study.folder / "export"


def test_a_folder_without_an_export_has_no_module(tmp_path: Path) -> None:
    with pytest.raises(paredown.ConfigError, match="is no folder of an export"):
        paredown.load_compressed(tmp_path)


def test_another_baseline_than_the_one_measured_is_refused(
    study: Study, trained: Trial, user: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = paredown.export(study, "knee", tmp_path / "export")

    class Other(user.Task):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            with torch.no_grad():
                self.model[0].weight.mul_(1.01)

    monkeypatch.setattr(user, "Task", Other)
    other = replace(trained, record=replace(trained.record, number=999))  # of which nothing is kept
    with pytest.raises(paredown.StudyError, match="model differs from the one measured"):
        other.load()
    (written.folder / "model.safetensors").unlink()
    with pytest.raises(paredown.StudyError, match=r"is not the one that .* was compressed from"):
        paredown.load_compressed(written.folder)


def test_what_the_front_keeps_is_loaded_whatever_the_weights_of_the_task_are_now(
    study: Study, user: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    members = {trial.number: structure_digest(trial.load()) for trial in study.front}
    folder = paredown.export(study, "knee", tmp_path / "export").folder
    knee = study.select("knee").number

    class Other(user.Task):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            with torch.no_grad():
                self.model[0].weight.mul_(1.01)
            self.train = self.train.dataset  # whatever: nothing is trained

    monkeypatch.setattr(user, "Task", Other)
    monkeypatch.setattr("paredown.trial.compress", None)
    for trial in study.front:
        assert structure_digest(trial.load()) == members[trial.number]
    assert structure_digest(paredown.load_compressed(folder)) == members[knee]


def test_what_the_front_keeps_is_what_the_recipe_makes_again(study: Study) -> None:
    for trial in study.front:
        again = replace(trial, record=replace(trial.record, number=999))
        assert structure_digest(again.load()) == structure_digest(trial.load())


@pytest.mark.parametrize("change", ["code", "file", "byte"])
def test_a_module_that_is_not_the_one_measured_is_refused(
    change: str, study: Study, user: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = paredown.export(study, "knee", tmp_path / "export").folder
    kept = folder / "model.safetensors"
    if change == "code":
        monkeypatch.setattr("torch.nn.ReLU.forward", lambda self, x: -x)
    elif change == "file":
        other = next(t for t in study.front if t.number != study.select("knee").number)
        shutil.copyfile(study.folder / f"trials/{other.number:04d}/{kept.name}", kept)
    else:
        content = bytearray(kept.read_bytes())
        content[-1] ^= 1
        kept.write_bytes(content)
    with pytest.raises(paredown.StudyError, match=r"has changed|is not the file"):
        paredown.load_compressed(folder)


def test_a_trial_without_a_model_has_nothing_to_load(trained: Trial) -> None:
    stopped = replace(trained, record=replace(trained.record, status="stopped"))
    with pytest.raises(paredown.StudyError, match="measured no model, its status is 'stopped'"):
        stopped.load()
