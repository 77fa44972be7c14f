"""What is asked at the end of a study, of somebody who is there to answer."""

import io
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from search.commands.afterwards import ask, asks
from search.config.compose import compose_search
from search.study.terminal import Display


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def answered(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Display]:
    def given(*answers: str) -> Display:
        left = list(answers)

        def answer(prompt: str = "") -> str:
            if not left:
                raise EOFError
            return left.pop(0)

        monkeypatch.setattr("builtins.input", answer)
        return Display(console=Console(file=Terminal(), force_terminal=True))

    return given


@pytest.mark.parametrize("inputs", [True, False])
@pytest.mark.parametrize("outputs", [True, False])
def test_nobody_is_asked_unless_input_and_output_are_a_terminal(
    inputs: bool, outputs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal() if inputs else io.StringIO())
    display = Display(console=Console(file=Terminal() if outputs else io.StringIO()))
    assert asks(display) == (inputs and outputs)


@pytest.mark.parametrize("answers", [("q",), ("",), (), ("x", "q"), ("e", "99", "q")])
def test_it_ends_when_nothing_more_is_wanted_or_the_input_ends(
    answers: tuple[str, ...], answered: Callable[..., Display], tmp_path: Path
) -> None:
    config = compose_search([f"runs_dir={tmp_path}", "tracking=none"])
    assert ask(answered(*answers), config) is None


@pytest.mark.parametrize(("answer", "trials"), [("", 80), ("50", 50)])
def test_more_trials_are_those_of_a_study_that_is_alike_in_all_else(
    answer: str, trials: int, answered: Callable[..., Display], tmp_path: Path
) -> None:
    config = compose_search([f"runs_dir={tmp_path}", "tracking=none"])
    larger = ask(answered("t", answer), config)
    assert larger is not None
    again = compose_search([f"runs_dir={tmp_path}", "tracking=none", f"trials={trials}"])
    assert larger == again
    assert larger.identity() == config.identity()
