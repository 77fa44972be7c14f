"""Former names of keys work wherever a user may have written them, and name the present ones."""

import sys
from pathlib import Path

import pytest
import yaml

from search.cli import main
from search.config.compose import compose_search
from search.config.existing import read_config
from search.config.former_keys import FORMER_KEYS, admit_former_key, with_present_keys
from search.config.schema import SearchSchema
from search.errors import ConfigError

NOTICES = {former: f"'{former}' is now '{present}'\n" for former, present in FORMER_KEYS.items()}


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
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["paredown", "search", "vary=false", "trials=0"])
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert main() == 2
    message = "paredown: trials must be at least 1, got 0\n"
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
        assert admit_former_key(override) == override
    composed = {"trials": 3, "task": {"reuse": 1}}
    assert with_present_keys(composed) == composed


def test_the_composed_configuration_is_not_changed() -> None:
    composed = {"reuse": False}
    assert with_present_keys(composed) == {"cache_prefixes": False}
    assert composed == {"reuse": False}
