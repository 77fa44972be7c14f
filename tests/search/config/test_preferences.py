import math

import pytest

from search.config.compose import compose_search
from search.config.preferences import Preferences
from search.errors import ConfigError


def test_defaults_prefer_nothing():
    config = compose_search()
    assert config.preferences == Preferences()
    assert config.stagnation is None
    assert str(config.preferences) == ""


def test_preferences_are_given_on_the_command_line():
    config = compose_search(
        ["preferences.reference.score=0.95", "preferences.weights.size_bytes=2", "stagnation=20"]
    )
    assert config.preferences.reference == {"score": 0.95}
    assert config.preferences.weights == {"size_bytes": 2.0}
    assert config.stagnation == 20
    assert str(config.preferences) == "score from 0.95, size_bytes weighs 2"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("preferences.reference.macs=3", "macs is no objective of this study; name one of score,"),
        ("preferences.weights.scor=1", "preferences.weights.scor: scor is no objective"),
        ("preferences.weights.score=0", "weights.score must be a finite number above 0, got 0"),
        ("preferences.weights.score=inf", "weights.score must be a finite number above 0"),
        ("preferences.reference.score=nan", "preferences.reference.score must be finite, got nan"),
        ("preferences.reference.score=high", "preferences.reference.score"),
        ("stagnation=0", "stagnation must be at least 1 or null, got 0"),
    ],
)
def test_unfit_preferences_are_one_clear_error(override, message):
    with pytest.raises(ConfigError, match=message):
        compose_search([override])


def test_more_than_four_objectives_are_one_clear_error():
    with pytest.raises(ConfigError, match=r"1 to 4 metrics.*got 5.*bound the others"):
        compose_search(["objectives.macs=minimize", "objectives.nll=minimize"])
    with pytest.raises(ConfigError, match=r"1 to 4 metrics.*got 0: -;"):
        compose_search(["~objectives"])


def test_one_to_four_objectives_of_any_metric_compose():
    config = compose_search(["objectives.macs=minimize"])
    assert list(config.objectives) == ["score", "size_bytes", "latency_ratio", "macs"]
    assert list(compose_search(["~objectives.latency_ratio", "~objectives.score"]).objectives) == [
        "size_bytes"
    ]


@pytest.mark.parametrize("plus", ["", "+", "++"])
def test_objectives_are_added_and_taken_away_on_the_command_line(plus):
    config = compose_search([f"{plus}objectives.run_bytes=minimize", "~objectives.size_bytes"])
    assert list(config.objectives) == ["score", "latency_ratio", "run_bytes"]
    weighed = compose_search([f"{plus}preferences.weights.score=2"])
    assert weighed.preferences.weights == {"score": 2}
    with pytest.raises(ConfigError, match="no metric 'run_byte'; did you mean 'run_bytes'"):
        compose_search([f"{plus}objectives.run_byte=minimize"])


def test_only_the_score_can_follow_the_task():
    assert compose_search([]).score_follows_task
    assert not compose_search(["objectives.score=maximize"]).score_follows_task
    with pytest.raises(ConfigError, match=r"objectives\.nll must be 'maximize' or 'minimize', got"):
        compose_search(["objectives.nll=auto"])


def test_weights_are_positive_numbers():
    with pytest.raises(ConfigError, match="above 0"):
        Preferences(weights={"score": -math.inf})
