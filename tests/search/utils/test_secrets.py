"""Secrets are hidden in every text that leaves a process."""

import pytest
from omegaconf import OmegaConf

from search.config.compose import compose_search
from search.config.environment import composed_values
from search.errors import ConfigError
from search.utils.secrets import from_environment, without_secrets
from search.utils.storable_text import storable_data

ADDRESSES = {
    "postgresql://me:pw@host/db": "postgresql://***@host/db",
    "http://token@host:80/x?a=b@c": "http://***@host:80/x?a=b@c",
    "at 'http://me:p:w@host' and s3://k:s@b": "at 'http://***@host' and s3://***@b",
    "http://host:80/me@home": "http://host:80/me@home",
    "me@home, a://b": "me@home, a://b",
}


@pytest.mark.parametrize("text", ADDRESSES)
def test_an_address_is_shown_without_user_and_password(text: str) -> None:
    assert without_secrets(text) == ADDRESSES[text]


def test_values_of_the_environment_stay_names_in_tasks_and_trackers_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MY_TOKEN", "hunter2222")
    monkeypatch.setenv("MY_TRIALS", "12")
    composed = composed_values(
        OmegaConf.create(
            {
                "task": {
                    "token": "${oc.env:MY_TOKEN}",
                    "indirect": ["x-${task.token}"],
                    "rows": "${oc.decode:${oc.env:MY_TRIALS}}",
                    "other": "${oc.env:NOT_SET,a default}",
                    "trials": "${trials}",
                    "decoded": "${oc.decode:'[1, 2]'}",
                },
                "trials": "${oc.decode:${oc.env:MY_TRIALS}}",
            }
        )
    )
    assert composed["trials"] == 12
    assert "hunter" not in str(composed)
    assert from_environment("task", composed["task"]) == {
        "token": "hunter2222",
        "indirect": ["x-hunter2222"],
        "rows": 12,
        "other": "a default",
        "trials": 12,
        "decoded": [1, 2],
    }
    assert without_secrets("token=hunter2222!") == "token=***!"
    assert storable_data({"a": ["is hunter2222"]}) == {"a": ["is ***"]}


def test_a_variable_that_is_not_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MY_TOKEN", raising=False)
    with pytest.raises(ConfigError, match=r"task\.token: .*MY_TOKEN"):
        from_environment("task", {"token": "${oc.env:MY_TOKEN}"})


def test_a_study_keeps_the_name_of_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_FOLDER", "/a/private/place")
    config = compose_search(["task=mnist_lenet5", "++task.data=${oc.env:MY_FOLDER}"])
    assert config.task["data"] == "${oc.env:MY_FOLDER}"
    assert "private" not in config.to_yaml() + str(config.identity())
