import json
from pathlib import Path

import pytest
from optuna.distributions import FloatDistribution

from search.errors import StudyError
from search.study.journal_file import JOURNAL, open_journal, read_journal
from search.study.plan import TrialPlan
from search.trial_record import TrialRecord
from tests.disks import no_room

OBJECTIVES = {"score": "maximize", "size_bytes": "minimize"}
IDENTITY = {"space": "abc", "seed": 0, "constraints": ["score_drop<=0.02"]}


def opened(folder: Path, **identity):
    return open_journal(folder, objectives=OBJECTIVES, identity=IDENTITY | identity)


def plan(number: int) -> TrialPlan:
    recipe = {"seed": number, "steps": {}}
    params = {"prune.ratio": 0.1 * number}
    return TrialPlan(
        number=number,
        origin="sampled",
        seed=number,
        params=params,
        recipe=recipe,
        recipe_hash=f"h{number}",
    )


def record(number: int, **changes) -> TrialRecord:
    values = {
        "number": number,
        "status": "ok",
        "origin": "sampled",
        "seed": number,
        "params": {"prune.ratio": 0.1 * number},
        "recipe": {"seed": number, "steps": {}},
        "recipe_hash": f"h{number}",
        "metrics": {"score": 0.9, "size_bytes": 100.0 + number},
        "violations": {"score_drop<=0.02": -0.01},
        "rungs": (),
        "started": 1.0,
        "finished": 2.0,
    }
    return TrialRecord(**values | changes)


def add(store, number: int) -> None:
    store.add(plan(number), {"prune.ratio": FloatDistribution(0, 1)}, {})


def test_what_is_told_is_read_back(tmp_path):
    failed = record(1, status="error", metrics={}, violations={}, error="Traceback: no")
    with opened(tmp_path / "s") as store:
        for number in (0, 1, 2):
            add(store, number)
        store.tell(record(0))
        store.tell(failed)
        assert store.unfinished() == [plan(2)]
    assert read_journal(tmp_path / "s", OBJECTIVES).records() == [record(0), failed]
    states = [t.state.name for t in read_journal(tmp_path / "s", OBJECTIVES).trials()]
    assert states == ["COMPLETE", "FAIL", "RUNNING"]


def test_constraints_reach_the_sampler(tmp_path):
    with opened(tmp_path / "s") as store:
        add(store, 0)
        store.tell(record(0, violations={"score_drop<=0.02": 0.3}))
        assert store.trials()[0].constraints == {"score_drop<=0.02": 0.3}


def test_test_figures_join_the_metrics_of_a_finished_trial(tmp_path):
    with opened(tmp_path / "s") as store:
        for number in (0, 1):
            add(store, number)
            store.tell(record(number))
        store.keep_test(1, {"test_score": 0.8})
        store.keep_test(0, {"test_score": 0.7})
        assert [r.metrics["test_score"] for r in store.records()] == [0.7, 0.8]


def test_what_is_kept_in_memory_is_what_a_later_driver_reads(tmp_path):
    with opened(tmp_path / "s") as store:
        for number in (0, 1, 2):
            add(store, number)
        store.tell(record(1))
        store.tell(record(0, status="stopped", metrics={}, violations={}, error="weak"))
        store.keep_test(1, {"test_score": 0.8})
        assert [r.number for r in store.changes] == [1, 0, 1]
        assert store.changes[-1].metrics["test_score"] == 0.8
        kept = store.records(), store.hashes
    with opened(tmp_path / "s") as store:
        assert (store.records(), store.hashes) == kept
        assert store.changes == store.records()


@pytest.mark.fault("the last line of the journal is torn")
def test_a_torn_last_line_and_a_stale_lock_do_not_stop_the_study(tmp_path):
    with opened(tmp_path / "s") as store:
        for number in (0, 1):
            add(store, number)
            store.tell(record(number))
    journal = tmp_path / "s" / JOURNAL
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'{"op_code": 4, "trial')
    (tmp_path / "s" / f"{JOURNAL}.lock").symlink_to(journal)
    with opened(tmp_path / "s") as store:
        assert store.records() == [record(0), record(1)]
        add(store, 2)
    assert all(json.loads(line) for line in journal.read_text().splitlines())


@pytest.mark.fault("the journal cannot grow")
def test_a_journal_that_cannot_grow_is_named_and_goes_on_when_it_can(tmp_path):
    with opened(tmp_path / "s") as store:
        add(store, 0)
        store.tell(record(0))
        with no_room(), pytest.raises(OSError, match="File too large") as raised:
            add(store, 1)
    assert raised.value.filename == str(tmp_path / "s" / JOURNAL)
    with opened(tmp_path / "s") as store:
        assert store.records() == [record(0)]
        add(store, 1)
        store.tell(record(1))
    assert read_journal(tmp_path / "s", OBJECTIVES).records() == [record(0), record(1)]


@pytest.mark.fault("two drivers on one study")
def test_a_second_driver_is_kept_out(tmp_path):
    refused = pytest.raises(StudyError, match="another process is running this study")
    with opened(tmp_path / "s"), refused, opened(tmp_path / "s"):
        pass
    with opened(tmp_path / "s"):
        pass


def test_a_study_begun_otherwise_is_refused_and_says_in_what(tmp_path):
    with opened(tmp_path / "s") as store:
        store.begin(IDENTITY, {"remove": "no blocks"})
        assert store.infeasible_steps() == {"remove": "no blocks"}
    with opened(tmp_path / "s"):
        pass
    refused = pytest.raises(StudyError, match=r"begun with another space, seed; .*study=")
    with refused, opened(tmp_path / "s", space="other", seed=1):
        pass


def test_objectives_have_names_for_other_tools_in_old_journals_too(tmp_path):
    """As optuna-dashboard reads them; a journal of former versions gains them when it is opened."""
    for _ in range(2):
        with opened(tmp_path / "s") as store:
            assert store.study.metric_names == list(OBJECTIVES)
    path = tmp_path / "s" / JOURNAL
    former = [line for line in path.read_text().splitlines(True) if "metric_names" not in line]
    assert len(former) == len(path.read_text().splitlines()) - 1, "they are written once"
    path.write_text("".join(former))
    assert read_journal(tmp_path / "s", OBJECTIVES).study.metric_names is None
    with opened(tmp_path / "s") as store:
        assert store.study.metric_names == list(OBJECTIVES)
