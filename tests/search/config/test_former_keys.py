"""Former names of keys work wherever a user may have written them, and name the present ones."""

import sys
from pathlib import Path

import pytest
import yaml

from search.cli import main
from search.config.compose import compose_search
from search.config.existing import read_config
from search.config.former_keys import (
    FORMER_KEYS,
    announce,
    with_present_key,
    with_present_keys,
)
from search.config.schema import SearchSchema
from search.config.study_config import StudyConfig
from search.errors import ConfigError

NOTICES = {former: f"'{former}' is now '{present}'\n" for former, present in FORMER_KEYS.items()}


@pytest.fixture(autouse=True)
def nothing_announced() -> None:
    """Each test is as a process of its own, which gives each notice once."""
    announce.cache_clear()


def run(monkeypatch: pytest.MonkeyPatch, folder: Path, *arguments: str) -> int:
    """Run a command in a folder, in this process; return its exit code."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["paredown", *arguments])
    monkeypatch.setattr(sys, "path", list(sys.path))
    return main()


def experiment(folder: Path, text: str) -> Path:
    """Write an experiment of a user's own; return the folder of the configurations."""
    (folder / "experiment").mkdir()
    (folder / "experiment" / "old.yaml").write_text(f"# @package _global_\n{text}\n")
    return folder


def stored(folder: Path, **changes: object) -> Path:
    """Write a study's config.yaml as it was before the keys were renamed."""
    composed = yaml.safe_load(compose_search([f"runs_dir={folder}"]).to_yaml())
    for former, present in FORMER_KEYS.items():
        composed[former] = composed.pop(present)
    study = folder / "old"
    study.mkdir()
    (study / "config.yaml").write_text(yaml.safe_dump(composed | changes, sort_keys=False))
    return study


def test_every_former_key_stands_for_a_key_of_today() -> None:
    keys = set(SearchSchema.__dataclass_fields__)
    assert set(FORMER_KEYS.values()) <= keys
    assert not set(FORMER_KEYS) & keys


@pytest.mark.parametrize("plus", ["", "+", "++"])
@pytest.mark.parametrize("former", FORMER_KEYS)
def test_an_override_of_a_former_key_sets_the_present_one(
    plus: str, former: str, capsys: pytest.CaptureFixture[str]
) -> None:
    config = compose_search([f"{plus}{former}=false"])
    assert getattr(config, FORMER_KEYS[former]) is False
    assert former not in config.composed
    assert capsys.readouterr() == ("", NOTICES[former])


def test_present_keys_are_accepted_in_silence(capsys: pytest.CaptureFixture[str]) -> None:
    config = compose_search(["cache_prefixes=false", "mutate_front=false"])
    assert (config.cache_prefixes, config.mutate_front) == (False, False)
    assert capsys.readouterr() == ("", "")


def test_the_command_line_accepts_a_former_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, tmp_path, "search", "vary=false", "trials=0") == 2
    message = "paredown: trials must be in [1, 10000000], got 0\n"
    assert capsys.readouterr() == ("", NOTICES["vary"] + message)


def test_an_experiment_may_set_a_former_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = experiment(tmp_path, "reuse: false\ntrials: 7")
    config = compose_search(["experiment=old"], folder)
    assert (config.cache_prefixes, config.mutate_front, config.trials) == (False, True, 7)
    assert capsys.readouterr() == ("", NOTICES["reuse"])


def test_an_override_has_precedence_over_the_same_former_key_of_an_experiment(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = experiment(tmp_path, "reuse: false")
    assert compose_search(["experiment=old", "reuse=true"], folder).cache_prefixes
    assert capsys.readouterr() == ("", NOTICES["reuse"])


@pytest.mark.parametrize("plus", ["", "++"])
@pytest.mark.parametrize("value", [True, False])
def test_an_override_of_a_present_key_has_precedence_over_the_former_key_of_an_experiment(
    value: bool, plus: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = experiment(tmp_path, f"reuse: {not value}\nvary: {not value}")
    config = compose_search(["experiment=old", f"{plus}cache_prefixes={value}"], folder)
    assert (config.cache_prefixes, config.mutate_front) == (value, not value)
    assert capsys.readouterr() == ("", NOTICES["reuse"] + NOTICES["vary"])


def test_the_last_of_a_former_and_a_present_override_counts() -> None:
    assert compose_search(["reuse=false", "cache_prefixes=true"]).cache_prefixes
    assert not compose_search(["cache_prefixes=true", "reuse=false"]).cache_prefixes


def test_a_sweep_gives_each_notice_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = experiment(tmp_path, "reuse: false")
    sweep = ["--config-dir", str(folder), "-m", "experiment=old", "vary=true,false", "trials=0"]
    assert run(monkeypatch, tmp_path, "search", *sweep) == 2
    message = "paredown: trials must be in [1, 10000000], got 0\n"
    assert capsys.readouterr() == ("", NOTICES["vary"] + NOTICES["reuse"] + 2 * message)


@pytest.mark.parametrize("command", ["front", "export", "unpack", "apply", "repair", "ui"])
@pytest.mark.parametrize("former", FORMER_KEYS)
def test_other_commands_than_search_refuse_former_keys(
    command: str,
    former: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(monkeypatch, tmp_path, command, f"{former}=false") == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("paredown: ")
    assert former in err
    assert "is now" not in err


def test_the_command_line_has_precedence_over_the_former_key_of_an_experiment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def composed(config: StudyConfig) -> None:
        seen.append(config.cache_prefixes)
        raise ConfigError("seen")

    monkeypatch.setattr("search.command_line.build_executor", composed)
    folder = experiment(tmp_path, "reuse: false")
    options = ["--config-dir", str(folder), "experiment=old"]
    for override in ([], ["cache_prefixes=true"], ["reuse=true"]):
        assert run(monkeypatch, tmp_path, "search", *options, *override) == 2
    assert seen == [False, True, True]


@pytest.mark.parametrize("value", [True, False])
def test_a_stored_study_with_former_keys_can_be_read(
    value: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = read_config(stored(tmp_path, reuse=value, vary=not value))
    assert (config.cache_prefixes, config.mutate_front) == (value, not value)
    assert config.identity() == compose_search().identity()
    assert capsys.readouterr() == ("", NOTICES["reuse"] + NOTICES["vary"])


def test_a_value_of_the_wrong_type_is_refused_under_the_present_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cache_prefixes: .*'often'.*bool"):
        compose_search(["reuse=often"])
    with pytest.raises(ConfigError, match=r"mutate_front: .*'often'.*bool"):
        read_config(stored(tmp_path, vary="often"))


def test_other_overrides_and_configurations_are_left_as_they_are() -> None:
    for override in ("trials=3", "+reused=1", "task.reuse=1", "reuse", "~reuse"):
        assert with_present_key(override) == override
    composed = {"trials": 3, "task": {"reuse": 1}}
    assert with_present_keys(composed) == composed


def test_the_composed_configuration_is_not_changed() -> None:
    composed = {"reuse": False}
    assert with_present_keys(composed) == {"cache_prefixes": False}
    assert composed == {"reuse": False}
