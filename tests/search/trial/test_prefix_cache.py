"""Models kept between steps: what goes on from one is what goes on from the model itself."""

import io
import itertools
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from compressors.base import run
from compressors.models.copying import copy_model
from compressors.models.fingerprint import fingerprint
from compressors.models.trainable import require_training_gradients
from compressors.testing.task import ToyTask
from compressors.training.loop import TrainingSettings, train
from compressors.weight_pruning import WeightPruning
from compressors.weights.compressible import compressible_weights
from compressors.weights.encoded import coded_weights
from search.recipe.recipe import Recipe, Step
from search.recipe.rungs import Rungs
from search.tasks.loading import load_task
from search.tasks.task import EvaluatedTask
from search.trial.compress import compress
from search.trial.model_counts import count_model
from search.trial.prefix_cache import MIN_SECONDS, PrefixCache, State
from search.utils.array_cache import ArrayCache
from search.utils.user_key import sealed
from tests.acting import acting
from tests.zoo import ARCHITECTURES, toy_task

STEP = Step(
    name="sparsify",
    target="compressors.weight_pruning.WeightPruning",
    values={"ratio": 0.5, "allocation": "uniform"},
)
SLOW = 2 * MIN_SECONDS
KINDS = ("weight_pruning", "weight_sharing", "quantization")
PAIRS = list(itertools.product(ARCHITECTURES, KINDS))

task_of = cache(toy_task)


def prefixes(folder: Path | None, context: str = "here") -> PrefixCache:
    """Return prefixes as another process has them, which knows only what is on disk."""
    return PrefixCache(cache=ArrayCache(folder=folder) if folder else None, context=context)


def kept_and_read(model: nn.Module, folder: Path) -> nn.Module:
    prefixes(folder).keep([STEP], State(model=model, achieved={}), SLOW)
    count, known = prefixes(folder).longest([STEP])
    assert count == 1
    assert known is not None
    assert known.model is not model
    return known.model


@cache
def compressed(net: str, kind: str) -> nn.Module:
    """Return a model with open masks, or with closed ones below an encoding."""
    task = task_of(net)
    if kind == "weight_pruning":
        return acting(kind)(task.baseline, task)
    return acting(kind)(WeightPruning(ratio=0.5)(task.baseline, task), task)


def same_codes(one: nn.Module, other: nn.Module) -> bool:
    codes, again = coded_weights(one), coded_weights(other)
    return codes.keys() == again.keys() and all(
        (codes[name].indices == again[name].indices).all()
        and (codes[name].decode() == again[name].decode()).all()
        for name in codes
    )


@pytest.mark.parametrize(("net", "kind"), PAIRS)
def test_a_model_comes_back_from_the_disk_as_it_was(net: str, kind: str, tmp_path: Path) -> None:
    task, model = task_of(net), compressed(net, kind)
    before = fingerprint(model)
    back = kept_and_read(model, tmp_path)
    assert fingerprint(back) == before == fingerprint(model)
    assert list(back.state_dict()) == list(model.state_dict())
    assert torch.equal(run(back, task.inputs), run(model, task.inputs))
    assert same_codes(back, model)
    assert count_model(back) == count_model(model)
    assert not any(p.requires_grad for p in back.parameters())
    assert not any(module.training for module in back.modules())


def tuned(model: nn.Module, task: ToyTask) -> nn.Module:
    """Return a copy after one step of training, whether it betters the model or not."""
    torch.manual_seed(3)
    student = require_training_gradients(copy_model(model))
    settings = TrainingSettings(epochs=0.25, learning_rate=0.01)
    train(student, task.train_batches, task.loss, settings)
    return student.requires_grad_(False)


@pytest.mark.parametrize(("net", "kind"), PAIRS)
def test_it_trains_on_as_the_model_itself_would(net: str, kind: str, tmp_path: Path) -> None:
    task, model = task_of(net), compressed(net, kind)
    one, other = tuned(kept_and_read(model, tmp_path), task), tuned(model, task)
    assert fingerprint(one) == fingerprint(other) != fingerprint(model)
    assert same_codes(one, other)


@pytest.mark.parametrize("net", ARCHITECTURES)
def test_zeros_stay_zero_in_training_that_goes_on(net: str, tmp_path: Path) -> None:
    task = task_of(net)
    model = WeightPruning(ratio=0.7)(task.baseline, task)
    after = tuned(kept_and_read(model, tmp_path), task)
    pairs = zip(compressible_weights(model), compressible_weights(after), strict=True)
    for before, trained in pairs:
        assert trained.name == before.name
        assert not trained.value()[before.value() == 0].any()
        assert not torch.equal(trained.value(), before.value())


def recipe(*steps: tuple[str, str, dict[str, object]]) -> Recipe:
    made = [Step(name=n, target=f"compressors.{t}", values=v) for n, t, v in steps]
    return Recipe(steps=tuple(made), seed=5)


def chain(clusters: int) -> Recipe:
    distil = {"epochs": 1, "first_epoch": 0, "temperature": 2.0, "learning_rate": 3e-3}
    return Rungs(count=2, factor=3).staged(
        recipe(
            ("prune", "channel_pruning.ChannelPruning", {"ratio": 0.25}),
            ("sparsify", "weight_pruning.WeightPruning", {"ratio": 0.5, "schedule": "cubic"}),
            ("distil", "distillation.Distillation", distil),
            ("share", "weight_sharing.WeightSharing", {"clusters": clusters}),
            ("tune", "distillation.Distillation", {**distil, "learning_rate": 1e-3}),
        )
    )


@pytest.fixture
def task(user_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EvaluatedTask:
    monkeypatch.syspath_prepend(user_folder)
    return load_task({"_target_": "user_model.Task"}, tmp_path / "baseline")


def keep_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search.trial.prefix_cache.MIN_SECONDS", 0.0)


def test_a_known_beginning_changes_nothing(
    task: EvaluatedTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_everything(monkeypatch)
    expected = compress(chain(8), task)
    here = prefixes(tmp_path)
    compress(chain(4), task, here)
    begun = [here.longest(chain(8).steps)[0], prefixes(tmp_path).longest(chain(8).steps)[0]]
    assert begun == [4, 4]  # pruned, masked, and both parts of the recovery
    for known in (here, prefixes(tmp_path), prefixes(tmp_path), prefixes(None), None):
        model, achievements = compress(chain(8), task, known)
        assert fingerprint(model) == fingerprint(expected[0])
        assert torch.equal(run(model, task.example), run(expected[0], task.example))
        assert achievements == expected[1]
    assert prefixes(tmp_path).longest(chain(8).steps)[0] == 6


def test_a_cut_recipe_is_the_beginning_of_the_whole(task: EvaluatedTask, tmp_path: Path) -> None:
    rungs, here = Rungs(count=2, factor=3), prefixes(tmp_path)
    compress(rungs.at(chain(8), 0), task, here)
    assert here.longest(chain(8).steps)[0] == 3


def test_a_damaged_entry_is_computed_again(
    task: EvaluatedTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_everything(monkeypatch)
    expected = fingerprint(compress(chain(8), task, prefixes(tmp_path))[0])
    for entry in tmp_path.glob("*.npz"):
        entry.write_bytes(entry.read_bytes()[: entry.stat().st_size // 2])
    assert prefixes(tmp_path).longest(chain(8).steps) == (0, None)
    assert fingerprint(compress(chain(8), task, prefixes(tmp_path))[0]) == expected
    assert prefixes(tmp_path).longest(chain(8).steps)[0] == 6


def test_a_class_local_to_a_function_is_remembered_here_alone(tmp_path: Path) -> None:
    class Local(nn.Linear):
        pass

    state = State(model=Local(3, 2), achieved={"a": 0.5})
    here = prefixes(tmp_path)
    here.keep([STEP], state, SLOW)
    assert here.longest([STEP]) == (1, state)
    assert prefixes(tmp_path).longest([STEP]) == (0, None)


class _Harmful:
    """Leaves a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> object:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("who", ["nobody", "another user"])
def test_what_another_has_put_into_the_cache_is_not_unpickled(
    who: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = io.BytesIO()
    torch.save(_Harmful(tmp_path / "ran"), stream)
    content = bytes(32) + stream.getvalue()
    if who == "another user":
        with monkeypatch.context() as other:
            other.setenv("PAREDOWN_CONFIG", str(tmp_path / "other"))
            content = sealed(stream.getvalue()) or b""
    folder = tmp_path / "prefixes"
    key = prefixes(folder)._key([STEP])
    ArrayCache(folder=folder).keep(key, {"state": np.frombuffer(content, np.uint8)})
    assert prefixes(folder).longest([STEP]) == (0, None)
    assert not (tmp_path / "ran").exists()
    kept_and_read(task_of("mlp").baseline, folder)


def test_what_is_fast_to_compute_is_not_written(tmp_path: Path) -> None:
    state = State(model=nn.Linear(3, 2), achieved={})
    prefixes(tmp_path).keep([STEP], state, MIN_SECONDS / 2)
    prefixes(None).keep([STEP], state, SLOW)
    assert prefixes(tmp_path).longest([STEP]) == (0, None)
    assert not list(tmp_path.iterdir())


OTHER = replace(STEP, name="other", values={**STEP.values, "allocation": "global"})


@pytest.mark.parametrize(
    ("steps", "context"),
    [
        ([OTHER, STEP], "here"),
        ([STEP, replace(OTHER, values={**OTHER.values, "ratio": 0.6})], "here"),
        ([STEP, replace(OTHER, target="compressors.channel_pruning.ChannelPruning")], "here"),
        ([STEP, replace(OTHER, name="named")], "here"),
        ([STEP, OTHER], "there"),
    ],
)
def test_another_recipe_or_origin_is_another_state(
    steps: Sequence[Step], context: str, tmp_path: Path
) -> None:
    state = State(model=nn.Linear(3, 2), achieved={})
    prefixes(tmp_path).keep([STEP, OTHER], state, SLOW)
    same = replace(STEP, values=dict(reversed(STEP.values.items())))
    assert prefixes(tmp_path).longest([same, OTHER])[0] == 2
    assert prefixes(tmp_path, context).longest(steps) == (0, None)
