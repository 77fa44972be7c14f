"""Recipes of an integer programme, beside every combination of the levels it has seen."""

import itertools
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from search.acting import params_of
from search.constraints import parse_constraints
from search.programme import BUDGETS, LEAST_DAMAGE, WEIGHTS_OF_SIZE, programme
from search.record import TrialRecord, Value
from search.space import Space, parse_space

NLL, BYTES, MACS = 0.4, 8000.0, 5000.0
OBJECTIVES = {"score": "maximize", "size_bytes": "minimize"}
Level = tuple[float, float, float]
"""Damage, and the logarithms of the shares of bytes and operations that are left."""

RATIOS = (0.2, 0.4, 0.6)
CLUSTERS = (4, 8, 16)


def space() -> Space:
    ratio = {"_suggest_": "float", "low": 0.0, "high": 0.6, "step": 0.2}
    steps = {
        "prune": {"_target_": "compressors.channel_pruning.ChannelPruning", "ratio": ratio},
        "sparsify": {"_target_": "compressors.weight_pruning.WeightPruning", "ratio": ratio},
        "distil": {
            "_target_": "compressors.distillation.Distillation",
            "epochs": {"_suggest_": "int", "low": 0, "high": 4, "anchor": 3},
        },
        "share": {
            "_target_": "compressors.weight_sharing.WeightSharing",
            "clusters": {"_suggest_": "int", "low": 4, "high": 16},
        },
        "quantize": {"_target_": "compressors.quantization.Quantization", "bits": 8},
    }
    return parse_space(steps, {"encode": ["none", "share", "quantize"]})


def acting_levels() -> list[tuple[str, dict[str, Value]]]:
    """Return every step with the values it was tried at."""
    return [
        *[("prune", {"ratio": ratio}) for ratio in RATIOS],
        *[("sparsify", {"ratio": ratio}) for ratio in RATIOS],
        *[("share", {"clusters": clusters}) for clusters in CLUSTERS],
        ("quantize", {}),
    ]


def record_of(label: str, acting: Mapping[str, Mapping[str, Value]], level: Level) -> TrialRecord:
    params = params_of(space(), acting)
    recipe = space().recipe(params, seed=0)
    damage, size, operations = level
    metrics = {
        "nll": NLL + damage,
        "size_bytes": BYTES * math.exp(size),
        "macs": MACS * math.exp(operations),
        "latency_ratio": 1.0,
    }
    return TrialRecord(
        number=0,
        outcome="ok",
        label=label,
        seed=0,
        params=params,
        recipe=recipe.to_data(),
        recipe_hash=recipe.hash,
        metrics=metrics,
        rungs=[{"nll": 99.0, "estimated_bytes": 1.0, "macs": 1.0}],
        started=0.0,
        finished=1.0,
    )


def drawn(seed: int) -> list[Level]:
    random = np.random.default_rng(seed)
    return [
        (float(random.uniform(0.01, 2)), -float(random.uniform(0.1, 2)), -float(random.random()))
        for _ in acting_levels()
    ]


def shown(levels: list[Level]) -> list[TrialRecord]:
    known = [record_of("baseline", {}, (0.0, 0.0, 0.0))]
    for (name, values), level in zip(acting_levels(), levels, strict=True):
        known.append(record_of(f"opening:{name}", {name: values}, level))
    return known


def brute_force(
    levels: list[Level], without: tuple[str, dict[str, Value]] | None = None
) -> list[dict[str, Any]]:
    """Return which levels act, of least damage at each weight of size and each budget."""
    tried = [(a, b) for a, b in zip(acting_levels(), levels, strict=True) if a != without]
    places: list[list[tuple[str, dict[str, Value], Level]]] = [
        [("", {}, (0.0, 0.0, 0.0)), *((n, v, level) for (n, v), level in tried if n in members)]
        for members in (("prune",), ("sparsify",), ("share", "quantize"))
    ]
    found: list[dict[str, Any]] = []
    for weight, budget in itertools.product(WEIGHTS_OF_SIZE, BUDGETS):

        def saved(level: Level, weight: float = weight) -> float:
            return weight * level[1] + (1 - weight) * level[2]

        most = sum(min(saved(level) for _, _, level in place) for place in places)
        enough = [
            chosen
            for chosen in itertools.product(*places)
            if sum(saved(level) for _, _, level in chosen) <= budget * most + 1e-9
        ]
        best = min(enough, key=lambda chosen: sum(level[0] for _, _, level in chosen))
        acting = {name: values for name, values, _ in best if name}
        if acting not in found:
            found.append(acting)
    return found


def with_recovery(found: list[dict[str, Any]]) -> list[dict[str, Value]]:
    return [params_of(space(), {**acting, "distil": {}}) for acting in found]


@pytest.mark.parametrize("seed", range(6))
def test_the_recipes_are_the_best_of_all_combinations(seed: int) -> None:
    levels = drawn(seed)
    found = programme(space(), shown(levels), OBJECTIVES, ())
    assert found == with_recovery(brute_force(levels))


def test_the_recipes_depend_on_latencies_where_latency_is_an_objective() -> None:
    levels, timed = drawn(0), drawn(1)
    known = shown(levels)
    for place, (_, _, latency) in enumerate(timed, 1):
        metrics = {**known[place].metrics, "latency_ratio": math.exp(latency)}
        known[place] = replace(known[place], metrics=metrics)
    objectives = OBJECTIVES | {"latency_ratio": "minimize"}
    both = [(level[0], level[1], other[2]) for level, other in zip(levels, timed, strict=True)]
    found = programme(space(), known, objectives, ())
    assert found == with_recovery(brute_force(both))
    assert found != programme(space(), known, OBJECTIVES, ())


@pytest.mark.parametrize("metric", ["score", "score_drop", "relative_drop"])
def test_a_step_that_breaks_a_constraint_on_the_score_takes_no_part(metric: str) -> None:
    levels = drawn(0)
    bounds = parse_constraints({metric: "<=0.2", "size_bytes": "<=3000"})
    broken = {"ratio": 0.4}
    known = [replace(record, violations={"size_bytes<=3000": 9.0}) for record in shown(levels)]
    for place, (name, values) in enumerate(acting_levels(), 1):
        excess = 0.1 if (name, values) == ("prune", broken) else -0.1
        violations = {**known[place].violations, f"{metric}<=0.2": excess}
        known[place] = replace(known[place], violations=violations)
    found = programme(space(), known, OBJECTIVES, bounds)
    assert found == with_recovery(brute_force(levels, without=("prune", broken)))
    assert found != programme(space(), known, OBJECTIVES, ())


def test_a_trial_of_several_steps_or_without_figures_takes_no_part() -> None:
    known = shown(drawn(0))
    both = record_of("rival:both", {"prune": {"ratio": 0.2}, "quantize": {}}, (0.0, -9.0, -9.0))
    failed = replace(known[1], outcome="error", metrics={})
    expected = programme(space(), known, OBJECTIVES, ())
    assert programme(space(), [*known, both, failed], OBJECTIVES, ()) == expected


def test_it_does_not_matter_whether_a_step_was_shown_with_recovery() -> None:
    levels = drawn(0)
    known = shown(levels)
    for place, (name, values) in enumerate(acting_levels(), 1):
        acting = {name: values, "distil": {"epochs": 1}}
        known[place] = record_of(f"opening:{name}", acting, levels[place - 1])
    found = programme(space(), known, OBJECTIVES, ())
    assert found == with_recovery(brute_force(levels))


def test_a_step_that_mends_the_model_costs_nearly_nothing() -> None:
    levels = [(-0.3, -0.5, -0.5), *drawn(0)[1:]]
    found = programme(space(), shown(levels), OBJECTIVES, ())
    expected = [(LEAST_DAMAGE, -0.5, -0.5), *levels[1:]]
    assert found == with_recovery(brute_force(expected))


def test_nothing_is_proposed_before_there_is_anything_to_combine() -> None:
    assert programme(space(), [], OBJECTIVES, ()) == []
    assert programme(space(), shown(drawn(0))[1:], OBJECTIVES, ()) == []
    assert programme(space(), shown(drawn(0))[:1], OBJECTIVES, ()) == []
