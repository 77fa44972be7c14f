"""Recipes that begin as one member of the front and end as another."""

from collections.abc import Mapping

import pytest

from search.proposal.genetic_operators import crossed, crossings, mutations
from search.recipe.parsing import parse_space
from search.recipe.rungs import Rungs, trained_until, training_hash
from search.recipe.space import Space
from search.recipe.step_values import params_for
from search.trial_record import TrialRecord, Value

RUNGS = Rungs(count=3, factor=3)


def space() -> Space:
    ratio = {"_suggest_": "float", "low": 0.0, "high": 0.9, "step": 0.1}
    importance = {
        "_suggest_": "categorical",
        "choices": ["magnitude", "taylor"],
        "when": "ratio",
    }
    epochs = {"_suggest_": "int", "low": 0, "high": 9}
    prefix = "compressors."
    steps = {
        "prune": {"_target_": prefix + "channel_pruning.ChannelPruning", "ratio": ratio},
        "sparsify": {
            "_target_": prefix + "weight_pruning.WeightPruning",
            "ratio": ratio,
            "importance": importance,
        },
        "distil": {"_target_": prefix + "distillation.Distillation", "epochs": epochs},
        "share": {
            "_target_": prefix + "weight_sharing.WeightSharing",
            "clusters": {"_suggest_": "int", "low": 4, "high": 64},
        },
        "quantize": {
            "_target_": prefix + "quantization.Quantization",
            "bits": {"_suggest_": "int", "low": 2, "high": 8},
        },
        "tune": {"_target_": prefix + "distillation.Distillation", "epochs": epochs},
    }
    return parse_space(steps, {"encode": ["none", "share", "quantize"]})


def member(number: int, acting: Mapping[str, Mapping[str, Value]]) -> TrialRecord:
    params = params_for(space(), acting)
    recipe = RUNGS.staged(space().recipe(params, seed=0))
    return TrialRecord(
        number=number,
        status="ok",
        origin="sampled",
        seed=0,
        params=params,
        recipe=recipe.to_data(),
        recipe_hash=recipe.hash,
        training=training_hash(recipe),
        started=0.0,
        finished=1.0,
    )


def front() -> list[TrialRecord]:
    return [
        member(1, {"prune": {"ratio": 0.5}, "distil": {"epochs": 6}, "quantize": {"bits": 4}}),
        member(2, {"sparsify": {"ratio": 0.8, "importance": "taylor"}, "distil": {"epochs": 3}}),
        member(3, {"share": {"clusters": 16}, "tune": {"epochs": 2}}),
    ]


def begins(params: Mapping[str, Value]) -> dict[str, Value]:
    steps = ("prune", "sparsify", "distil")
    return {n: v for n, v in params.items() if n.partition(".")[0] in steps}


def ends(params: Mapping[str, Value]) -> dict[str, Value]:
    return {n: v for n, v in params.items() if n not in begins(params)}


def test_a_child_begins_as_a_trained_member_and_ends_as_another() -> None:
    one, two, untrained = front()
    pairs = [(a, b) for a in (one, two) for b in (one, two, untrained) if a is not b]
    expected = [{**begins(a.params), **ends(b.params)} for a, b in pairs]
    children = list(crossings(space(), front(), seed=1))
    assert len(children) == len(expected)
    assert all(child in children for child in expected)
    assert [crossed(space(), a, b.params) for a, b in pairs] == expected


def test_a_child_is_a_recipe_of_the_space_with_the_parent_s_training() -> None:
    parents = [RUNGS.staged(space().recipe(r.params, seed=0)) for r in front()[:2]]
    trained = [parent.steps[: trained_until(parent)] for parent in parents]
    for child in crossings(space(), front(), seed=1):
        recipe = RUNGS.staged(space().recipe(child, seed=0))
        assert recipe.steps[: trained_until(recipe)] in trained
        assert {"encode", "prune.ratio", "sparsify.ratio", "distil.epochs"} <= set(child)
        assert set(child) == set(asked(child))


def asked(params: Mapping[str, Value]) -> dict[str, Value]:
    """Return the parameters that the space asks for, given those."""

    class Given:
        def suggest_float(
            self, name: str, low: float, high: float, *, step: float | None, log: bool
        ) -> float:
            value = params[name]
            assert isinstance(value, float | int)
            assert low <= value <= high
            return value

        def suggest_int(self, name: str, low: int, high: int, *, step: int, log: bool) -> int:
            return int(self.suggest_float(name, low, high, step=step, log=log))

        def suggest_categorical(self, name: str, choices: list[Value]) -> Value:
            assert params[name] in choices
            return params[name]

    return space().sample(Given())


def test_the_order_of_children_depends_on_the_seed_alone() -> None:
    orders = [list(crossings(space(), front(), seed)) for seed in (1, 1, 2, 3, 4)]
    assert orders[0] == orders[1]
    assert any(order != orders[0] for order in orders[2:])


@pytest.mark.parametrize("members", [[], [0], [2], [2, 2]])
def test_without_a_trained_member_and_another_there_are_none(members: list[int]) -> None:
    assert list(crossings(space(), [front()[n] for n in members], seed=0)) == []


def test_a_mutation_is_a_member_with_one_value_moved() -> None:
    members = [record.params for record in front()]
    for child in mutations(space(), front(), seed=1):
        apart = [
            [name for name in {*member, *child} if member.get(name) != child.get(name)]
            for member in members
        ]
        assert min(map(len, apart)) <= 1
        for name, value in child.items():
            spans = [r for step in space().steps.values() for r in step.ranges.values()]
            assert all(value in span for span in spans if span.name == name)


def test_mutations_reach_every_value_and_depend_on_the_seed_alone() -> None:
    found = [list(mutations(space(), front(), seed)) for seed in range(40)]
    assert found[3] == list(mutations(space(), front(), 3))
    assert found[3] != found[4]
    members = [record.params for record in front()]
    moved = {
        name
        for children in found
        for child in children
        for member in members
        for name in child
        if set(child) == set(member) and [n for n in child if child[n] != member[n]] == [name]
    }
    assert moved == {name for member in members for name in member}


def test_a_place_is_where_the_value_lies() -> None:
    for step in space().steps.values():
        for span in step.ranges.values():
            if span.kind != "categorical":
                assert span.interpolate(span.fraction_of(span.default())) == pytest.approx(
                    span.default()
                )


def test_without_a_member_there_are_no_mutations() -> None:
    assert list(mutations(space(), [], seed=0)) == []
