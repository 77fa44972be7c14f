"""The parts of a checked configuration have their types, and a study's identity is plain data."""

import json

import pytest

from search.config.compose import compose_search
from search.config.latency_settings import LatencySettings
from search.errors import ConfigError
from search.recipe.rungs import Rungs


def test_rungs_and_latency_are_parsed_into_their_types() -> None:
    config = compose_search(["rungs.count=4", "latency.rounds=7"])
    assert config.rungs == Rungs(count=4, factor=3.0)
    assert config.latency == LatencySettings(batch_size=1, threads=1, rounds=7)


def test_the_identity_is_the_plain_data_that_stored_studies_keep() -> None:
    config = compose_search(["rungs.factor=2.5"])
    identity = config.identity()
    assert json.loads(json.dumps(identity)) == identity
    assert list(identity) == [
        "space",
        "task",
        "seed",
        "sampler",
        "objectives",
        "constraints",
        "latency",
        "rungs",
        "threads",
    ]
    assert json.dumps(identity["latency"]) == '{"batch_size": 1, "threads": 1, "rounds": 30}'
    assert json.dumps(identity["rungs"]) == '{"count": 1, "factor": 2.5}'


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("rungs.count=0", r"rungs.count must be a whole number in \[1, 16\], got 0"),
        ("rungs.factor=1", r"rungs.factor must be in \(1, 1000\], got 1.0"),
        ("latency.rounds=0", r"latency.rounds must be a whole number in \[1, 100000\], got 0"),
        ("latency.threads=-1", r"latency.threads must be a whole number in \[1, 1024\], got -1"),
        ("latency.batch_size=1.5", "latency.batch_size: .*'1.5'.*Integer"),
        ("rungs.count=many", "rungs.count: .*'many'.*Integer"),
    ],
)
def test_unfit_rungs_and_latency_are_one_clear_error(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        compose_search([override])
