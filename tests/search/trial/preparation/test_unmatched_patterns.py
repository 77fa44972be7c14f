"""A pattern of `layers` that matches no layer ends the study before its trials."""

from pathlib import Path

import pytest

from search.config.compose import compose_search
from search.errors import ConfigError
from search.proposal.initial_design import anchors
from search.trial.messages import JobSetting, PrepareRequest
from search.trial.preparation.prepare import prepare


@pytest.mark.fault("a pattern of `layers` matches no layer")
def test_the_message_names_the_step_the_pattern_and_the_layers(
    user_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(user_folder)
    overrides = ["task=mine", "steps.sparsify.layers={no*:0.5}"]
    config = compose_search(overrides, user_folder / "my_conf")
    request = PrepareRequest(
        setting=JobSetting(
            task=config.task, baseline=tmp_path, latency=config.latency, threads=config.threads
        ),
        anchors={"sparsify": anchors(config.space)["sparsify"]},
        probes={},
        begun=False,
    )
    message = r"steps.sparsify.layers: the pattern 'no\*' matches none of 0.weight, 2.weight, 4.wei"
    with pytest.raises(ConfigError, match=message):
        prepare(request, lambda _: None)
