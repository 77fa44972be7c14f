"""A baseline that guesses is called one; a baseline that knows anything is not."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from compressors.outputs.spec import OutputSpec
from search.tasks.task import EvaluatedTask
from search.trial.preparation.chance import chance_notes


def task(classes: int, kind: Any = "classes") -> EvaluatedTask:
    spec = OutputSpec(name="output", kind=kind, axis=1)
    return cast(EvaluatedTask, SimpleNamespace(outputs=spec, outputs_like=torch.zeros(2, classes)))


@pytest.mark.parametrize(
    ("classes", "score", "said"),
    [
        (10, 0.10, True),
        (10, 0.119, True),
        (10, 0.121, False),
        (10, 0.05, True),
        (2, 0.51, True),
        (2, 0.60, False),
        (1, 0.5, False),
        (10, -3.0, False),
    ],
)
def test_chance_is_one_in_the_number_of_classes_with_two_standard_errors(
    classes: int, score: float, said: bool
) -> None:
    metrics = {"score": score, "score_standard_error": 0.01}
    assert bool(chance_notes(task(classes), metrics, maximize=True)) == said


def test_no_chance_level_is_known_of_errors_and_of_other_outputs() -> None:
    metrics = {"score": 0.1, "score_standard_error": 0.01}
    assert chance_notes(task(10), metrics, maximize=False) == []
    assert chance_notes(task(10, "values"), metrics, maximize=True) == []


def test_the_line_has_the_figures_and_the_remedy() -> None:
    [line] = chance_notes(task(10), {"score": 0.1, "score_standard_error": 0.01}, maximize=True)
    assert "0.1000 ± 0.0100 is no better than guessing one of 10 classes (0.1000)" in line
    assert "load trained weights" in line
