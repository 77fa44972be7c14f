"""Arguments of another kind than the annotation says are refused with value and what is allowed."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
from optuna.samplers import BaseSampler

from search.errors import ConfigError
from search.utils.annotation_check import MAX_SHOWN, check_annotations
from search.utils.instantiate import build


def annotated(
    whole: int = 0,
    number: float | None = 0.5,
    word: str = "",
    switch: bool = False,
    names: Sequence[str] = (),
    layers: Mapping[str, float] | None = None,
    way: Literal["up", "down"] = "up",
    later: "int | unknown_here" = 0,  # type: ignore[name-defined]  # noqa: F821
    quoted: "int" = None,  # type: ignore[assignment]  # noqa: RUF013
    path: Path | None = None,
    anything: Any = None,
    bare=None,  # type: ignore[no-untyped-def]
) -> dict[str, Any]:
    return {}


FITTING = [
    {"whole": 3, "number": 2, "word": "a", "switch": True, "way": "down"},
    {"number": None, "names": ["a"], "layers": {"conv*": 1, "fc": 0.5}, "quoted": None},
    {"number": float("nan"), "names": [], "layers": {}, "quoted": 4},
    {"later": "x", "path": "a/b", "anything": [1], "bare": {}},
    {"no such parameter": 5},
]


@pytest.mark.parametrize("given", FITTING)
def test_values_of_their_kind_pass_and_so_does_what_no_yaml_can_be(given: dict[str, Any]) -> None:
    check_annotations("place", annotated, given)


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("whole", 1.5, "a whole number, got 1.5"),
        ("whole", True, "a whole number, got True"),
        ("whole", None, "a whole number, got None"),
        ("number", "x", "a number or null, got 'x'"),
        ("word", 5, "text, got 5"),
        ("switch", "maybe", "true or false, got 'maybe'"),
        ("names", "abc", "a list, each item text, got 'abc'"),
        ("names", [1], r"a list, each item text, got \[1\]"),
        ("layers", 5, "a mapping of text to a number or null, got 5"),
        ("layers", {"a": "b"}, "a mapping of text to a number or null, got {'a': 'b'}"),
        ("way", "sideways", "one of up, down, got 'sideways'"),
        ("way", [1], r"one of up, down, got \[1\]"),
        ("quoted", "x", "a whole number, got 'x'"),
    ],
)
def test_another_kind_is_refused(name: str, value: Any, wanted: str) -> None:
    with pytest.raises(ConfigError, match=f"^place.{name} must be {wanted}$"):
        check_annotations("place", annotated, {name: value})


def test_a_long_value_is_shortened() -> None:
    with pytest.raises(ConfigError) as refused:
        check_annotations("place", annotated, {"whole": "x" * 10_000})
    assert len(str(refused.value)) < 2 * MAX_SHOWN


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("argparse.Namespace", "argparse.Namespace gives a Namespace, which is no BaseSampler"),
        (5, "sampler needs a _target_, the import path of a class or function, got 5"),
        ("leaving.f", "sampler: leaving.f has an error: SystemExit: 3, in line 2 of .*leaving.py"),
        ("dividing.f", "sampler: dividing.f has an error: ZeroDivisionError"),
        ("optuna.samplers.BaseSampler", "sampler: .*abstract"),
    ],
)
def test_what_is_named_must_be_importable_and_of_its_kind(
    target: Any, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "leaving.py").write_text("import sys\nsys.exit(3)\n")
    (tmp_path / "dividing.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=message):
        build("sampler", {"_target_": target}, BaseSampler)
