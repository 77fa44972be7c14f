"""A task that is not the same in every process is refused before the first trial."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import paredown
from tests.conftest import USER_MODEL

ENTROPY = """

class Drawing(Task):
    def __init__(self, what):
        super().__init__()
        seed = int.from_bytes(__import__("os").urandom(4), "big")  # no seed reaches it
        if what == "weights":
            with torch.no_grad():
                self.model[0].weight.add_(seed * 1e-9)
        else:
            self.validation = [data(200, seed)]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "drawing_model.py").write_text(USER_MODEL + ENTROPY)
    (tmp_path / "conf" / "task").mkdir(parents=True)
    node = {"_target_": "drawing_model.Drawing", "what": "weights", "recovery_epochs": 1}
    (tmp_path / "conf" / "task" / "drawing.yaml").write_text(yaml.safe_dump(node))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("drawing_model", None)


@pytest.mark.parametrize(
    ("what", "remedy"),
    [
        ("weights", r"model differs .* from saved weights, or seed all that it draws"),
        ("data", r"data, loss or score has changed; make them the same every time, with a seed"),
    ],
)
def test_a_task_that_differs_between_two_builds_is_refused_before_the_first_trial(
    what: str, remedy: str, folder: Path
) -> None:
    quick = ("task=drawing", f"task.what={what}", "trials=3", "tracking=none", "warm_start=false")
    with pytest.raises(paredown.ConfigError, match=f"the task was built twice.*{remedy}"):
        paredown.run_study(*quick, config_dir="conf")
    assert not list(folder.glob("runs/*/trials/*"))
