"""A study in PostgreSQL: one driver, and nothing lost or doubled when the server goes."""

import threading
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from optuna.distributions import FloatDistribution

from search.config.compose import compose_search
from search.config.study_config import StudyConfig
from search.errors import ConfigError, StudyError
from search.study.journal import Journal
from search.study.storage.opening import open_study, read_study
from search.trial_record import TrialRecord
from tests.search.study.storage.postgres_server import PostgresServer
from tests.search.study.test_journal import plan, record

pytestmark = pytest.mark.slow  # a server of databases starts


def study(server: PostgresServer, folder: Path, name: str, *overrides: str) -> StudyConfig:
    return stored("${oc.env:STUDIES}", folder, f"study={name}", *overrides)


@pytest.fixture(autouse=True)
def address(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "server" in request.fixturenames:
        monkeypatch.setenv("STUDIES", request.getfixturevalue("server").address)


def stored(address: str, folder: Path, *overrides: str) -> StudyConfig:
    return compose_search([f"runs_dir='{folder}'", f"storage='{address}'", *overrides])


def add(journal: Journal, number: int) -> None:
    journal.add(plan(number), {"prune.ratio": FloatDistribution(0, 1)}, {})


def measured(config: StudyConfig, number: int) -> TrialRecord:
    metrics = dict.fromkeys(config.objectives, 0.5)
    return record(number, metrics=metrics, violations={})


def test_what_is_told_is_read_by_another_process(server: PostgresServer, tmp_path: Path) -> None:
    config = study(server, tmp_path, "told")
    with open_study(config) as journal:
        journal.begin(config.identity(), {"prune": "no channels"})
        for number in range(3):
            add(journal, number)
        journal.tell(measured(config, 0))
        journal.keep_test(0, {"test_score": 0.25})
    again = read_study(config)
    assert [one.number for one in again.records()] == [0]
    assert again.records()[0].metrics["test_score"] == 0.25
    assert [one.number for one in again.unfinished()] == [1, 2]
    assert again.infeasible_steps() == {"prune": "no channels"}


def test_a_second_driver_is_refused_until_the_first_has_ended(
    server: PostgresServer, tmp_path: Path
) -> None:
    config = study(server, tmp_path, "locked")
    elsewhere = study(server, tmp_path / "another machine", "locked")
    with open_study(config), pytest.raises(StudyError, match="another process is running"):
        enter(open_study(elsewhere))
    with open_study(elsewhere), open_study(study(server, tmp_path, "another study")):
        pass


def test_a_study_that_was_begun_with_other_settings_is_refused(
    server: PostgresServer, tmp_path: Path
) -> None:
    config = study(server, tmp_path, "identity")
    with open_study(config) as journal:
        journal.begin(config.identity(), {})
    with pytest.raises(StudyError, match="was begun with another seed"):
        enter(open_study(study(server, tmp_path, "identity", "seed=7")))


def test_a_restart_of_the_server_loses_and_doubles_nothing(
    server: PostgresServer, tmp_path: Path
) -> None:
    config = study(server, tmp_path, "restart")
    with open_study(config) as journal:
        add(journal, 0)
        for number in range(1, 4):
            server.stop()
            later = threading.Timer(1.5, server.start)
            later.start()
            add(journal, number)
            later.join()
            server.stop()
            server.start()
            journal.tell(measured(config, number - 1))
        assert [trial.number for trial in journal.trials()] == [0, 1, 2, 3]
        assert [one.number for one in journal.records()] == [0, 1, 2]
        with pytest.raises(StudyError, match="another process is running"):
            enter(open_study(config))
    assert [one.number for one in read_study(config).unfinished()] == [3]


def test_what_was_written_before_the_answer_got_lost_is_not_written_twice(
    server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sqlalchemy.exc import OperationalError

    config = study(server, tmp_path, "answer")
    for name in ("add", "tell"):
        real = getattr(Journal, name)
        lost = iter([True])

        def once(journal: Journal, *given: object, real=real, lost=lost) -> None:
            real(journal, *given)
            if next(lost, False):
                raise OperationalError("the answer", None, Exception("server closed"))

        monkeypatch.setattr(Journal, name, once)
    with open_study(config) as journal:
        add(journal, 0)
        journal.tell(measured(config, 0))
        assert len(journal.trials()) == len(journal.records()) == 1


def test_a_server_that_does_not_answer_is_named_without_its_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("psycopg", reason="the optional driver of PostgreSQL")
    monkeypatch.setenv("STUDIES", "postgresql://me:sesame-7@127.0.0.1:9/studies")
    config = stored("${oc.env:STUDIES}", tmp_path)
    with pytest.raises(ConfigError, match=r"storage=.*Connection refused.*is the server up") as e:
        enter(open_study(config))
    assert "sesame-7" not in str(e.value)


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("sqlite:///a.db", "storage must be like postgresql://HOST/DATABASE"),
        ("postgresql://host/", "storage must be like postgresql://HOST/DATABASE"),
        ("postgresql://me@host/db", "storage has a user or a password"),
    ],
)
def test_addresses_that_cannot_be_are_refused(address: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=reason):
        stored(address, tmp_path)


def enter(context: AbstractContextManager[Journal]) -> None:
    with context:
        pass
