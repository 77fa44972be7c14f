"""The arithmetic of `benchmarks/search_efficiency.py`, and that its loop searches what it says."""

import json
import math
from pathlib import Path

import optuna
import pytest

from benchmarks.comparison import ahead, higher, speed_up, summary
from benchmarks.hand_written_loop import FIRST, INT8, SAMPLERS, suggested
from benchmarks.loop_family import LOOPS, Budget, LoopSettings, best_loops
from benchmarks.search_efficiency import TASKS, quick_runs, quick_seconds
from benchmarks.timed_arms import ABLATIONS, ARMS, read_loop, since, trajectory
from benchmarks.trajectory import (
    Point,
    Steps,
    Trajectory,
    gains,
    growth,
    read_trajectory,
    time_to,
    value_at,
    write_trajectory,
)
from compressors.channel_pruning import ChannelPruning
from compressors.errors import InfeasibleError
from compressors.kinds import MAY_FOLLOW
from search.config.compose import compose_search


def point(seconds: float, score: float, size_bytes: float, latency_ratio: float) -> Point:
    return Point(
        seconds=seconds,
        cpu_seconds=seconds / 2,
        score=score,
        size_bytes=size_bytes,
        latency_ratio=latency_ratio,
    )


def size(gain: float) -> float:
    """Return the bytes at a place on the axis, which ends at a thousandth."""
    return 1e6 / 1_000**gain


def searched(*points: Point, seconds: float = 100) -> Trajectory:
    """A baseline of error 0.1 and 1,000,000 bytes: an error of 0.2 is worth nothing."""
    return Trajectory(score=0.9, size_bytes=1_000_000, seconds=seconds, points=points)


THREE = searched(
    point(10, 0.9, size(0.5), 0.75),  # half of each axis in bytes; 0.5 and 0.25 in latency
    point(20, 0.85, size(1), 2.0),  # 0.25 and 1; slower than the baseline
    point(30, 0.9, size(0.35), 0.8),  # dominated on both planes
    point(40, 0.95, size(0), 0.5),  # 0.75 and 0; 0.75 and 0.5
)


def test_axes_run_from_worth_nothing_to_worth_one() -> None:
    assert gains(THREE, "bytes")[[0, 1, 3]].ravel() == pytest.approx([0.5, 0.5, 0.25, 1, 0.75, 0])
    assert gains(THREE, "latency")[[0, 1, 3]].ravel() == pytest.approx(
        [0.5, 0.25, 0.25, 0, 0.75, 0.5]
    )
    beyond = searched(point(1, 0.5, 1, 0.0), point(2, 1.0, 5e6, 9.0))
    assert gains(beyond, "bytes").tolist() == [[0, 1], [1, 0]]


def rounded(steps: Steps) -> list[tuple[float, float]]:
    return [(moment, round(volume, 9)) for moment, volume in steps]


def test_hypervolume_grows_as_reckoned_by_hand() -> None:
    # 0.5 x 0.5, then beside it 0.25 wide from 0.5 to 1.
    assert rounded(growth(THREE, "bytes")) == [(10, 0.25), (20, 0.375)]
    # 0.5 x 0.25, then 0.75 x 0.5 around it.
    assert rounded(growth(THREE, "latency")) == [(10, 0.125), (40, 0.375)]
    assert rounded(growth(THREE, "latency", "cpu_seconds")) == [(5, 0.125), (20, 0.375)]
    assert growth(searched(), "bytes") == []


def test_value_and_time_are_those_of_the_last_and_the_first_moment() -> None:
    steps = growth(THREE, "bytes")
    assert [value_at(steps, moment) for moment in (9, 10, 19, 20, 99)] == pytest.approx(
        [0, 0.25, 0.25, 0.375, 0.375]
    )
    assert [time_to(steps, target) for target in (0, 0.2, 0.25, 0.3, 0.375, 0.4)] == [
        0, 10, 10, 20, 20, math.inf
    ]  # fmt: skip


def test_the_ratio_is_the_loops_own_time_over_ours() -> None:
    better = searched(point(4, 0.9, size(0.5), 0.75), point(5, 1.0, size(1), 0.25))
    never = searched(point(4, 0.9, size(0.5), 0.75))
    found = {"loop": [THREE, THREE], "paredown": [better, never]}
    assert speed_up(found, "bytes", "seconds") == [20 / 5, 0]
    assert speed_up(found, "latency", "cpu_seconds") == [20 / 2.5, 0]
    assert speed_up(found, "bytes", "seconds", whole=True) == [100 / 5, 0]
    nothing = {"loop": [searched()], "paredown": [never]}
    assert speed_up(nothing, "bytes", "seconds") == [1]


def test_a_seed_is_won_where_both_planes_are_higher() -> None:
    assert higher([[1, 1, 1], [1, 1, 1]], [[0, 0, 1], [0, 1, 0]]) == 1


def test_the_json_has_the_lesser_ratio_and_medians() -> None:
    better = searched(point(4, 1.0, size(1), 1.0), point(8, 1.0, size(1), 0.25))
    arms = {"loop-a": [THREE], "loop-b": [searched()]}
    entry = summary({**arms, "paredown": [better], "post-training": [searched()]})
    assert entry == {
        "time_ratio": 5.0,  # 20 / 4 in bytes, 40 / 8 in latency
        "wins": 1,
        "ahead_from_quarter": True,
        "ahead_of_post_training": 1,
        "seeds": 1,
        "hypervolume": {
            "loop-a": 0.375,
            "loop-b": 0.0,
            "best loop": 0.375,
            "paredown": 1.0,
            "post-training": 0.0,
        },
        "hypervolume_latency": {
            "loop-a": 0.375,
            "loop-b": 0.0,
            "best loop": 0.375,
            "paredown": 0.75,
            "post-training": 0.0,
        },
    }


def test_the_best_loop_is_that_of_each_seed_and_plane() -> None:
    small = searched(point(50, 0.9, size(0.9), 1.0))  # 0.5 x 0.9 in bytes, nothing in latency
    fast = searched(point(50, 0.9, size(0), 0.2))  # nothing in bytes, 0.5 x 0.8 in latency
    found = {"loop-a": [small, THREE], "loop-b": [fast, fast], "paredown": [THREE, small]}
    assert best_loops(found, "bytes") == [small, THREE]
    assert best_loops(found, "latency") == [fast, fast]
    # Whatever Paredown's own, it is compared with these alone.
    assert speed_up(found, "bytes", "seconds") == [0, 20 / 50]


def test_paredown_is_ahead_if_it_is_above_the_best_loop_from_a_quarter_of_the_time_on() -> None:
    early = searched(point(25, 1.0, size(0.5), 0.75))  # 1 x 0.5 in bytes
    late = searched(point(26, 1.0, size(0.5), 0.75))
    overtaken = searched(point(5, 1.0, size(0.5), 0.75), point(90, 1.0, size(0.6), 0.5))
    rising = searched(point(80, 1.0, size(0.55), 0.75))
    found = {"loop": [THREE, THREE, rising], "paredown": [early, late, overtaken]}
    assert ahead(found, "bytes") == [True, False, False]


def test_every_loop_is_another_and_has_at_most_the_epochs_of_the_task() -> None:
    assert len({str(settings.arguments()) for settings in LOOPS.values()}) == len(LOOPS) == 8
    node = {"recovery_epochs": 6, "tuning_epochs": 2}
    assert LoopSettings().budget(node) == Budget(recovery=6, tuning=2)
    assert LoopSettings(epochs="2").budget(node) == Budget(recovery=2, tuning=1)
    short = {"recovery_epochs": 1, "tuning_epochs": 1}
    assert LoopSettings(epochs="2").budget(short) == Budget(recovery=1, tuning=1)


def test_the_clock_of_a_loop_starts_when_its_task_is_loaded() -> None:
    assert since([(0, 0), (10, 8), (30, 28)], 15) == [(-15, -13), (-5, -5), (15, 15)]


def test_processes_of_a_loop_have_one_clock_and_one_baseline(tmp_path: Path) -> None:
    lines = [{"started": 2.5}, {"started": 2.0}, {"finished": 3.0, "steps": 0}]
    lines += [{"finished": 4.0, "steps": 2}, {"finished": 5.0, "steps": 0}]
    (tmp_path / "loop.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    began, rows = read_loop(tmp_path / "loop.jsonl")
    assert (began, [row["finished"] for row in rows]) == (2.0, [3.0, 4.0])


def test_what_ends_too_late_is_cut_off_and_cpu_time_is_interpolated() -> None:
    rows = [
        {"finished": 1_000.0 + after, "score": 0.9, "size_bytes": 100.0, "latency_ratio": 1.0}
        for after in (5, 60, 20, 30)
    ]
    found = trajectory(rows, [(0, 0), (10, 8), (30, 18), (70, 58)], began=1_000, seconds=30)
    assert [(p.seconds, p.cpu_seconds) for p in found.points] == [(20, 13), (30, 18)]


def test_a_trajectory_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_trajectory(THREE, tmp_path / "kept.json")
    assert read_trajectory(tmp_path / "kept.json") == THREE


@pytest.mark.parametrize("jobs", [1, 2, 3, 8, 32])
def test_a_quick_run_is_over_in_ten_minutes(jobs: int) -> None:
    arms = [ARMS[name] for name, _ in quick_runs()]
    seconds = quick_seconds(arms, jobs)
    assert seconds > 0
    ends = [0.0] * jobs
    for arm in arms:
        ends[ends.index(min(ends))] += seconds + (10 if arm.loop else 25)
    assert max(ends) < 600


def test_every_search_composes_and_is_another() -> None:
    searches = [arm for arm in [*ARMS.values(), *ABLATIONS.values()] if not arm.loop]
    composed = {compose_search(arm.overrides).to_yaml() for arm in searches}
    assert len(composed) == len(searches) == 2 + len(ABLATIONS)


def test_the_tasks_have_the_epochs_that_the_loop_spends() -> None:
    for overrides in TASKS.values():
        node = compose_search(overrides).task
        assert node["recovery_epochs"] > node["tuning_epochs"] > 0


BUDGET = Budget(recovery=3, tuning=2)


@pytest.mark.parametrize("divisor", [1, 8])
def test_the_loop_keeps_multiples_of_what_it_is_told(divisor: int) -> None:
    chosen = {**FIRST, "prune": True, "prune.ratio": 0.5, "encode": "none"}
    fixed = optuna.trial.FixedTrial({**chosen, "distil.learning_rate": 1e-3})
    pruning, _ = suggested(fixed, BUDGET, removable=True, round_to=divisor)
    assert isinstance(pruning, ChannelPruning)
    assert pruning.round_to == divisor


def test_the_loop_measures_int8_alone_first() -> None:
    fixed = optuna.trial.FixedTrial({**FIRST, "encode": "quantize", "quantize.bits": 8})
    assert suggested(fixed, BUDGET, removable=True) == INT8


@pytest.mark.parametrize("sampler", list(SAMPLERS))
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_every_other_trial_of_the_loop_is_a_legal_recipe_with_all_its_epochs(sampler: str) -> None:
    study = optuna.create_study(sampler=SAMPLERS[sampler](0))
    methods = set()
    for _ in range(30):
        try:
            steps = suggested(study.ask(), BUDGET, removable=True)
        except InfeasibleError:
            continue
        methods |= {type(step).__name__ for step in steps}
        kinds = [step.kind for step in steps]
        for place, kind in enumerate(kinds):
            assert all(later in MAY_FOLLOW[kind] for later in kinds[place + 1 :])
        epochs = [step.epochs for step in steps if hasattr(step, "epochs")]
        encoded = {"Quantization", "WeightSharing"} & {type(step).__name__ for step in steps}
        assert epochs == ([3, 2] if encoded else [3]) or steps == INT8
    assert len(methods) == 7
