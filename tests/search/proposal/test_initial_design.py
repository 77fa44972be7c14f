"""The initial trials of a study, by what they are and in which order they come."""

from dataclasses import dataclass
from typing import ClassVar

from compressors.kinds import CompressorKind
from search.proposal.initial_design import anchors, initial_trials, is_initial
from search.recipe.parsing import parse_space
from tests.search.recipe.test_space import CHANNELS, DISTIL, LOW_RANK, PRUNE, QUANTIZE, ratio, space


@dataclass(frozen=True, kw_only=True)
class Own:
    """A user's own compressor, which takes something away."""

    kind: ClassVar[CompressorKind] = CompressorKind.REMOVES_STRUCTURE
    ratio: float = 0.0

    @property
    def active(self) -> bool:
        return self.ratio > 0


def test_initial_trials_are_the_baseline_references_encodings_and_a_portfolio():
    tried = [(t.origin, space().recipe(t.params, 0).steps) for t in initial_trials(space())]
    steps = [(origin, [step.name for step in taken]) for origin, taken in tried]
    assert steps == [
        ("baseline", []),
        ("rival:int8", ["quantize"]),
        *[("joint", ["prune", "distil", "share"])] * 4,
        ("joint", ["prune", "sparsify", "distil", "share"]),
        ("joint", ["prune", "distil", "share"]),
        *[("opening:share", ["share"])] * 3,
        ("opening:quantize", ["quantize"]),
        *[("joint", ["prune", "sparsify", "distil", "share"])] * 2,
        ("joint", ["prune", "distil", "share"]),
        ("rival:int8 and half the channels", ["prune", "distil", "quantize"]),
    ]
    clusters = [taken[0].values["clusters"] for origin, taken in tried if origin == "opening:share"]
    assert clusters == [4, 16, 64]
    ratios = [t.params["prune.ratio"] for t in initial_trials(space()) if t.origin == "joint"]
    highest = space().steps["prune"].ranges["ratio"].high
    assert ratios[:6] == [*[highest] * 3, 0.4, highest, 0.7]
    assert ratios[-1] == 0.3


def test_the_more_is_cut_the_faster_the_portfolio_learns():
    rate = {"_suggest_": "float", "low": 1e-4, "high": 1e-2, "log": True, "anchor": 1e-3}
    epochs = {"_suggest_": "int", "low": 0, "high": 12, "anchor": 12}
    steps = {
        "prune": {"_target_": CHANNELS, "ratio": ratio()},
        "sparsify": {"_target_": PRUNE, "ratio": ratio()},
        "distil": {"_target_": DISTIL, "epochs": epochs, "learning_rate": rate},
    }
    joint = [t.params for t in initial_trials(parse_space(steps, {})) if t.origin == "joint"]
    found = {(p["prune.ratio"], p["distil.learning_rate"]) for p in joint}
    highest = parse_space(steps, {}).steps["prune"].ranges["ratio"].high
    assert (highest, 1e-2) in found
    assert all(1e-3 < rate < 1e-2 for cut, rate in found if cut < 0.5 * highest)


def test_the_portfolio_shares_out_ranks_by_sensitivity_where_it_may():
    def allocations(choices):
        span = {"_suggest_": "categorical", "choices": choices, "anchor": "uniform"}
        steps = {
            "factorise": {"_target_": LOW_RANK, "lost_energy": ratio(), "allocation": span},
            "sparsify": {"_target_": PRUNE, "ratio": ratio(), "allocation": span},
        }
        joint = [t.params for t in initial_trials(parse_space(steps, {})) if t.origin == "joint"]
        assert joint
        return {
            (p.get("factorise.allocation"), p.get("sparsify.allocation"))
            for p in joint
            if p["factorise.lost_energy"] and p["sparsify.ratio"]
        }

    assert allocations(["uniform", "sensitivity"]) == {("sensitivity", "uniform")}
    assert allocations(["uniform"]) == {("uniform", "uniform")}


def test_a_learning_rate_that_is_chosen_stays_at_its_anchor():
    rate = {"_suggest_": "categorical", "choices": [1e-3, 1e-2], "anchor": 1e-3}
    steps = {
        "prune": {"_target_": CHANNELS, "ratio": ratio()},
        "distil": {"_target_": DISTIL, "epochs": 4, "learning_rate": rate},
    }
    joint = [t.params for t in initial_trials(parse_space(steps, {})) if t.origin == "joint"]
    assert {params["distil.learning_rate"] for params in joint} == {1e-3}


def test_a_step_that_damages_and_is_in_no_portfolio_is_tried_alone():
    epochs = {"_suggest_": "int", "low": 0, "high": 12, "anchor": 12}
    steps = {
        "own": {"_target_": "tests.search.proposal.test_initial_design.Own", "ratio": ratio()},
        "distil": {"_target_": DISTIL, "epochs": epochs},
    }
    tried = [(t.origin, t.params) for t in initial_trials(parse_space(steps, {}))]
    assert [origin for origin, _ in tried] == ["baseline", "opening:own"]
    assert tried[1][1]["distil.epochs"] == 12


def test_reference_recipes_and_damaging_steps_recover_at_the_anchor_and_encodings_do_not():
    steps = {
        "prune": {"_target_": CHANNELS, "ratio": ratio()},
        "distil": {
            "_target_": DISTIL,
            "epochs": {"_suggest_": "int", "low": 0, "high": 18, "anchor": 12},
        },
        "quantize": {"_target_": QUANTIZE, "bits": 8},
    }
    for trial in initial_trials(parse_space(steps, {"encode": ["none", "quantize"]})):
        assert trial.params["distil.epochs"] == (12 if trial.params["prune.ratio"] else 0)


def test_a_reference_recipe_that_a_space_cannot_express_is_left_out():
    steps = {"quantize": {"_target_": QUANTIZE, "bits": 6}}
    origins = [trial.origin for trial in initial_trials(parse_space(steps, {}))]
    assert origins == ["baseline", "opening:quantize"]


def test_only_the_baseline_untrained_references_and_small_recipes_come_before_variations():
    trials = initial_trials(space())
    early = [trial.origin for trial in trials if trial.before_variation]
    assert early == ["baseline", "rival:int8", *["joint"] * 6]
    assert [trial.before_variation for trial in trials] == [True] * 8 + [False] * (len(trials) - 8)


def test_every_initial_trial_is_known_by_its_origin_and_no_other_is():
    assert all(is_initial(trial.origin) for trial in initial_trials(space()))
    assert not is_initial("sampled")
    assert not is_initial("variation")


def test_anchors_show_each_step_alone_that_acts_and_no_recovery():
    alone = anchors(space())
    assert list(alone) == ["prune", "sparsify", "share", "quantize"]
    for name, recipe in alone.items():
        assert [step.name for step in recipe.steps] == [name]
    assert alone["prune"].steps[0].values["ratio"] == 0.5
