"""What follows from told trials, without a task: the front's models, the tables, the tracker."""

from concurrent.futures import Future
from io import StringIO

import pandas as pd
import pytest
from optuna.distributions import FloatDistribution
from rich.console import Console

from search.config.compose import compose_search
from search.errors import TrackingError
from search.pareto.front import pareto_front
from search.study.journal import Journal
from search.study.journal_file import open_journal
from search.study.outputs import PATIENCE_SECONDS, TOGETHER, StudyOutputs
from search.study.plan import TrialPlan
from search.study.terminal import Display
from search.study.throttle import Throttle
from search.tracking.base import Mirror
from search.trial_record import TrialRecord


class Told:
    """A tracker that notes what it is told, and fails when it shall."""

    def __init__(self):
        self.synced, self.marked, self.ended = [], [], []
        self.fails = False

    def write_trials(self, records):
        if self.fails:
            raise TrackingError("no server")
        self.synced += [record.number for record in records]

    def write_front(self, front, hypervolume):
        if self.fails:
            raise TrackingError("no server")
        self.marked.append((sorted(front), dict(hypervolume)))

    def finish(self, files, *, status):
        self.ended.append((sorted(path.name for path in files), status))

    def links(self, base=None):
        return {}


def tell(journal: Journal, config, number: int) -> TrialRecord:
    """Tell a trial that is smaller than all before it, every third one also worse than the last."""
    plan = TrialPlan(
        number=number,
        origin="sampled" if number else "baseline",
        seed=0,
        params={"prune.ratio": 0.01 * number},
        recipe={"seed": 0, "steps": {}},
        recipe_hash=str(number),
    )
    journal.add(plan, {"prune.ratio": FloatDistribution(0, 1)}, {})
    worse = number % 3 == 2
    metrics = {
        "score": 0.9 - 0.001 * number - 0.01 * worse,
        "size_bytes": 1000.0 - number + 2 * worse,
        "run_bytes": 1000.0,
        "latency_ratio": 1.0,
    }
    record = TrialRecord(**vars(plan), status="ok", metrics=metrics, started=1.0, finished=2.0)
    journal.tell(record)
    for name in ("model.onnx", "model.packed"):
        folder = config.trial_folder(number)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    return record


@pytest.fixture
def config(tmp_path):
    return compose_search(["objectives=score_size", "tracking=none", f"runs_dir={tmp_path}"])


@pytest.fixture
def journal(config):
    identity = config.identity()
    with open_journal(config.folder, objectives=config.objectives, identity=identity) as opened:
        opened.begin(identity, {})
        yield opened


def outputs(config, journal, mirror=None, console=None) -> StudyOutputs:
    opened: Future[Mirror] = Future()
    opened.set_result(mirror or Told())
    return books_with(config, journal, opened, console)


def books_with(config, journal, opening: Future[Mirror], console=None) -> StudyOutputs:
    display = Display(console=console or Console(quiet=True))
    return StudyOutputs(config=config, journal=journal, mirror=opening, display=display)


def test_what_ends_before_the_tracker_is_open_waits_for_it(config, journal):
    opening: Future[Mirror] = Future()
    kept = books_with(config, journal, opening)
    tell(journal, config, 0)
    kept.update()
    told = Told()
    opening.set_result(told)
    tell(journal, config, 1)
    kept.close("FINISHED")
    assert told.synced == [0, 1]


def test_a_tracker_that_cannot_be_opened_ends_the_study(config, journal):
    opening: Future[Mirror] = Future()
    opening.set_exception(TrackingError("cannot be reached"))
    kept = books_with(config, journal, opening)
    with pytest.raises(TrackingError, match="cannot be reached"):
        kept.update()


def test_each_trial_goes_to_the_tracker_once_and_only_the_front_keeps_its_models(config, journal):
    told = Told()
    kept = outputs(config, journal, told)
    for number in range(8):
        tell(journal, config, number)
        kept.update()
    kept.close("FINISHED")
    assert told.synced == list(range(8))
    front = {record.number for record in pareto_front(journal.records(), config.objectives)}
    left = {int(path.parent.name) for path in config.folder.glob("trials/*/model.onnx")}
    assert left == front
    assert 0 < len(front) < 8


def test_a_later_driver_takes_up_everything_once(config, journal):
    for number in range(5):
        tell(journal, config, number)
    told = Told()
    later = outputs(config, journal, told)
    later.update()
    later.update()
    assert told.synced == list(range(5))


def test_test_figures_reach_the_tracker_as_changes(config, journal):
    told = Told()
    kept = outputs(config, journal, told)
    for number in range(3):
        tell(journal, config, number)
    kept.update()
    journal.keep_test(1, {"test_score": 0.5})
    kept.close("FINISHED")
    assert told.synced == [0, 1, 2, 1]
    assert [r.metrics.get("test_score") for r in kept.archive.front if r.number == 1] == [0.5]


def test_the_tracker_is_given_several_trials_at_once_and_none_waits_long(
    config, journal, monkeypatch
):
    now = [1000.0]
    monkeypatch.setattr("search.study.outputs.time.monotonic", lambda: now[0])
    told = Told()
    kept = outputs(config, journal, told)
    tell(journal, config, 0)
    kept.update()
    given = [len(told.synced)]
    for number in range(1, TOGETHER + 2):
        tell(journal, config, number)
        kept.update()
        given.append(len(told.synced))
    assert given == [1] * TOGETHER + [1 + TOGETHER] * 2
    now[0] += PATIENCE_SECONDS
    kept.pass_on()
    assert len(told.synced) == 1 + TOGETHER
    now[0] += 0.1
    kept.pass_on()
    assert told.synced == list(range(TOGETHER + 2))


def test_no_trial_of_the_front_is_marked_that_the_tracker_did_not_take(config, journal):
    told = Told()
    told.fails = True
    told.write_front = lambda front, hypervolume: told.marked.append(front)
    kept = outputs(config, journal, told)
    tell(journal, config, 0)
    kept.update()
    assert told.marked == []


def test_tables_lag_at_most_until_the_end_and_then_hold_everything(config, journal):
    told = Told()
    kept = outputs(config, journal, told)
    for number in range(4):
        tell(journal, config, number)
        kept.update()
    assert len(pd.read_parquet(config.folder / "trials.parquet")) == 1
    assert len(told.marked) == 1
    result = kept.close("KILLED")
    frame = pd.read_parquet(config.folder / "trials.parquet")
    assert list(frame["number"]) == [0, 1, 2, 3]
    assert told.marked[-1] == (sorted(r.number for r in result.front), dict(result.history))
    ((files, status),) = told.ended
    assert {"front.html", "front.png", "trials.csv", "trials.parquet"} <= set(files)
    assert status == "KILLED"


def test_a_tracker_that_fails_is_mentioned_once_and_stops_nothing(config, journal):
    told, text = Told(), StringIO()
    told.fails = True
    kept = outputs(config, journal, told, Console(file=text, width=200))
    for number in range(3):
        tell(journal, config, number)
        kept.update()
    assert text.getvalue().count("the tracker is behind: no server") == 1
    assert (config.folder / "trials.csv").exists()


def test_something_costly_is_due_again_only_after_many_times_its_cost(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("search.study.throttle.time.monotonic", lambda: now[0])
    cadence = Throttle()
    assert cadence.due
    with cadence.timed():
        now[0] += 2.0
    now[0] += 99.0
    assert not cadence.due
    now[0] += 1.0
    assert cadence.due
    with cadence.timed():
        now[0] += 0.01
    now[0] += 29.0
    assert not cadence.due
    now[0] += 1.0
    assert cadence.due
