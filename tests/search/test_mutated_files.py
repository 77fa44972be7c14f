"""Whatever a file of a study holds, reading it works or fails with one error of ours.

`PAREDOWN_MUTATIONS=20000 pytest tests/search/test_mutated_files.py` tries as many of each kind.
"""

import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from search.config.compose import compose_search
from search.config.existing import read_config
from search.errors import ConfigError, StudyError
from search.executors.outcome import OUTCOME, Outcome, left_outcome
from search.recipe.recipe import read_recipe
from search.study.journal_file import JOURNAL, read_journal
from search.study.repair import repair
from tests.search.study.test_driver import MadeUp, config, run

MUTATIONS = int(os.environ.get("PAREDOWN_MUTATIONS", "60"))
LONGEST = 1.0
"""Seconds of CPU time that reading a small file may take."""
BITS = [b"\0", b"\xff", b"\n", b"\n- ", b": ", b"{", b"]", b'"', b"'", b"&a *a", b"!!", b"%", b"\t"]
WORDS = [b"null", b"-1", b"1e999", b"nan", b"true", b"[]", b"{}", b"''", b"2020-01-01", b"9" * 400]


def mutated(content: bytes, draw: random.Random) -> bytes:
    """Return content with some bytes, words or lines changed, doubled, moved or lost."""
    for _ in range(draw.randint(1, 3)):
        place = draw.randrange(len(content) + 1)
        length = draw.choice([1, 1, 4, 40, len(content)])
        rest = content[place + draw.randrange(length) :]
        put = draw.choice([*BITS, *WORDS, draw.randbytes(3), content[place : place + 30], b""])
        content = content[:place] + put + rest
        words = content.split(b" ")
        if draw.random() < 0.5:
            words[draw.randrange(len(words))] = draw.choice(WORDS)
            content = b" ".join(words)
    return content


def attempts(whole: bytes, path: Path, seed: int) -> Iterator[None]:
    """Write one mutation after the other, and hold each reading to its time."""
    draw = random.Random(seed)
    for _ in range(MUTATIONS):
        path.write_bytes(mutated(whole, draw))
        began = time.process_time()
        yield
        assert time.process_time() - began < LONGEST, path.read_bytes()


def read(path: Path, reader: Callable[[], object], errors: tuple[type[Exception], ...]) -> None:
    try:
        reader()
    except errors as error:
        lines = str(error).count("\n") + 1
        if lines > 1:
            raise AssertionError(str(error)) from error
    except Exception as error:
        raise AssertionError(f"{path.read_bytes()!r}") from error


@pytest.mark.fault("a recipe is damaged")
def test_a_recipe(tmp_path: Path) -> None:
    recipe = (
        "seed: 3\nsteps:\n  prune:\n    _target_: compressors.channel_pruning.ChannelPruning\n"
        "    ratio: 0.3\n    layers: {}\n  quantize:\n"
        "    _target_: compressors.quantization.Quantization\n    bits: 8\n    symmetric: true\n"
    )
    path = tmp_path / "recipe.yaml"

    def built() -> None:
        found = read_recipe(path)
        assert found.hash
        for step in found.steps:
            step.compressor()

    for _ in attempts(recipe.encode(), path, 1):
        read(path, built, (ConfigError,))


@pytest.mark.fault("a configuration kept in a study is damaged")
def test_a_configuration(tmp_path: Path) -> None:
    whole = compose_search(["task=digits"]).to_yaml().encode()
    for _ in attempts(whole, tmp_path / "config.yaml", 2):
        read(tmp_path / "config.yaml", lambda: read_config(tmp_path), (ConfigError,))


@pytest.mark.fault("the outcome of a trial is damaged")
def test_an_outcome(tmp_path: Path) -> None:
    whole = b'{"status": "ok", "result": {"metrics": {"score": 1}}, "started": 1, "finished": 2.5}'
    for _ in attempts(whole, tmp_path / OUTCOME, 3):
        assert isinstance(left_outcome(tmp_path), Outcome | None)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    run(runs, MadeUp(slots=1), "trials=3")
    return runs / "digits"


def test_a_journal(study: Path) -> None:
    settings = config(study.parent)
    journal = study / JOURNAL
    whole = journal.read_bytes()
    for _ in attempts(whole, journal, 4):
        read(journal, lambda: read_journal(study, settings.objectives).records(), (StudyError,))
    draw = random.Random(5)
    for _ in range(max(1, MUTATIONS // 50)):
        journal.write_bytes(mutated(whole, draw))
        read(journal, lambda: repair(settings), (StudyError,))
