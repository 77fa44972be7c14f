"""Directions and encodings of a path, and what it proposes after what was measured."""

from collections.abc import Callable

import pytest

from search.config.constraints import Constraint
from search.proposal.strength.bound import ScoreBound
from search.proposal.strength.damage import Damage, DamageCurve
from search.proposal.strength.directions import directions, probes
from search.proposal.strength.encodings import by_success, encodings, re_encoded
from search.proposal.strength.path import Path
from search.recipe.parsing import parse_space
from search.recipe.space import Space
from search.recipe.step_values import params_for
from search.trial_record import TrialRecord
from tests.search.made_up_records import BASELINE, trial
from tests.search.recipe.test_space import CHANNELS, DISTIL, LOW_RANK, PRUNE, QUANTIZE, SHARE, ratio

BOUND = ScoreBound(
    constraints=[Constraint(metric="relative_drop", upper=True, bound=0.02)], baseline=BASELINE
)
EPOCHS = {"_suggest_": "int", "low": 0, "high": 4, "anchor": 4}
RATE = {"_suggest_": "float", "low": 1e-4, "high": 1e-2, "log": True, "when": "epochs"}
FAST = {"score": "maximize", "size_bytes": "minimize", "latency_ratio": "minimize"}
SMALL = {"score": "maximize", "size_bytes": "minimize"}


def whole_space() -> Space:
    steps = {
        "prune": {"_target_": CHANNELS, "ratio": ratio()},
        "factorise": {"_target_": LOW_RANK, "lost_energy": ratio()},
        "sparsify": {"_target_": PRUNE, "ratio": ratio()},
        "distil": {"_target_": DISTIL, "epochs": EPOCHS, "learning_rate": RATE},
        "share": {
            "_target_": SHARE,
            "clusters": {"_suggest_": "int", "low": 4, "high": 64, "log": True},
        },
        "quantize": {
            "_target_": QUANTIZE,
            "bits": {"_suggest_": "categorical", "choices": [8, 6, 5, 4, 3, 2], "anchor": 8},
        },
        "tune": {"_target_": DISTIL, "epochs": EPOCHS},
    }
    return parse_space(steps, {"encode": ["none", "share", "quantize"]})


def path(objectives: dict[str, str] = SMALL) -> Path:
    curve = DamageCurve(shares=(0.5, 1.0), divergences=(0.01, 1.0))
    damage = Damage(curves={"prune": curve, "sparsify": curve})
    return Path(space=whole_space(), damage=damage, bound=BOUND, objectives=objectives)


def followed(one: Path, drop: Callable[[str, float], float]) -> list[TrialRecord]:
    """Run a path to its end; drop gives the relative drop of a direction at a strength."""
    records = [trial(0, "baseline")]
    seen = set()
    while fresh := [t for t in one.proposals(records, [], range(99)) if str(t.params) not in seen]:
        kind, _, place = fresh[0].origin.partition(":")
        name, _, strength = place.rpartition(":")
        found = drop(name, float(strength)) if kind == "path" else float(kind == "rate")
        records.append(trial(len(records), fresh[0].origin, found, params=fresh[0].params))
        seen.add(str(fresh[0].params))
    return records


def test_directions_grow_by_one_group_of_steps() -> None:
    found = [direction.steps for direction in directions(whole_space())]
    assert found == [
        ("quantize",),
        ("prune",),
        ("prune", "sparsify"),
        ("prune", "factorise", "sparsify"),
    ]


def test_steps_that_are_fixed_are_in_no_direction() -> None:
    steps = {"prune": {"_target_": CHANNELS, "ratio": 0.3}, "distil": {"_target_": DISTIL}}
    assert directions(parse_space(steps, {})) == []


def test_each_damaging_step_is_probed_alone_and_no_other() -> None:
    found = probes(whole_space())
    assert set(found) == {"prune", "factorise", "sparsify"}
    assert [share for share, _ in found["prune"]] == [pytest.approx(4 / 9)]
    assert [share for share, _ in found["sparsify"]] == pytest.approx([4 / 9, 8 / 9])
    ratios = [recipe.steps[0].values["ratio"] for _, recipe in found["prune"]]
    assert ratios == [0.4]
    assert all(len(recipe.steps) == 1 for _, recipe in found["prune"])


def test_the_path_ends_near_the_bound_of_each_direction_and_then_encodes_anew() -> None:
    records = followed(path(), lambda name, s: 0.0001 if s < 0.6 else 0.03)
    tried = {r.origin.rpartition(":")[0] for r in records}
    assert {"path:prune", "path:prune+sparsify", "path:prune+factorise+sparsify"} <= tried
    by_number = {r.number: r for r in records}
    encoded = [r for r in records if r.origin.startswith("encoding:")]
    assert encoded
    for record in encoded:
        before = by_number[int(record.origin.partition(":")[2])]
        assert BOUND.used(before) <= 1
        assert before.params["prune.ratio"] == record.params["prune.ratio"]
        assert before.params["encode"] != record.params["encode"]


def test_what_one_direction_allows_is_where_the_next_begins() -> None:
    one = path()
    records = followed(one, lambda name, s: 0.5 if s > 0.2 else 0.007)
    first = [r for r in records if r.origin.startswith("path:prune:")]
    kept = max(float(r.origin.rpartition(":")[2]) for r in first if BOUND.used(r) <= 1)
    then = next(r for r in records if r.origin.startswith("path:prune+sparsify:"))
    start = float(then.origin.rpartition(":")[2])

    def total(steps: list[str], strength: float) -> float:
        return one.damage.total(one.damage.shares(steps, strength))

    # half of the bound was used up, of which seven tenths are the aim
    assert total(["prune", "sparsify"], start) == pytest.approx(
        total(["prune"], kept) * 0.7 / 0.35, rel=0.1
    )


def test_a_direction_that_brings_nothing_to_the_front_ends_early() -> None:
    records = [
        trial(0, "baseline"),
        trial(1, "path:prune:0.9000", 0.5),
        trial(2, "path:prune:0.7000", 0.5),
        trial(3, "path:prune:0.3000", 0.005),
    ]
    kept, left = (
        {t.origin.rpartition(":")[0] for t in path().proposals(records, [], front)}
        for front in ([3], [0])
    )
    assert "path:prune" in kept
    assert "path:prune" not in left
    assert "encoding" not in left


def test_a_direction_waits_for_its_trial_and_the_next_for_what_it_allows() -> None:
    waiting = ["path:quantize:0.5000", "path:prune:0.9000"]
    begun = trial(0, "baseline")
    assert not list(path().proposals([begun], waiting, []))
    measured = trial(1, "path:prune:0.5000", 0.005)
    found = [t.origin for t in path().proposals([begun, measured], waiting, [])]
    assert [origin.rpartition(":")[0] for origin in found] == [
        "path:prune+sparsify",
        "path:prune+factorise+sparsify",
    ]


@pytest.mark.parametrize(("drop", "then"), [(0.009, ["path:prune:1.0000"]), (0.5, [])])
def test_strengths_at_which_the_recipe_is_the_same_are_passed_over(
    drop: float, then: list[str]
) -> None:
    steps = {
        "prune": {"_target_": CHANNELS, "ratio": ratio(high=0.2)},
        "distil": {"_target_": DISTIL, "epochs": EPOCHS},
    }
    one = Path(
        space=parse_space(steps, {}), damage=Damage(curves={}), bound=BOUND, objectives=SMALL
    )
    # .5 and the secant's .78 are a ratio of .1, below .5 lies none
    records = [trial(0, "baseline"), trial(1, "path:prune:0.5000", drop)]
    assert [t.origin for t in one.proposals(records, [], [1])] == then


def test_a_step_with_few_values_is_probed_at_its_first_too() -> None:
    steps = {"prune": {"_target_": CHANNELS, "ratio": ratio(high=0.5)}}
    (found,) = probes(parse_space(steps, {})).values()
    assert [share for share, _ in found] == pytest.approx([0.2, 0.4])


def test_stronger_recipes_learn_faster() -> None:
    found = {
        t.params["distil.learning_rate"]: t.params["prune.ratio"]
        for drop in (0.0, 0.5)
        for t in path().proposals(
            [trial(0, "baseline"), trial(1, "path:prune:0.5000", drop)], [], []
        )
        if t.origin.startswith("path:prune:")
    }
    (mild, strong) = sorted(found)
    assert found[mild] < found[strong]


@pytest.mark.parametrize(
    ("objectives", "ratio_of_int8", "first"),
    [(FAST, 0.5, "quantize"), (FAST, 1.2, "share"), (SMALL, 0.5, "share")],
)
def test_integers_come_first_only_where_they_were_measured_to_be_faster(
    objectives: dict[str, str], ratio_of_int8: float, first: str
) -> None:
    records = [
        trial(0, "baseline", metrics={"latency_ratio": 1.0}),
        trial(1, "rival:int8", metrics={"latency_ratio": ratio_of_int8}),
    ]
    found = encodings(whole_space(), objectives, records)
    assert next(iter(found[0])) == first
    assert (found[0] == {"quantize": {"bits": 8}}) == (first == "quantize")
    assert {"quantize": {"bits": 8}} not in found[1:]


def test_another_encoding_leaves_what_comes_before() -> None:
    space = whole_space()
    (proposal,) = [
        t
        for t in path().proposals([trial(0, "baseline")], [], [])
        if t.origin.startswith("path:prune:")
    ]
    found = re_encoded(space, proposal.params, {"quantize": {"bits": 8}})
    before, after = (space.recipe(params, 0).steps for params in (proposal.params, found))
    assert [s for s in before if s.name in ("prune", "distil")] == [
        s for s in after if s.name in ("prune", "distil")
    ]
    assert [step.name for step in after] == ["prune", "distil", "quantize"]


@pytest.mark.parametrize(("objectives", "multiple"), [(FAST, 8), (SMALL, 1)])
def test_channels_stay_multiples_of_eight_where_latency_counts_and_that_is_possible(
    objectives: dict[str, str], multiple: int
) -> None:
    choices = {"_suggest_": "categorical", "choices": [1, 8, 16], "anchor": 1, "when": "ratio"}
    steps = {
        "prune": {"_target_": CHANNELS, "ratio": ratio(), "round_to": choices},
        "sparsify": {"_target_": PRUNE, "ratio": ratio()},
        "distil": {"_target_": DISTIL, "epochs": EPOCHS},
    }
    one = Path(
        space=parse_space(steps, {}),
        damage=Damage(curves={}),
        bound=BOUND,
        objectives=objectives,
    )
    first = trial(0, "baseline")
    found = list(one.proposals([first], [], []))
    assert len(found) == 2
    assert {t.params["prune.round_to"] for t in found} == {multiple}
    failed = [
        trial(n, t.origin, status="infeasible", metrics={}) for n, t in enumerate(found, start=1)
    ]
    again = list(one.proposals([first, *failed], [], []))
    assert [t.origin for t in again] == [t.origin for t in found]
    if multiple > 1:  # alone with any number of channels, else with all of them
        assert again[0].params["prune.round_to"] == 1
        assert again[0].params["prune.ratio"] > 0 == again[1].params["prune.ratio"]


def test_the_encoding_in_which_most_of_the_front_is_written_comes_first() -> None:
    space = whole_space()
    first, second = encodings(space, SMALL, [])
    written = trial(
        7, params=re_encoded(space, params_for(space, {"prune": {"ratio": 0.3}}), second)
    )
    assert by_success(space, [first, second], []) == [first, second]
    assert by_success(space, [first, second], [written]) == [second, first]
