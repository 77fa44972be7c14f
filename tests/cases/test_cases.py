"""Every kind of model that users bring passes, or is refused at once in words.

One line of the table is one kind: what a study does with it, from the user's parts to the files.
"""

import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from search.errors import ArtefactError, ConfigError, MeasurementError
from tests.cases.case import Case
from tests.cases.independent_score import independent_score
from tests.cases.measured import Measured, measure, runs_in_integers

pytestmark = pytest.mark.slow  # every kind is trained, and goes through five recipes

FAMILIES = ("images", "intake", "outputs", "refused", "sequences")


def cases(family: str) -> Iterator[Case]:
    package = importlib.import_module(f"tests.cases.{family}")
    for found in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        yield from importlib.import_module(found.name).CASES


EVERY = [case for family in FAMILIES for case in cases(family)]
STUDIED = [case for case in EVERY if not case.refused]
REFUSED = [case for case in EVERY if case.refused]


@pytest.fixture(autouse=True)
def seeded_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a study build a kind from the numbers that these tests build it from."""
    monkeypatch.setattr("search.tasks.loading.BUILD_SEED", 0)


@pytest.mark.parametrize("case", STUDIED, ids=lambda case: case.name)
def test_a_kind_passes(case: Case, tmp_path: Path) -> None:
    torch.manual_seed(0)
    found = measure(case, tmp_path)
    scores_are_those_of_the_files(case, found)
    channels_go_or_a_reason_is_given(case, found)
    bits_act(case, found)
    distillation_does_no_harm(found)


def scores_are_those_of_the_files(case: Case, found: Measured) -> None:
    torch.manual_seed(0)
    built = case.task()
    for recipe, path in found.files.items():
        expected = independent_score(path, built, case)
        assert found.metrics[recipe]["score"] == pytest.approx(expected, abs=1e-6, rel=1e-5), recipe


def channels_go_or_a_reason_is_given(case: Case, found: Measured) -> None:
    if case.channels_stay:
        assert re.search(case.channels_stay, found.infeasible["pruned"])
        return
    assert "pruned" not in found.infeasible, found.infeasible
    assert found.metrics["pruned"]["achieved/channel_pruning/parameters_removed"] > 0


def bits_act(case: Case, found: Measured) -> None:
    whole = found.metrics["baseline"]["size_bytes"]
    for recipe in ("8 bits", "4 bits"):
        assert found.metrics[recipe]["size_bytes"] < whole, recipe
    assert runs_in_integers(found.files["8 bits"])
    assert list(found.left) == ([case.left] if case.left else [])


def distillation_does_no_harm(found: Measured) -> None:
    pairs = {"distilled": "baseline", "pruned and distilled": "pruned"}
    for recipe, before in pairs.items():
        if recipe in found.metrics:
            gain = found.gain(recipe, over=before)
            assert gain >= -found.error(recipe, before), f"{recipe}: {gain:+.3g}"


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.name)
def test_a_kind_is_refused_in_words(case: Case, tmp_path: Path) -> None:
    torch.manual_seed(0)
    with pytest.raises((ArtefactError, ConfigError, MeasurementError)) as refused:
        measure(case, tmp_path)
    assert re.search(case.refused, str(refused.value)), refused.value
    assert "\n" not in str(refused.value)


def test_kinds_have_names_of_their_own_and_a_line_that_says_what_they_are() -> None:
    names = [case.name for case in EVERY]
    assert len(set(names)) == len(names) >= 60
    assert all(re.fullmatch(r"[A-Z].*\.", case.task.__doc__ or "") for case in EVERY)
