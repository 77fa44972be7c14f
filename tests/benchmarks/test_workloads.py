"""The figures that `benchmarks/workloads.py` takes from a study and its rivals."""

import math
from argparse import Namespace
from pathlib import Path
from typing import Any

import onnx
import pytest

from benchmarks.continued_training import trainings
from benchmarks.onnxruntime_quantiser import with_raw_data
from benchmarks.workload_figures import (
    Bounds,
    Found,
    entry,
    fastest,
    median_entry,
    smallest,
    untrained,
    volume,
)
from benchmarks.workloads import WORKLOADS, Run, overrides_of
from search.artefact.packed_form.packing import pack_file, restores
from search.config.compose import compose_search
from search.trial_record import TrialRecord

BOUNDS = Bounds(relative_drop=0.05)
DENSE = 1e6


def metrics(score: float, gain: float, latency_ratio: float = 1.0) -> dict[str, float]:
    """Return metrics with the bytes at a place on the axis, which ends at a thousandth."""
    size = DENSE / 1_000**gain
    return {
        "score": score,
        "size_bytes": size,
        "size_ratio": size / DENSE,
        "latency_ratio": latency_ratio,
    }


def record(number: int, *, epochs: int = 0, test: float | None = None, **found: Any) -> TrialRecord:
    tested = {} if test is None else {"test_score": test}
    return TrialRecord(
        number=number,
        status="ok",
        origin="sampled",
        seed=0,
        params={},
        recipe={"seed": 0, "steps": {"quantize": {"bits": 8}, "tune": {"epochs": epochs}}},
        recipe_hash=str(number),
        metrics=metrics(**found) | tested,
        started=0.0,
        finished=1000.0 + 10 * number,
    )


STUDY = [
    record(0, score=0.9, gain=0.0, test=0.88),
    record(1, score=0.9, gain=0.5, latency_ratio=0.5, test=0.872),  # without training
    record(2, score=0.9, gain=0.8, latency_ratio=0.4, test=0.866, epochs=3),
    record(3, score=0.86, gain=0.9, latency_ratio=0.2, test=0.85, epochs=3),
    record(4, score=0.5, gain=1.0, latency_ratio=0.1, epochs=3),  # beyond the bound
]
LOOP = (
    990.0,
    [
        {**metrics(0.9, 0.0), "finished": 991.0},
        {**metrics(0.9, 0.6, 0.9), "finished": 1000.0},
        {**metrics(0.9, 1.0, 0.1), "finished": 1091.0},  # after its time
    ],
)
POOR = (990.0, LOOP[1][:1])
QUANTISED = {**metrics(0.9, 0.45, 0.3), "test_score": 0.88}


def test_the_fastest_may_lose_a_point_and_the_smallest_one_and_a_half_of_test_score() -> None:
    assert fastest(STUDY, BOUNDS) == {"test": 0.872, "speedup": 2.0}
    assert smallest(STUDY, BOUNDS) == {"test": 0.866, "ratio": round(1_000**0.8, 2)}


def test_without_a_gain_within_the_bounds_it_is_the_baseline() -> None:
    assert fastest([STUDY[0], STUDY[3]], BOUNDS) == {"test": 0.88, "speedup": 1.0}
    assert smallest([STUDY[0], STUDY[4]], BOUNDS) == {"test": 0.88, "ratio": 1.0}


def test_points_of_a_perplexity_are_per_cent_of_the_baselines() -> None:
    lower = Bounds(relative_drop=0.1, maximize=False)
    assert lower.points_lost(51.0, 50.0) == pytest.approx(2)
    assert BOUNDS.points_lost(0.87, 0.88) == pytest.approx(1)
    assert [lower.hold(score, 50.0) for score in (40.0, 55.0, 56.0)] == [True, True, False]
    assert [BOUNDS.hold(score, 0.8) for score in (0.9, 0.76, 0.75)] == [True, True, False]


def test_the_entry_has_the_best_loop_and_the_recipes_without_training() -> None:
    found = Found(
        records=STUDY,
        launched=1000.0,
        limit=100.0,
        seconds=120.04,
        loops={"loop-a": LOOP, "loop-b": POOR},
        quantiser=[QUANTISED],
        control={"test_score": 0.884},
    )
    got = entry(found, BOUNDS)
    # The baseline's error is 0.1, so that 0.2 is worth nothing and 0.1 half of the axis.
    assert got == {
        "baseline": {"test": 0.88},
        "control": {"test": 0.884},
        "fastest": {"test": 0.872, "speedup": 2.0},
        "smallest": {"test": 0.866, "ratio": 251.19},
        "hypervolume": {
            "paredown": 0.43,  # 0.5 x 0.8 and 0.3 x 0.1
            "loop": 0.3,
            "post_training": 0.25,
        },
        "hypervolume_latency": {
            "paredown": 0.36,  # 0.5 x 0.6 and 0.3 x 0.2
            "loop": 0.05,
            "post_training": 0.35,
        },
        "trials": 4,
        "trials_in_bound": 3,
        "seconds": 120.0,
    }


def test_what_was_skipped_is_null() -> None:
    found = Found(records=STUDY, launched=1000.0, limit=100.0, seconds=100.0, loops={})
    got = entry(found, BOUNDS)
    assert (
        got["control"] is got["hypervolume"]["loop"] is got["hypervolume_latency"]["loop"] is None
    )


def test_a_perplexity_of_the_baseline_is_the_end_of_its_axis() -> None:
    lower = Bounds(relative_drop=0.1, maximize=False)
    same = volume(metrics(50.0, 0.0), [metrics(50.0, 0.5)], lower, "bytes")
    worse = volume(metrics(50.0, 0.0), [metrics(50.0 * math.exp(0.05), 0.5)], lower, "bytes")
    beyond = volume(metrics(50.0, 0.0), [metrics(56.0, 0.5)], lower, "bytes")
    assert (same, worse, beyond) == (0.5, 0.25, 0.0)


def test_a_recipe_trains_if_a_step_has_epochs() -> None:
    assert [untrained(r) for r in STUDY] == [True, True, False, False, False]


def test_the_medians_of_entries_are_null_where_a_seed_has_null() -> None:
    entries = [{"a": {"b": value}, "c": seen} for value, seen in ((1, 2), (5, None), (3, 4))]
    assert median_entry(entries) == {"a": {"b": 3}, "c": None}


@pytest.mark.parametrize("name", list(WORKLOADS))
def test_every_workload_composes_with_its_paths_and_one_bound(name: str) -> None:
    workload = WORKLOADS[name]
    given = Namespace(**{option: Path("here") for option in workload.options.values()})
    overrides = overrides_of(name, given)
    node = compose_search(overrides).task
    assert {key: node[key] for key in workload.options} == dict.fromkeys(
        workload.options, str(Path("here").resolve())
    )
    run = Run(
        workload=workload,
        overrides=overrides,
        seed=0,
        seconds=1,
        workers=1,
        folder=Path("nowhere"),
    )
    assert 0 < run.bounds.relative_drop <= 0.1
    assert run.bounds.maximize == (name != "reviews_lm")
    none = Namespace(**dict.fromkeys(workload.options.values()))
    assert overrides_of(name, none) == (f"experiment={name}",)


def test_every_training_of_the_control_is_another() -> None:
    steps = list(trainings(3))
    assert len(set(steps)) == len(steps) == 6
    assert {step.epochs for step in steps} == {3}


def test_a_file_with_raw_data_has_the_same_weights_and_can_be_packed(tmp_path: Path) -> None:
    typed = onnx.helper.make_tensor("w", onnx.TensorProto.INT8, [2, 3], [-3, 2, 1, 0, 5, 127])
    result = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.INT8, [2, 3])
    node = onnx.helper.make_node("Identity", ["w"], ["y"])
    graph = onnx.helper.make_graph([node], "typed", [], [result], [typed])
    onnx.save(onnx.helper.make_model(graph), tmp_path / "model.onnx")
    raw = with_raw_data(tmp_path / "model.onnx")
    [weight] = onnx.load(raw).graph.initializer
    assert weight.raw_data == bytes([253, 2, 1, 0, 5, 127])
    pack_file(raw, tmp_path / "model.packed", ())
    assert restores(tmp_path / "model.packed", raw)
