import pytest

from search.errors import ConfigError
from search.recipe.parsing import parse_space
from search.recipe.recipe import Step
from search.recipe.space import Space
from search.recipe.validation import check_order

PRUNE = "compressors.weight_pruning.WeightPruning"
CHANNELS = "compressors.channel_pruning.ChannelPruning"
LOW_RANK = "compressors.low_rank.LowRank"
SHARE = "compressors.weight_sharing.WeightSharing"
QUANTIZE = "compressors.quantization.Quantization"
DISTIL = "compressors.distillation.Distillation"


def ratio(**more):
    return {"_suggest_": "float", "low": 0.0, "high": 0.9, "step": 0.1} | more


def space() -> Space:
    steps = {
        "prune": {"_target_": CHANNELS, "ratio": ratio(anchor=0.5)},
        "sparsify": {
            "_target_": PRUNE,
            "importance": {
                "_suggest_": "categorical",
                "choices": ["magnitude", "taylor"],
                "when": "ratio",
            },
            "ratio": ratio(anchor=0.8),
        },
        "distil": {
            "_target_": DISTIL,
            "epochs": {"_suggest_": "int", "low": 0, "high": 4},
            "temperature": {"_suggest_": "float", "low": 1, "high": 8, "when": "epochs"},
        },
        "share": {
            "_target_": SHARE,
            "clusters": {"_suggest_": "int", "low": 4, "high": 64, "log": True},
        },
        "quantize": {"_target_": QUANTIZE, "bits": 8},
    }
    return parse_space(steps, {"encode": ["none", "share", "quantize"]})


class Fixed:
    """A source of values that returns what it was given and notes what it was asked for."""

    def __init__(self, **values):
        self.values = values
        self.asked = []

    def suggest_float(self, name, low, high, *, step, log):
        return self._give(name)

    suggest_int = suggest_float

    def suggest_categorical(self, name, choices):
        return self._give(name)

    def _give(self, name):
        self.asked.append(name)
        return self.values[name]


def values(**changes):
    return {
        "encode": "none",
        "prune.ratio": 0.0,
        "sparsify.ratio": 0.0,
        "sparsify.importance": "taylor",
        "distil.epochs": 0,
        "distil.temperature": 2.0,
        "share.clusters": 16,
    } | changes


def test_dimensions_that_do_not_matter_are_not_sampled():
    source = Fixed(**values())
    params = space().sample(source)
    assert source.asked == ["encode", "prune.ratio", "sparsify.ratio", "distil.epochs"]
    assert list(params) == source.asked


def test_dimensions_that_matter_are_sampled_after_what_they_wait_for():
    source = Fixed(**values(encode="share", **{"sparsify.ratio": 0.5, "distil.epochs": 2}))
    space().sample(source)
    assert source.asked == [
        "encode",
        "prune.ratio",
        "sparsify.ratio",
        "sparsify.importance",
        "distil.epochs",
        "distil.temperature",
        "share.clusters",
    ]


def test_a_recipe_drops_inactive_steps_and_has_every_value_of_the_others():
    params = space().sample(Fixed(**values(encode="quantize", **{"sparsify.ratio": 0.5})))
    recipe = space().recipe(params, seed=7)
    assert [step.name for step in recipe.steps] == ["sparsify", "quantize"]
    assert recipe.steps[0].values == {
        "ratio": 0.5,
        "importance": "taylor",
        "allocation": "uniform",
        "schedule": "one_shot",
        "layers": {},
    }
    assert recipe.steps[1].values["bits"] == 8
    assert recipe.steps[1].values["granularity"] == "channel"


def test_stepped_floats_are_rounded():
    class Source(Fixed):
        def suggest_float(self, name, low, high, *, step, log):
            return low + 6 * 0.1

    assert space().steps["prune"].ranges["ratio"].suggest(Source()) == 0.6


def test_a_dropped_step_leaves_its_choice():
    steps = {"share": {"_target_": SHARE, "clusters": 8}}
    only = parse_space(steps, {"encode": ["none", "share", "quantize"], "other": ["absent"]})
    assert only.choices == {"encode": ("none", "share")}


def test_a_space_without_a_step_is_the_space_parsed_without_it():
    whole = space()
    rest = whole.without(["share", "prune"])
    assert list(rest.steps) == ["sparsify", "distil", "quantize"]
    assert rest.choices == {"encode": ("none", "quantize")}
    assert whole.without(["share", "quantize"]).choices == {}


def test_a_choice_of_one_is_not_sampled():
    steps = {"share": {"_target_": SHARE, "clusters": 8}}
    forced = parse_space(steps, {"encode": ["share"]})
    assert forced.sample(Fixed()) == {}
    assert [step.name for step in forced.recipe({}, 0).steps] == ["share"]


def test_the_hash_tells_spaces_apart():
    steps = {"prune": {"_target_": CHANNELS, "ratio": ratio()}}
    narrow = {"prune": {"_target_": CHANNELS, "ratio": ratio(high=0.5)}}
    assert parse_space(steps, {}).hash == parse_space(steps, {}).hash
    assert parse_space(steps, {}).hash != parse_space(narrow, {}).hash


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (ratio(low=0.95), r"steps.prune.ratio: low 0.95 lies above high 0.9"),
        (ratio(low="x"), r"steps.prune.ratio.low must be a number, got 'x'"),
        (ratio(log=True), r"step must be positive and goes without log"),
        ({"_suggest_": "float", "low": 0, "high": 1, "log": True}, r"log needs low above 0"),
        (
            {"_suggest_": "int", "low": 0, "high": 1.5},
            r"ratio.high must be a whole number, got 1.5",
        ),
        ({"_suggest_": "categorical", "choices": []}, r"choices must be distinct"),
        ({"_suggest_": "categorical", "choices": [1, 1]}, r"choices must be distinct"),
        ({"_suggest_": "flaot", "low": 0, "high": 1}, r"_suggest_ must be one of .* got 'flaot'"),
        ({"_suggest_": "float", "low": 0, "hihg": 1}, r"a float range needs \['high', 'low'\]"),
        (ratio(when="epochs"), r"step 'prune' has no field 'epochs'"),
    ],
)
def test_an_impossible_range_is_refused_with_its_name(node, message):
    with pytest.raises(ConfigError, match=message):
        parse_space({"prune": {"_target_": CHANNELS, "ratio": node}}, {})


def test_fields_that_wait_for_each_other_are_refused():
    step = {"_target_": CHANNELS, "a": ratio(when="b"), "b": ratio(when="a")}
    with pytest.raises(ConfigError, match="wait for each other"):
        parse_space({"prune": step}, {})


def test_an_order_that_is_not_allowed_names_both_steps():
    share = Step(name="share", target=SHARE, values={"clusters": 4}).compressor()
    prune = Step(name="prune", target=CHANNELS, values={"ratio": 0.5}).compressor()
    check_order({"prune": prune, "share": share})
    with pytest.raises(ConfigError, match=r"'prune' removes structure .* after step 'share'"):
        check_order({"share": share, "prune": prune})


@pytest.mark.parametrize(
    ("target", "values", "message"),
    [
        (PRUNE, {"ratio": 1.2}, r"steps.x: ratio must be in \[0, 1\), got 1.2"),
        (PRUNE, {"ratoi": 0.2}, r"steps.x: .*unexpected keyword argument 'ratoi'"),
        ("compressors.nothing.Here", {}, r"steps.x: .*compressors.nothing"),
    ],
)
def test_a_step_that_cannot_be_built_is_refused_in_one_message(target, values, message):
    with pytest.raises(ConfigError, match=message):
        Step(name="x", target=target, values=values).compressor()
