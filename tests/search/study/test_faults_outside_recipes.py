"""What fails for a reason outside its recipe is repeated, and ruins no study."""

import json
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from search.errors import StudyError
from search.executors.outcome import Outcome, write_outcome
from search.study.common_failure import MANY, CommonFailure
from search.study.run import run_study
from search.study.terminal import Display
from tests.search.made_up_records import trial
from tests.search.study.test_driver import MadeUp, config, hashes, run

SHORT = "trials=9"


def failed(status: str, *, repeatable: bool = True, error: str = "made up") -> Outcome:
    return Outcome(status=status, error=error, repeatable=repeatable, started=0.0, finished=1.0)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return hashes(run(tmp_path_factory.mktemp("undisturbed"), MadeUp(slots=1), SHORT))


@pytest.mark.fault("a worker is killed")
@pytest.mark.parametrize("number", [0, 7])
@pytest.mark.parametrize("status", ["crashed", "oom", "environment"])
def test_a_failure_that_passes_leaves_no_trace(
    number: int, status: str, undisturbed: list[str], tmp_path: Path
) -> None:
    executor = MadeUp(slots=1)
    executor.failures = {number: [failed(status), failed(status)]}
    result = run(tmp_path, executor, SHORT)
    assert hashes(result) == undisturbed
    assert {record.status for record in result.records} == {"ok"}


@pytest.mark.fault("a worker dies each time")
def test_a_recipe_whose_worker_always_dies_is_kept_as_failed(tmp_path: Path) -> None:
    executor = MadeUp(slots=1)
    executor.failures = {7: [failed("crashed") for _ in range(10)]}
    result = run(tmp_path, executor, "retries=3", SHORT)
    assert result.records[7].status == "crashed"
    assert len(executor.failures[7]) == 10 - 4
    assert len(result.records) == 9


def test_what_the_recipe_itself_causes_is_not_repeated(tmp_path: Path) -> None:
    executor = MadeUp(slots=1)
    executor.failures = {7: [failed("error", repeatable=False), failed("error", repeatable=False)]}
    run(tmp_path, executor, SHORT)
    assert len(executor.failures[7]) == 1


@pytest.mark.fault("the baseline's own trial fails")
@pytest.mark.parametrize(("number", "status"), [(0, "crashed"), (0, "error"), (7, "environment")])
def test_what_never_counts_is_run_again_by_the_next_launch(
    number: int, status: str, undisturbed: list[str], tmp_path: Path
) -> None:
    executor = MadeUp(slots=1)
    executor.failures = {number: [failed(status, error="no space left") for _ in range(3)]}
    with pytest.raises(StudyError, match=f"{'baseline' if number == 0 else 7}.*no space left"):
        run(tmp_path, executor, SHORT)
    result = run(tmp_path, MadeUp(slots=1), SHORT)
    assert hashes(result) == undisturbed
    assert {record.status for record in result.records} == {"ok"}


def test_a_failure_that_a_worker_left_behind_is_not_taken_over(tmp_path: Path) -> None:
    executor = MadeUp(slots=1)
    executor.interrupt_at = 0
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, executor)
    write_outcome(failed("error"), config(tmp_path).trial_folder(0))
    assert run(tmp_path, MadeUp(slots=1), SHORT).records[0].status == "ok"


@pytest.mark.fault("a result lies in the folder of another recipe")
@pytest.mark.parametrize("subject", ["", "0123456789abcdef"])
def test_a_result_of_another_recipe_is_not_taken_over(subject: str, tmp_path: Path) -> None:
    executor = MadeUp(slots=1)
    executor.interrupt_at = 5
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, executor)
    foreign = Outcome(
        status="ok", result={"metrics": {"score": 2.0}}, subject=subject, started=0.0, finished=1.0
    )
    write_outcome(foreign, config(tmp_path).trial_folder(5))
    result = run(tmp_path, MadeUp(slots=1), SHORT)
    assert max(record.metrics["score"] for record in result.records) <= 0.9


@pytest.mark.fault("six trials in a row fail alike")
def test_one_reason_for_all_failures_ends_the_study_early(tmp_path: Path) -> None:
    executor = MadeUp(slots=1)
    executor.statuses = dict.fromkeys(range(3, 16), "error")
    with pytest.raises(StudyError, match=f"{MANY} trials in a row failed alike.*error: made up"):
        run(tmp_path, executor)
    assert executor.started == list(range(3 + MANY))


def test_failures_of_several_kinds_or_between_successes_end_nothing() -> None:
    failures = CommonFailure()
    for number in range(3 * MANY):
        mixed = {"status": "error", "error": f"reason {number % 3}"}
        failures.add(trial(number, **mixed))
    for number in range(3 * MANY):
        status = {"status": "error", "error": "one"} if number % MANY else {}
        failures.add(trial(number, **status))
    for number in range(3 * MANY):
        failures.add(trial(number, status="infeasible", error="nothing to remove"))


@pytest.mark.fault("the test set is broken")
def test_a_broken_test_set_leaves_the_front_and_is_said_once(tmp_path: Path) -> None:
    class WithoutTestSet(MadeUp):
        def wait(self, seconds: float) -> list:
            [(job, outcome)] = super().wait(seconds)
            scored = job.folder.name == "test"
            return [(job, failed("error", repeatable=False) if scored else outcome)]

    said = StringIO()
    display = Display(console=Console(file=said, width=200))
    result = run_study(config(tmp_path, SHORT), WithoutTestSet(slots=1), display)
    assert len(result.front) > 1
    assert said.getvalue().count("has no test score: made up") == 1
    assert (tmp_path / "digits" / "trials.csv").exists()
    assert all("test_score" in r.metrics for r in run(tmp_path, MadeUp(), SHORT).front), (
        "tried again"
    )


def test_text_that_no_file_can_hold_is_kept_as_escapes(tmp_path: Path) -> None:
    executor = MadeUp(slots=1)
    message = b"caf\xe9 \x00 \x1b[31m".decode(errors="surrogateescape")
    executor.failures = {7: [failed("error", repeatable=False, error=message)]}
    result = run(tmp_path, executor, SHORT)
    assert result.records[7].error == "caf\\udce9 \\x00 \\x1b[31m"
    json.dumps(result.records[7].to_data()).encode()
    assert run(tmp_path, MadeUp(), SHORT).records[7].error == result.records[7].error
