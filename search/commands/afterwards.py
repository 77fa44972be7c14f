"""What a user may want next when a study has ended in a terminal."""

import sys
from dataclasses import replace

from rich.prompt import IntPrompt, Prompt

from compressors.errors import ParedownError
from search.config.study_config import StudyConfig
from search.study.terminal import Display

CHOICES = {"e": "export a trial", "m": "open MLflow", "t": "more trials", "q": "quit"}


def asks(display: Display) -> bool:
    """Tell whether somebody is there to answer: input and output are a terminal."""
    return display.console.is_terminal and sys.stdin is not None and sys.stdin.isatty()


def ask(display: Display, config: StudyConfig) -> StudyConfig | None:
    """Ask what is wanted next, and do it, until nothing is, the input ends or more trials are.

    Args:
        display: A terminal for which `asks` holds.
        config: The configuration of the study that has ended.

    Returns:
        The configuration to go on with; None to end.
    """
    question = ", ".join(f"[{letter}] {what}" for letter, what in CHOICES.items())
    while True:
        display.say(question)
        try:
            answer = Prompt.ask("next", choices=list(CHOICES), default="q", console=display.console)
            if answer == "t":
                return _larger(display, config)
            if answer == "q":
                return None
            if answer == "e":
                _export(display, config)
            else:
                _open_mlflow(config)
        except (ParedownError, OSError) as error:
            display.say(str(error))
        except (EOFError, KeyboardInterrupt):
            display.say("")
            return None


def _larger(display: Display, config: StudyConfig) -> StudyConfig:
    asked = "trials in total"
    count = IntPrompt.ask(asked, default=2 * config.trials, console=display.console)
    return replace(config, trials=count, composed={**config.composed, "trials": count})


def _export(display: Display, config: StudyConfig) -> None:
    from search.commands.export import export

    expression = Prompt.ask(
        "which trial (its number, knee, smallest, fastest, best, ...)",
        default="knee",
        console=display.console,
    )
    export(config.folder, expression, None, ())


def _open_mlflow(config: StudyConfig) -> None:
    from search.tracking.ui import serve

    serve(config.runs_dir)
