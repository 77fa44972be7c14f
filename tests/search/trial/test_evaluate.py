"""A recipe replayed, a compressor of one's own, and the metrics of a trial."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from search.config.constraints import parse_constraints
from search.config.latency_settings import LatencySettings
from search.errors import ConfigError
from search.proposal.strength.directions import probes
from search.recipe.parsing import parse_space
from search.recipe.recipe import Recipe, Step
from search.recipe.rungs import Rungs, without_training
from search.recipe.step_values import params_for
from search.recipe.validation import check_space
from search.tasks.data_identity import FIRST
from search.tasks.loading import load_task
from search.tasks.task import EvaluatedTask
from search.trial.baseline import FIGURES, Baseline, check_baseline, measure_baseline, read_baseline
from search.trial.compress import compress
from search.trial.estimates import estimate_in_memory, estimate_structure
from search.trial.evaluate import Evaluator
from search.trial.prefix_cache import PrefixCache, State, open_prefix_cache
from search.trial.screen import FrontMember, Screen
from search.trial.screening import screen_trial

RUNGS = Rungs(count=3, factor=3)
SETTINGS = LatencySettings(batch_size=1, threads=1, rounds=3)
COMPRESSOR = '''
"""Rounds every weight to a few decimals; a compressor in one file."""

from copy import deepcopy
from dataclasses import dataclass
from typing import ClassVar

import torch

from compressors.errors import InfeasibleError
from compressors.kinds import CompressorKind


@dataclass(frozen=True, kw_only=True)
class Rounding:
    kind: ClassVar[CompressorKind] = CompressorKind.MASKS_WEIGHTS

    decimals: int | None = None

    def __post_init__(self):
        if self.decimals is not None and not 0 <= self.decimals <= 6:
            raise ValueError(f"decimals must be in [0, 6], got {self.decimals}")

    @property
    def active(self):
        return self.decimals is not None

    def __call__(self, model, task):
        rounded = deepcopy(model)
        with torch.no_grad():
            for weight in rounded.parameters():
                weight.copy_(weight.round(decimals=self.decimals))
        return rounded
'''
YAML = """
_target_: rounding.Rounding
decimals: {_suggest_: int, low: 0, high: 3, anchor: 1}
"""


@pytest.fixture
def task(user_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EvaluatedTask:
    monkeypatch.syspath_prepend(user_folder)
    return load_task({"_target_": "user_model.Task"}, tmp_path / "baseline")


@pytest.fixture
def baseline(task: EvaluatedTask, tmp_path: Path) -> Baseline:
    return measure_baseline(task, tmp_path / "baseline")


def evaluator(task: EvaluatedTask, baseline: Baseline) -> Evaluator:
    return Evaluator(task=task, baseline=baseline, latency=SETTINGS)


def chain() -> Recipe:
    prefix = "compressors."
    steps = [
        ("prune", "channel_pruning.ChannelPruning", {"ratio": 0.25}),
        ("sparsify", "weight_pruning.WeightPruning", {"ratio": 0.5}),
        ("distil", "distillation.Distillation", {"epochs": 2, "temperature": 2.0}),
        ("share", "weight_sharing.WeightSharing", {"clusters": 8}),
    ]
    return Recipe(
        steps=tuple(Step(name=n, target=prefix + t, values=v) for n, t, v in steps), seed=5
    )


def test_a_recipe_replayed_gives_equal_figures(
    task: EvaluatedTask, baseline: Baseline, tmp_path: Path
) -> None:
    torch.manual_seed(1)
    first = evaluator(task, baseline)(chain(), tmp_path / "a")
    torch.manual_seed(2)
    again = evaluator(task, baseline)(chain(), tmp_path / "b")
    timed = {"latency_ms", "latency_ratio", "latency_spread"}
    assert {n: v for n, v in first.metrics.items() if n not in timed} == {
        n: v for n, v in again.metrics.items() if n not in timed
    }
    for name in ("model.onnx", "model.packed"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def staged() -> Recipe:
    recipe = chain()
    distil = {**recipe.steps[2].values, "first_epoch": 0}
    steps = (*recipe.steps[:2], replace(recipe.steps[2], values=distil), recipe.steps[3])
    return RUNGS.staged(replace(recipe, steps=steps))


def screen(baseline: Baseline, **changes: Any) -> Screen:
    made = Screen(
        rungs=RUNGS,
        objectives={"score": "maximize", "size_bytes": "minimize"},
        constraints=(),
        baseline=baseline.metrics,
        maximize=True,
    )
    return replace(made, **changes)


def test_a_trial_is_seen_at_every_rung_but_the_last(
    task: EvaluatedTask, baseline: Baseline
) -> None:
    prefixes = PrefixCache(cache=None, context="")
    seen = screen_trial(staged(), task, prefixes, screen(baseline))
    assert seen.stopped == ""
    assert [estimate.share for estimate in seen.rungs] == pytest.approx([0, 1 / 9, 1 / 3])
    cut = [without_training(staged()), RUNGS.at(staged(), 0), RUNGS.at(staged(), 1)]
    for recipe, found in zip(cut, seen.rungs, strict=True):
        model, _ = compress(recipe, task)
        # Without training a score says little.
        estimate = estimate_structure if found.share == 0 else estimate_in_memory
        assert found == estimate(model, task, share=found.share)


def test_a_trial_is_stopped_at_the_rung_where_it_is_weak(
    task: EvaluatedTask, baseline: Baseline
) -> None:
    better = [[-1.0, -1.0]] * 5
    unbeaten = FrontMember(number=0, metrics={"score": 1.0, "size_bytes": 1, "macs": 1})
    for peers, reached in (([better, better], 2), ([[], better], 3)):
        # The refusal without training would end it before the first rung.
        seen = screen_trial(
            staged(), task, PrefixCache(cache=None, context=""), screen(baseline, peers=peers)
        )
        assert not seen.stopped
        assert seen.notes.startswith("cut short: not in the best 1/3 of 6")
        assert len(seen.rungs) == reached
        assert seen.recipe == Rungs(count=3, factor=3).at(staged(), reached - 2)
        settings = screen(baseline, peers=peers, front=[unbeaten], refuse_early=True)
        assert screen_trial(staged(), task, PrefixCache(cache=None, context=""), settings).stopped


def test_a_refused_trial_is_never_trained(task: EvaluatedTask, baseline: Baseline) -> None:
    prefixes = PrefixCache(cache=None, context="")
    strict = screen(baseline, constraints=parse_constraints({"macs": "<=1"}))
    seen = screen_trial(staged(), task, prefixes, strict)
    assert "not macs<=1" in seen.stopped
    assert [estimate.share for estimate in seen.rungs] == [0.0]
    assert prefixes.longest(staged().steps)[0] == 2  # to where its training would begin


def test_a_recipe_without_training_has_all_of_it_at_once(
    task: EvaluatedTask, baseline: Baseline
) -> None:
    recipe = replace(chain(), steps=(chain().steps[1], chain().steps[3]))
    seen = screen_trial(recipe, task, PrefixCache(cache=None, context=""), screen(baseline))
    assert [estimate.share for estimate in seen.rungs] == [1.0]


def test_a_trial_whose_training_is_known_is_measured_at_once(
    task: EvaluatedTask, baseline: Baseline
) -> None:
    prefixes = PrefixCache(cache=None, context="")
    weak = screen(baseline, peers=[[[-1.0, -1.0]] * 5] * 2, paid=True)
    seen = screen_trial(staged(), task, prefixes, weak)
    assert (seen.stopped, seen.notes, len(seen.rungs)) == ("", "", 1)


def test_recipes_that_begin_alike_share_what_was_trained(
    task: EvaluatedTask, tmp_path: Path
) -> None:
    first = open_prefix_cache(tmp_path, task, staged().seed)
    without = replace(staged(), steps=staged().steps[:-1])
    state = State(model=task.baseline, achieved={})
    first.keep(without.steps, state, seconds=1.0)
    assert open_prefix_cache(tmp_path, task, without.seed).longest(without.steps)[0] == len(
        without.steps
    )


def test_equal_models_before_equal_training_have_one_digest(
    task: EvaluatedTask, baseline: Baseline
) -> None:
    def digest(*steps: Step) -> str:
        recipe = Recipe(steps=steps, seed=0)
        prefixes = PrefixCache(cache=None, context="")
        return screen_trial(recipe, task, prefixes, screen(baseline)).digest

    share = chain().steps[3]
    assert digest(share) == digest(share) == digest(replace(share, name="again"))
    assert digest(share) != digest(replace(share, values={"clusters": 9}))
    assert digest(share) != digest(*staged().steps)
    # The same model without training, and another training to come.
    longer = replace(chain().steps[2], values={"epochs": 3})
    assert digest(chain().steps[2]) != digest(longer) != digest()


def test_requested_and_achieved_shares_are_both_there(
    task: EvaluatedTask, baseline: Baseline, tmp_path: Path
) -> None:
    metrics = evaluator(task, baseline)(chain(), tmp_path).metrics
    # A quarter of 24 hidden nodes in two layers; the two outputs stay.
    assert metrics["achieved/prune/channels_removed"] == pytest.approx(12 / 50)
    kept = 12 * 18 + 18 + 18 * 18 + 18 + 18 * 2 + 2
    assert metrics["parameters"] == kept
    zeros = (12 * 18) // 2 + (18 * 18) // 2 + (18 * 2) // 2
    assert metrics["achieved/sparsify/zeros"] == pytest.approx(zeros / kept)
    moved = {name for name in metrics if name.endswith("/weights_moved")}
    assert moved == {"achieved/distil/weights_moved"}
    assert metrics["size_ratio"] == metrics["size_bytes"] / baseline.metrics["run_bytes"]


@pytest.mark.parametrize(("learning_rate", "moves"), [(1e-3, True), (1.0, False)])
def test_a_recovery_that_could_only_harm_is_seen_to_have_moved_nothing(
    task: EvaluatedTask, learning_rate: float, moves: bool
) -> None:
    values = {"epochs": 2, "learning_rate": learning_rate}
    step = Step(name="distil", target="compressors.distillation.Distillation", values=values)
    _, achieved = compress(Recipe(steps=(step,), seed=0), task)
    assert (achieved["achieved/distil/weights_moved"] > 0) == moves


def test_what_the_field_compares_by_is_measured_beside_the_baseline(
    task: EvaluatedTask, baseline: Baseline, tmp_path: Path
) -> None:
    eight = Step(name="q", target="compressors.quantization.Quantization", values={"bits": 8})
    metrics = evaluator(task, baseline)(Recipe(steps=(eight,), seed=0), tmp_path).metrics
    assert baseline.metrics["bops"] == 32 * 32 * baseline.metrics["macs"]
    assert metrics["bops_ratio"] == (8 * 8) / (32 * 32)
    parameters = sum(weight.numel() for weight in task.baseline.parameters())
    packed = (tmp_path / "model.packed").stat().st_size
    assert metrics["bits_per_weight"] == 8 * packed / parameters
    assert "tokens_per_second" not in metrics


def test_the_baseline_of_an_earlier_version_gets_its_bit_operations(
    task: EvaluatedTask, baseline: Baseline, tmp_path: Path
) -> None:
    path = tmp_path / "baseline" / "figures.json"
    kept = json.loads(path.read_text())
    del kept["figures"]["bops"]
    path.write_text(json.dumps(kept))
    assert read_baseline(task, tmp_path / "baseline").metrics == baseline.metrics


def test_a_compressor_takes_one_file_and_one_yaml(
    task: EvaluatedTask, baseline: Baseline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from omegaconf import OmegaConf

    (tmp_path / "rounding.py").write_text(COMPRESSOR)
    monkeypatch.syspath_prepend(tmp_path)
    node = OmegaConf.to_container(OmegaConf.create(YAML))
    space = parse_space({"round": node}, {})
    check_space(space)
    assert "round" in probes(space)
    recipe = space.recipe(params_for(space, {"round": {}}), seed=0)
    assert recipe.steps[0].values == {"decimals": 1}
    found = evaluator(task, baseline)(recipe, tmp_path / "trial")
    assert found.verdict.startswith("size gain")
    expected = sum(int(w.round(decimals=1).count_nonzero()) for w in task.baseline.parameters())
    assert found.metrics["nonzeros"] == expected
    del sys.modules["rounding"]


def test_another_model_than_the_measured_one_is_refused(
    task: EvaluatedTask, baseline: Baseline, tmp_path: Path
) -> None:
    with torch.no_grad():
        next(task.baseline.parameters()).add_(1)
    with pytest.raises(ConfigError, match="differs from the one measured"):
        read_baseline(task, tmp_path / "baseline")


def test_other_training_data_than_at_the_first_build_are_said(
    task: EvaluatedTask, baseline: Baseline, tmp_path: Path
) -> None:
    folder = tmp_path / "baseline"
    assert check_baseline(task, folder).notes == ()
    kept = json.loads((folder / FIGURES).read_text())
    (folder / FIGURES).write_text(json.dumps(kept | {"data": kept["data"] | {FIRST: "x"}}))
    (note,) = check_baseline(task, folder).notes
    assert "the first training batches differ" in note
    (folder / FIGURES).write_text(json.dumps(kept | {"data": {}}))  # of an older study
    assert check_baseline(task, folder).notes == ()


def test_trials_take_the_free_axes_of_the_baseline_and_compare_no_batches_again(
    task: EvaluatedTask, baseline: Baseline, tmp_path: Path
) -> None:
    unread = replace(task, validation=None, declared_axes={"input": (1,)})
    folder = tmp_path / "baseline"
    assert read_baseline(unread, folder).free_axes == baseline.free_axes == task.free_axes
    kept = json.loads((folder / FIGURES).read_text())
    del kept["free_axes"]  # as in the studies of 0.1.0
    (folder / FIGURES).write_text(json.dumps(kept))
    assert read_baseline(task, folder).free_axes == task.free_axes


@pytest.mark.fault("a study that has begun gets another test set or training size")
def test_a_task_whose_data_or_score_changed_is_refused(
    task: EvaluatedTask, baseline: Baseline, tmp_path: Path
) -> None:
    check_baseline(task, tmp_path / "baseline")
    other = replace(task, validation=list(task.test))
    with pytest.raises(ConfigError, match="data, loss or score has changed"):
        check_baseline(other, tmp_path / "baseline")
    with pytest.raises(ConfigError, match="data, loss or score has changed"):
        check_baseline(replace(task, maximize=False), tmp_path / "baseline")
    with pytest.raises(ConfigError, match=r"test set is now .*give a new study a name"):
        check_baseline(replace(task, test=list(task.validation)), tmp_path / "baseline")


def test_a_baseline_of_an_earlier_version_knows_nothing_of_the_data(
    task: EvaluatedTask, baseline: Baseline, tmp_path: Path
) -> None:
    path = tmp_path / "baseline" / FIGURES
    kept = json.loads(path.read_text())
    assert kept.pop("data") == baseline.data
    path.write_text(json.dumps(kept))
    other = replace(task, test=list(task.validation))
    assert check_baseline(other, tmp_path / "baseline").data == {}


def test_the_baseline_is_not_changed_by_a_trial(
    task: EvaluatedTask, baseline: Baseline, tmp_path: Path
) -> None:
    before = [weight.clone() for weight in task.baseline.parameters()]
    evaluator(task, baseline)(chain(), tmp_path)
    pairs = zip(before, task.baseline.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert not any(module.training for module in task.baseline.modules())


def test_a_model_without_a_finite_output_is_refused_at_once(tmp_path: Path) -> None:
    model = nn.Linear(3, 2)
    with torch.no_grad():
        model.weight.fill_(float("nan"))
    sys.modules["broken"] = type(sys)("broken")
    sys.modules["broken"].make = lambda: {  # type: ignore[attr-defined]
        "model": model,
        "train": [(torch.zeros(4, 3), torch.zeros(4).long())],
        "validation": [],
        "test": [],
        "loss": nn.functional.cross_entropy,
        "score": lambda outputs, targets: outputs[:, 0],
    }
    with pytest.raises(ConfigError, match="output on the task's example is not finite"):
        load_task({"_target_": "broken.make"}, tmp_path)
    del sys.modules["broken"]
