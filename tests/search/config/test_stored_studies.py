"""A stored study is found by a safe name, and a damaged configuration is named."""

from pathlib import Path

import pytest

from search.config.compose import compose_search
from search.config.existing import existing_study, read_config
from search.errors import ConfigError

UNFIT = {
    "": "must not be empty",
    "../x": "must have none of",
    "a/b": "must have none of",
    "a\\b": "must have none of",
    "a:b": "must have none of",
    ".hidden": "must not begin with a dot",
    "..": "must not begin with a dot",
    "two\nlines": "must be printable on one line",
    "bell\a": "must be printable on one line",
    " blank": "must not begin or end with a blank",
    "x" * 300: "must have at most 120 bytes",
    "é" * 61: "must have at most 120 bytes",
}


@pytest.mark.fault("a name is too long")
@pytest.mark.parametrize("name", UNFIT)
def test_a_name_that_is_no_safe_folder_is_refused_before_anything_is_read(
    name: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=UNFIT[name]) as raised:
        existing_study({"runs_dir": str(tmp_path), "study": name})
    assert len(str(raised.value)) < 200


@pytest.mark.parametrize("name", ["digits", "My study (2)", "größe-3", "a.b"])
def test_other_names_are_taken(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    folder.mkdir()
    (folder / "config.yaml").write_text(compose_search(["task=digits"]).to_yaml())
    assert existing_study({"runs_dir": str(tmp_path), "study": name}) == folder
    assert read_config(folder).study == name


DAMAGED = {
    "cut": lambda text: text[: len(text) // 2] + b"\n  - [",
    "empty": lambda text: b"",
    "zeros": lambda text: b"\0" * len(text),
    "no text": lambda text: b"\xff\xfe\xfd" + text,
    "a list": lambda text: b"[1, 2]",
    "an object": lambda text: b"!!python/object/apply:os.getcwd []",
    "a key lost": lambda text: text.replace(b"trials:", b"trails:"),
    "a type changed": lambda text: text.replace(b"trials: 40", b"trials: many"),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_configuration_is_one_line(damage: str, tmp_path: Path) -> None:
    text = compose_search(["task=digits"]).to_yaml().encode()
    (tmp_path / "config.yaml").write_bytes(DAMAGED[damage](text))
    with pytest.raises(ConfigError) as raised:
        read_config(tmp_path)
    assert "\n" not in str(raised.value)
