"""Bounds with units are the bounds without them, in selections and in constraints alike."""

import pytest

from search.config.constraints import parse_constraints
from search.config.metric_names import METRICS
from search.errors import ConfigError
from search.pareto.bounds import parse_bound, units_of


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("size_bytes<=20kB", 20_000.0),
        ("size_bytes <= 1.5 MiB", 1.5 * 1024**2),
        ("run_bytes<3e-3GB", 3e6),
        ("latency_ms < 2s", 2000.0),
        ("latency_ms<250us", 0.25),
        ("macs<=2M", 2e6),
        ("tokens_per_second>=1.2k", 1200.0),
        ("score_drop<=1%", 0.01),
        ("latency_ratio<=80%", 0.8),
        ("achieved/prune/parameters_removed>=30%", 0.3),
        ("fidelity_db>=40", 40.0),
        ("score_drop<=-1%", -0.01),
    ],
)
def test_a_unit_stands_for_its_factor(text, limit):
    bound = parse_bound(text)
    assert bound.limit == pytest.approx(limit)
    metric, relation, number = bound.metric, bound.relation, text.split("=")[-1].split("<")[-1]
    assert text.replace(" ", "") == f"{metric}{relation}{number}".replace(" ", "")


@pytest.mark.parametrize(
    "text", ["", "size_bytes", "size_bytes<=", "<=3", "score=>1", "score<=1 %%"]
)
def test_other_texts_are_no_bounds(text):
    assert parse_bound(text) is None


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("unit", ["", "%", "B", "kB", "MiB", "ms", "s", "k", "M", "x"])
def test_a_constraint_is_read_as_a_selection_reads_it_and_refused_alike(metric, unit):
    text = f"<=2{unit}"
    if unit and unit not in units_of(metric):
        with pytest.raises(ConfigError, match=f"constraints.{metric}: .*got '{unit}'"):
            parse_constraints({metric: text})
        return
    (constraint,) = parse_constraints({metric: text})
    assert (constraint.metric, constraint.upper) == (metric, True)
    assert constraint.bound == parse_bound(metric + text).limit == 2 * units_of(metric).get(unit, 1)


@pytest.mark.parametrize("text", ["<2", "==2", "2", "much", "<=much"])
def test_a_constraint_is_at_most_or_at_least(text):
    with pytest.raises(ConfigError, match="must be '<=' or '>=' and a number"):
        parse_constraints({"score": text})
