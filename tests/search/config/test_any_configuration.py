"""Overrides that are accepted end up in the configuration, and its file gives it back."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.config.compose import compose_search
from search.config.existing import read_config
from search.config.metric_names import METRICS
from search.config.study_config import StudyConfig

POSITIVE = st.floats(1e-3, 1e6)
TOP = {
    "trials": st.integers(1, 10_000_000),
    "seed": st.integers(0, 2**32 - 1),
    "timeout": st.none() | POSITIVE,
    "stagnation": st.none() | st.integers(1, 999),
    "retries": st.integers(0, 99),
    "warm_start": st.booleans(),
    "refuse_early": st.booleans(),
    "cache_prefixes": st.booleans(),
    "mutate_front": st.booleans(),
    "precision": st.sampled_from([None, "fastest"]),
}
NESTED = {
    "latency.batch_size": st.integers(1, 65_536),
    "latency.threads": st.integers(1, 1024),
    "latency.rounds": st.integers(1, 100_000),
    "rungs.count": st.integers(1, 16),
    "rungs.factor": st.floats(1.5, 1000),
}
FIXED = {
    "prune.ratio": st.floats(0, 0.99),
    "sparsify.importance": st.sampled_from(["magnitude", "taylor", "wanda"]),
    "quantize.bits": st.integers(2, 8),
    "distil.epochs": st.integers(0, 99),
    "share.layers": st.dictionaries(st.sampled_from(["conv*", "fc.weight"]), st.integers(2, 256)),
}


def some(values: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=values)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


def kept_and_read(config: StudyConfig) -> StudyConfig:
    config.folder.mkdir(exist_ok=True)
    (config.folder / "config.yaml").write_text(config.to_yaml())
    return read_config(config.folder)


@settings(max_examples=settings.default.max_examples // 4)  # composing takes a tenth of a second
@given(
    top=some(TOP),
    nested=some(NESTED),
    fixed=some(FIXED),
    bounds=st.dictionaries(st.sampled_from(sorted(METRICS)), st.floats(-1e9, 1e9), max_size=2),
)
def test_a_configuration_has_what_was_given_and_survives_its_file(
    top: dict[str, Any],
    nested: dict[str, Any],
    fixed: dict[str, Any],
    bounds: dict[str, float],
    folder: Path,
) -> None:
    given_values = top | nested | {f"steps.{field}": value for field, value in fixed.items()}
    # JSON but for its quotes is Hydra's notation.
    written = {key: json.dumps(value).replace('"', "") for key, value in given_values.items()}
    overrides = [f"{key}={value}" for key, value in written.items()]
    overrides += [f"constraints.{metric}<={bound!r}" for metric, bound in bounds.items()]
    config = compose_search(["study=any", f"runs_dir={folder}", "tracking=none", *overrides])
    assert {name: getattr(config, name) for name in top} == top
    for place, value in nested.items():
        part, name = place.split(".")
        assert getattr(getattr(config, part), name) == value
    for place, value in fixed.items():
        step, field = place.split(".")
        assert config.space.steps[step].fixed[field] == value
    found = {bound.metric: bound.bound for bound in config.constraints}
    assert {"relative_drop": 0.1} | bounds == found
    assert kept_and_read(config) == config
    assert kept_and_read(config).identity() == config.identity()
