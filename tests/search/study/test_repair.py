"""A damaged journal is noticed, named and repaired; what its lines or the trials say is kept."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from search.errors import StudyError
from search.executors.base import Job
from search.executors.outcome import Outcome, write_outcome
from search.report.result import StudyResult
from search.study.journal_file import JOURNAL, read_journal
from search.study.repair import LOST, repair
from search.trial_record import TrialRecord
from tests.search.study.test_driver import MadeUp, config, run

SHORT = "trials=5"


class Writing(MadeUp):
    """Leaves outcomes in the folders of trials, as workers do."""

    def wait(self, seconds: float) -> list[tuple[Job, Outcome]]:
        ended = super().wait(seconds)
        for job, outcome in ended:
            job.folder.mkdir(parents=True, exist_ok=True)
            write_outcome(outcome, job.folder)
        return ended


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    run(runs, Writing(slots=1), SHORT)
    return runs


@pytest.fixture
def runs(finished: Path, tmp_path: Path) -> Path:
    return shutil.copytree(finished, tmp_path / "runs")


def damage(runs: Path, numbers: list[int], change: Callable[[bytes], bytes]) -> None:
    """Change lines of the journal, counted from 1."""
    path = runs / "digits" / JOURNAL
    lines = path.read_bytes().splitlines(keepends=True)
    for number in numbers:
        lines[number - 1] = change(lines[number - 1])
    path.write_bytes(b"".join(lines))


def lines_of(runs: Path, trial: int) -> list[int]:
    """Return the numbers, from 1, of the lines that begin a trial and that have its record."""
    lines = [json.loads(line) for line in (runs / "digits" / JOURNAL).read_text().splitlines()]
    kinds = [[n for n, line in enumerate(lines, 1) if line["op_code"] == kind] for kind in (4, 8)]
    return [numbers[trial] for numbers in kinds]


def records(runs: Path) -> list[TrialRecord]:
    settings = config(runs)
    return read_journal(settings.folder, settings.objectives).records()


def go_on(runs: Path) -> StudyResult:
    return run(runs, MadeUp(slots=1), "trials=6")


DAMAGES = {
    "cut": lambda line: line[: len(line) // 2] + b"\n",
    "zeros": lambda line: b"\0" * (len(line) - 1) + b"\n",
    "no text": lambda line: b"\xff\xfe" + line,
    "another": lambda line: b'{"op_code": 4}\n',
    "a list": lambda line: b"[1, 2]\n",
}


@pytest.mark.fault("a line of the journal is damaged")
@pytest.mark.parametrize(("where", "kind"), list(zip((1, 3, 6, 9, 10), DAMAGES, strict=True)))
def test_a_damaged_line_is_named_with_the_remedy(where: int, kind: str, runs: Path) -> None:
    before = records(runs)
    damage(runs, [where], DAMAGES[kind])
    for attempt in (go_on, records):
        with pytest.raises(StudyError, match=f"journal.log, line {where}: .*paredown repair"):
            attempt(runs)
    assert repair(config(runs))["damaged lines"] == 1
    assert [r.metrics for r in records(runs)] == [
        {k: v for k, v in r.metrics.items() if k in s.metrics}
        for r, s in zip(before, records(runs), strict=True)
    ]
    assert len(go_on(runs).records) == 6


@pytest.mark.fault("a line of the journal is missing")
def test_a_missing_line_is_noticed_where_trials_no_longer_follow_each_other(runs: Path) -> None:
    begin = lines_of(runs, 2)[0]
    damage(runs, [begin], lambda line: b"")
    with pytest.raises(StudyError, match=f"line {begin}: trial 2 was not begun"):
        records(runs)
    before = repair(config(runs))
    assert before["from their own files"] == 0
    assert before["lost"] == 0


def test_a_trial_without_its_lines_is_rescued_from_its_own_files(runs: Path) -> None:
    before = records(runs)
    damage(runs, lines_of(runs, 2), lambda line: b"x\n")
    with pytest.raises(StudyError):
        records(runs)
    assert repair(config(runs))["from their own files"] == 1
    after = records(runs)
    assert [record.recipe_hash for record in after] == [record.recipe_hash for record in before]
    assert after[2].metrics["score"] == before[2].metrics["score"]


def test_a_result_of_another_recipe_is_not_rescued(runs: Path) -> None:
    folder = config(runs).trial_folder(2)
    shutil.copyfile(config(runs).trial_folder(3) / "outcome.json", folder / "outcome.json")
    damage(runs, lines_of(runs, 2), lambda line: b"x\n")
    assert repair(config(runs))["lost"] == 1
    lost = records(runs)[2]
    assert (lost.status, lost.error) == ("crashed", LOST)
    assert len(go_on(runs).records) == 6


@pytest.mark.fault("the journal is deleted or empty beside trials")
@pytest.mark.parametrize("empty", [True, False])
def test_a_study_without_its_journal_is_not_started_over(empty: bool, runs: Path) -> None:
    before = records(runs)
    journal = runs / "digits" / JOURNAL
    journal.write_bytes(b"") if empty else journal.unlink()
    for attempt in (go_on, records):
        with pytest.raises(StudyError, match="is gone or empty, but there are trials beside it"):
            attempt(runs)
    found = repair(config(runs))
    assert found["from their own files"] == found["trials"] == 5
    assert [r.recipe_hash for r in records(runs)] == [r.recipe_hash for r in before]
    assert len(go_on(runs).records) == 6


@pytest.mark.fault("the journal of the baseline's trial and its own file are lost")
def test_without_the_baseline_nothing_is_changed(runs: Path) -> None:
    (config(runs).trial_folder(0) / "outcome.json").write_text("{}")
    damage(runs, lines_of(runs, 0), lambda line: b"x\n")
    before = (runs / "digits" / JOURNAL).read_bytes()
    with pytest.raises(StudyError, match="of trial 0, the uncompressed model, nothing is left"):
        repair(config(runs))
    assert (runs / "digits" / JOURNAL).read_bytes() == before


def test_a_whole_study_is_the_same_after_a_repair(runs: Path) -> None:
    before = records(runs)
    assert repair(config(runs)) == {
        "damaged lines": 0,
        "trials": 5,
        "from their own files": 0,
        "lost": 0,
    }
    assert records(runs) == before
    assert (runs / "digits" / "journal-damaged-1.log").exists()
    assert repair(config(runs))["trials"] == 5
    assert (runs / "digits" / "journal-damaged-2.log").exists()
