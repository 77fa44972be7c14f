"""The initial trials of a study, by what they are and in which order they come."""

from search.proposal.initial_design import anchors, initial_trials, is_initial
from search.recipe.parsing import parse_space
from tests.search.recipe.test_space import CHANNELS, DISTIL, QUANTIZE, ratio, space


def test_initial_trials_are_the_baseline_references_and_encodings() -> None:
    tried = [(t.origin, space().recipe(t.params, 0).steps) for t in initial_trials(space())]
    steps = [(origin, [step.name for step in taken]) for origin, taken in tried]
    assert steps == [
        ("baseline", []),
        ("rival:int8", ["quantize"]),
        ("rival:int8 and half the channels", ["prune", "distil", "quantize"]),
        *[("opening:share", ["share"])] * 3,
        ("opening:quantize", ["quantize"]),
    ]
    clusters = [taken[0].values["clusters"] for origin, taken in tried if origin == "opening:share"]
    assert clusters == [4, 16, 64]


def test_reference_recipes_recover_at_the_anchor_and_encodings_do_not():
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


def test_only_the_baseline_and_untrained_references_come_before_everything_else() -> None:
    early = [trial.origin for trial in initial_trials(space()) if trial.comes_first]
    assert early == ["baseline", "rival:int8"]


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
