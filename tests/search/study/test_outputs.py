"""Outputs of finished trials, without a task: the front's models, the tables, the tracker."""

from concurrent.futures import Executor, Future
from io import StringIO

import pandas as pd
import pytest
from optuna.distributions import FloatDistribution
from rich.console import Console

from search.config.compose import compose_search
from search.errors import TrackingError
from search.pareto.front import pareto_front
from search.report.result import study_result
from search.study.journal import Journal
from search.study.journal_file import open_journal
from search.study.outputs import StudyOutputs
from search.study.plan import TrialPlan
from search.study.terminal import Display
from search.study.throttle import Throttle
from search.study.tracker_feed import BATCH_TRIALS, MAX_WAIT_SECONDS, TrackerFeed
from search.trial_record import TrialRecord


class RecordingMirror:
    """A mirror that notes what it is given, and fails when it shall."""

    note = ""

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


def finish_trial(journal: Journal, config, number: int) -> TrialRecord:
    """Finish a trial smaller than all before it; every third one is also worse than the last."""
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


class AtOnce(Executor):
    """A thread that has ended each call before the caller goes on."""

    def submit(self, call, /, *arguments):
        ended = Future()
        try:
            ended.set_result(call(*arguments))
        except TrackingError as error:
            ended.set_exception(error)
        return ended


class WhenTold(AtOnce):
    """A thread that makes its calls when it is told to."""

    def __init__(self):
        self.calls = []

    def submit(self, call, /, *arguments):
        ended = Future()
        self.calls.append((ended, call, arguments))
        return ended

    def go_on(self):
        for ended, call, arguments in self.calls:
            ended.set_result(call(*arguments))
        self.calls.clear()


def opened_outputs(config, journal, mirror=None, console=None) -> StudyOutputs:
    mirror = mirror or RecordingMirror()
    return outputs_with(config, journal, lambda: mirror, console)


def outputs_with(config, journal, open_mirror, console=None, thread=None) -> StudyOutputs:
    display = Display(console=console or Console(quiet=True))
    thread = thread or AtOnce()
    feed = TrackerFeed(journal=journal, thread=thread, open_mirror=open_mirror, display=display)
    feed.open()
    return StudyOutputs(config=config, journal=journal, feed=feed, display=display)


def cannot_be_reached():
    raise TrackingError("cannot be reached")


def test_what_ends_before_the_tracker_is_open_waits_for_it(config, journal):
    thread, mirror = WhenTold(), RecordingMirror()
    outputs = outputs_with(config, journal, lambda: mirror, thread=thread)
    finish_trial(journal, config, 0)
    outputs.update()
    assert mirror.synced == []
    thread.go_on()
    outputs.write_to_tracker()
    finish_trial(journal, config, 1)
    outputs.update()  # the first one is still under way
    assert mirror.synced == []
    thread.go_on()
    outputs.feed.thread = AtOnce()
    outputs.close("FINISHED")
    assert mirror.synced == [0, 1]
    assert len(mirror.marked) == 1


@pytest.mark.fault("the tracker is gone at the start")
def test_a_tracker_that_cannot_be_opened_is_mentioned_once_and_stops_nothing(config, journal):
    text = StringIO()
    outputs = outputs_with(config, journal, cannot_be_reached, Console(file=text, width=200))
    for number in range(3):
        finish_trial(journal, config, number)
        outputs.update()
    result = outputs.close("FINISHED")
    assert (len(result.records), result.links) == (3, {})
    assert text.getvalue().count("the tracker is behind: cannot be reached") == 1


def test_a_tracker_that_comes_back_gets_everything_from_the_beginning(config, journal):
    mirrors = [RecordingMirror()]
    outputs = outputs_with(config, journal, lambda: mirrors[-1])
    finish_trial(journal, config, 0)
    outputs.update()
    mirrors[0].fails = True
    finish_trial(journal, config, 1)
    outputs.feed.write_front(study_result(config, journal.records()))
    outputs.update()
    assert mirrors[0].synced == [0]
    mirrors.append(RecordingMirror())
    outputs.close("FINISHED")
    assert mirrors[1].synced == [0, 1]


@pytest.mark.fault("a table or picture cannot be written")
def test_a_file_that_cannot_be_written_is_named_and_takes_nothing_else_with_it(config, journal):
    mirror, text = RecordingMirror(), StringIO()
    outputs = opened_outputs(config, journal, mirror, Console(file=text, width=200))
    finish_trial(journal, config, 0)
    outputs.update()
    (config.folder / "report.html").unlink(missing_ok=True)
    (config.folder / "report.html").mkdir()
    result = outputs.close("FINISHED")
    assert len(result.front) == 1
    assert "not written: " in text.getvalue()
    ((files, _),) = mirror.ended
    assert {"summary.txt", "trials.csv", "trials.parquet"} <= set(files)


def test_each_trial_goes_to_the_tracker_once_and_only_the_front_keeps_its_models(config, journal):
    mirror = RecordingMirror()
    outputs = opened_outputs(config, journal, mirror)
    for number in range(8):
        finish_trial(journal, config, number)
        outputs.update()
    outputs.close("FINISHED")
    assert mirror.synced == list(range(8))
    front = {record.number for record in pareto_front(journal.records(), config.objectives)}
    left = {int(path.parent.name) for path in config.folder.glob("trials/*/model.onnx")}
    assert left == front
    assert 0 < len(front) < 8


def test_a_later_driver_takes_up_everything_once(config, journal):
    for number in range(5):
        finish_trial(journal, config, number)
    mirror = RecordingMirror()
    later = opened_outputs(config, journal, mirror)
    later.update()
    later.update()
    assert mirror.synced == list(range(5))


def test_test_figures_reach_the_tracker_as_changes(config, journal):
    mirror = RecordingMirror()
    outputs = opened_outputs(config, journal, mirror)
    for number in range(3):
        finish_trial(journal, config, number)
    outputs.update()
    journal.keep_test(1, {"test_score": 0.5})
    outputs.close("FINISHED")
    assert mirror.synced == [0, 1, 2, 1]
    assert [r.metrics.get("test_score") for r in outputs.archive.front if r.number == 1] == [0.5]


def test_the_tracker_is_given_several_trials_at_once_and_none_waits_long(
    config, journal, monkeypatch
):
    now = [1000.0]
    monkeypatch.setattr("search.study.tracker_feed.time.monotonic", lambda: now[0])
    mirror = RecordingMirror()
    outputs = opened_outputs(config, journal, mirror)
    finish_trial(journal, config, 0)
    outputs.update()
    given = [len(mirror.synced)]
    for number in range(1, BATCH_TRIALS + 2):
        finish_trial(journal, config, number)
        outputs.update()
        given.append(len(mirror.synced))
    assert given == [1] * BATCH_TRIALS + [1 + BATCH_TRIALS] * 2
    now[0] += MAX_WAIT_SECONDS
    outputs.write_to_tracker()
    assert len(mirror.synced) == 1 + BATCH_TRIALS
    now[0] += 0.1
    outputs.write_to_tracker()
    assert mirror.synced == list(range(BATCH_TRIALS + 2))


def test_no_trial_of_the_front_is_marked_that_the_tracker_did_not_take(config, journal):
    mirror = RecordingMirror()
    mirror.fails = True
    mirror.write_front = lambda front, hypervolume: mirror.marked.append(front)
    outputs = opened_outputs(config, journal, mirror)
    finish_trial(journal, config, 0)
    outputs.update()
    assert mirror.marked == []


def test_tables_lag_at_most_until_the_end_and_then_hold_everything(config, journal):
    mirror = RecordingMirror()
    outputs = opened_outputs(config, journal, mirror)
    for number in range(4):
        finish_trial(journal, config, number)
        outputs.update()
    assert len(pd.read_parquet(config.folder / "trials.parquet")) == 1
    assert len(mirror.marked) == 1
    result = outputs.close("KILLED")
    frame = pd.read_parquet(config.folder / "trials.parquet")
    assert list(frame["number"]) == [0, 1, 2, 3]
    assert mirror.marked[-1] == (sorted(r.number for r in result.front), dict(result.history))
    ((files, status),) = mirror.ended
    assert {"report.html", "front.png", "trials.csv", "trials.parquet"} <= set(files)
    assert status == "KILLED"


@pytest.mark.fault("the tracker is gone later")
def test_a_tracker_that_fails_is_mentioned_once_and_stops_nothing(config, journal):
    mirror, text = RecordingMirror(), StringIO()
    mirror.fails = True
    outputs = opened_outputs(config, journal, mirror, Console(file=text, width=200))
    for number in range(3):
        finish_trial(journal, config, number)
        outputs.update()
    assert text.getvalue().count("the tracker is behind: no server") == 1
    assert (config.folder / "trials.csv").exists()


def test_something_costly_is_due_again_only_after_many_times_its_cost(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("search.study.throttle.time.monotonic", lambda: now[0])
    throttle = Throttle()
    assert throttle.due
    with throttle.timed():
        now[0] += 2.0
    now[0] += 99.0
    assert not throttle.due
    now[0] += 1.0
    assert throttle.due
    with throttle.timed():
        now[0] += 0.01
    now[0] += 29.0
    assert not throttle.due
    now[0] += 1.0
    assert throttle.due
