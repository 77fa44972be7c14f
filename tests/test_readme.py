"""What the README shows works; its two bash blocks are run by .ci/run."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from search.cli import COMMANDS
from search.command_line import BARE
from search.config.overrides import flags_first, name_bare, rewrite
from search.pareto.selection_expression import parse
from tests.search.config.test_configs import plain
from tests.search.test_cli import paredown

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, flags=re.DOTALL)
SHOWN = [
    shlex.split(line, comments=True)[1:]
    for kind, block in BLOCKS
    if kind == "text"
    for line in block.splitlines()
    if line.startswith("paredown ")
]


def test_it_is_short_enough_to_be_read() -> None:
    assert len(README.splitlines()) <= 190


@pytest.mark.parametrize("arguments", SHOWN, ids=" ".join)
def test_every_command_shown_composes(arguments: list[str]) -> None:
    command, *rest = arguments
    assert command in COMMANDS
    arranged = name_bare(flags_first(rest), BARE.get(command, ()))
    overrides = [rewrite(argument, command) for argument in arranged]
    plain_ones = [
        a for a in overrides if not a.startswith("-") and a not in ("task=mine", "my_conf")
    ]
    if "-m" in overrides:
        plain_ones = [re.sub(r",.*", "", argument) for argument in plain_ones]
    found = plain(command, *plain_ones)
    if command == "export" and found["select"] != "knee":
        parse(found["select"])


NAMED = {block.splitlines()[0].lstrip("# "): block for _, block in BLOCKS}


@pytest.mark.slow  # sweeps of its own, from the command line and from Python
def test_the_model_of_ones_own_is_swept_and_goes_on_from_python(tmp_path: Path) -> None:
    for name in ("my_model.py", "my_conf/task/mine.yaml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(NAMED[name])
    (command,) = [arguments for arguments in SHOWN if "task=mine" in arguments]
    code, _, err = paredown(*command, "trials=4", folder=tmp_path)
    assert (code, err) == (0, "")
    frame = pd.read_parquet(tmp_path / "runs" / "mine" / "trials.parquet")
    assert (frame["status"] == "ok").all()
    check_the_lines_for_python(tmp_path)


def check_the_lines_for_python(folder: Path) -> None:
    (script,) = [block for name, block in NAMED.items() if name.startswith("in a script")]
    compared = "from compressors.models.fingerprint import structure_digest as digest\n"
    compared += "print(digest(module) == digest(smaller), study)"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script + compared],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].startswith("True <Study 'mine' in ")
    assert list((folder / "runs" / "mine" / "export").glob("trial-*/model.packed"))


def test_the_console_script_is_installed() -> None:
    script = Path(sys.executable).with_name("paredown")
    done = subprocess.run([script, "--version"], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("paredown 0."), done.stderr
