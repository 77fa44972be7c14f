"""The last jobs of a study: the final front is scored on the test set."""

from collections.abc import Callable, Mapping
from typing import Any

from search.config.study_config import StudyConfig
from search.pareto.front import pareto_front
from search.report.describe import last_line
from search.report.equal_scores import sample_scores
from search.study.dispatcher import Dispatcher
from search.study.journal import Journal
from search.trial.messages import JobSetting, ScoreReply, ScoreRequest


def score_front(
    config: StudyConfig,
    journal: Journal,
    dispatcher: Dispatcher,
    setting: JobSetting,
    meanwhile: Callable[[], None],
) -> None:
    """Score the members of the final front and the baseline on the test set, each once.

    What cannot be scored is said and left without test metrics: the front stands without them. A
    later launch tries again.

    Args:
        config: The study's configuration.
        journal: The study's journal.
        dispatcher: Runs the jobs.
        setting: What the jobs need of the task.
        meanwhile: Called again and again while they run.
    """
    records = journal.records()
    members = {0, *(record.number for record in pareto_front(records, config.objectives))}
    missing = [r.number for r in records if r.number in members and "test_score" not in r.metrics]
    under_way: set[int] = set()
    what = f"scoring {len(missing)} members of the front on the test set"
    with dispatcher.display.status(what):
        while missing or under_way:
            while missing and len(under_way) < dispatcher.executor.slots:
                number = missing.pop(0)
                under_way.add(number)
                folder = config.trial_folder(number) / "test"
                dispatcher.restart(number, _request(config, setting, number), folder)
            for number, outcome in dispatcher.wait(meanwhile):
                under_way.remove(number)
                if outcome.result is not None:
                    journal.keep_test(number, _test_metrics(outcome.result))
                    continue
                reason = outcome.cause or last_line(outcome.error)
                dispatcher.display.say(f"trial {number} has no test score: {reason}")
                if number == 0:
                    missing.clear()  # the task's own test set is at fault


def _request(config: StudyConfig, setting: JobSetting, number: int) -> ScoreRequest:
    folder = setting.baseline if number == 0 else config.trial_folder(number)
    return ScoreRequest(
        setting=setting,
        artefact=folder / "model.onnx",
        split="test",
        samples=sample_scores(config, number),
    )


def _test_metrics(result: Mapping[str, Any]) -> dict[str, float]:
    reply = ScoreReply.from_data(result)
    return {f"test_{name}": value for name, value in reply.to_data().items()}
