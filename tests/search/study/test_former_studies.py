"""Studies, recipes and outcomes that version 0.1.0 wrote are read, replayed and gone on with."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from compressors.distillation import Distillation
from search.config.existing import read_config
from search.executors.outcome import OUTCOME, read_outcome
from search.recipe.recipe import read_recipe
from search.study.journal_file import read_journal
from search.study.run import run_study
from search.study.terminal import Display
from search.trial.messages import TrialReply
from search.trial_record import TrialRecord
from tests.search.study.test_driver import MadeUp

FORMER = Path(__file__).parent / "former"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FORMER, tmp_path / "former"))


def test_the_fields_of_former_records_have_their_present_names(folder: Path) -> None:
    journal = read_journal(folder, read_config(folder).objectives)
    records = journal.records()
    assert [record.status for record in records] == [
        "ok",
        "ok",
        "config_error",  # was "refused"
        "crashed",
        "stopped",
        "ok",
    ]
    assert [record.origin for record in records[:3]] == ["baseline", "rival:int8", "rival:4 bits"]
    assert [estimate.share for estimate in records[5].rungs] == [0.0, pytest.approx(1 / 3)]
    assert records[5].rungs[0].score is None
    assert journal.infeasible_steps() == {}
    assert journal.unfinished()[0].origin == "joint"


def without_test(record: TrialRecord) -> TrialRecord:
    metrics = {n: v for n, v in record.metrics.items() if not n.startswith("test_")}
    return replace(record, metrics=metrics)


def test_a_former_study_is_finished(folder: Path) -> None:
    config = replace(read_config(folder), trials=9)
    before = read_journal(folder, config.objectives)
    asked = {plan.number: plan.recipe_hash for plan in before.unfinished()}
    executor = MadeUp()
    quiet = Display(console=Console(quiet=True))
    result = run_study(config, executor, quiet)
    assert [record.number for record in result.records] == list(range(9))
    assert sorted(executor.started) == [*asked, *range(max(asked) + 1, 9)]
    finished = {record.number: record.recipe_hash for record in result.records}
    assert finished.items() >= asked.items()
    former = read_journal(FORMER, config.objectives).records()
    assert [without_test(record) for record in result.records[:6]] == former


def test_a_former_recipe_makes_the_same_compressors(folder: Path) -> None:
    recipe = read_recipe(folder / "recipe.yaml")
    records = read_journal(folder, read_config(folder).objectives).records()
    assert recipe.hash == records[5].recipe_hash
    assert recipe.to_data() == yaml.safe_load((folder / "recipe.yaml").read_text())
    assert isinstance(recipe.steps[1].compressor(), Distillation)


def test_an_outcome_of_a_former_worker_is_taken_over(folder: Path) -> None:
    outcome = read_outcome(folder)
    assert (folder / OUTCOME).exists()
    assert outcome.status == "ok"
    assert outcome.result is not None
    assert TrialReply.from_data(outcome.result).metrics["score"] == pytest.approx(0.9694, abs=1e-4)
