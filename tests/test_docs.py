"""The tasks that the pages of docs show are searched as they stand."""

import re
from pathlib import Path

import pytest

from search.pareto.selection_expression import parse
from tests.search.test_cli import paredown

PAGE = (Path(__file__).parents[1] / "docs" / "your_model.md").read_text()
MODULES = dict(re.findall(r"```python\n# (\w+)\.py\n(.*?)```", PAGE, flags=re.DOTALL))
CHOOSING = (Path(__file__).parents[1] / "docs" / "choosing.md").read_text()
ROWS = [row.partition(" | ")[0] for row in CHOOSING.splitlines() if row.startswith("| `")]
SELECTIONS = [text for row in ROWS[1:] for text in re.findall("`(.*?)`", row)]


@pytest.mark.parametrize("expression", SELECTIONS)
def test_every_selection_shown_can_be_read(expression: str) -> None:
    assert parse(expression)


@pytest.mark.slow  # sweeps of its own
@pytest.mark.parametrize("name", MODULES)
def test_a_model_from_a_library_is_searched_and_exported(name: str, tmp_path: Path) -> None:
    (tmp_path / f"{name}.py").write_text(MODULES[name])
    group = tmp_path / "my_conf" / "task"
    group.mkdir(parents=True)
    (group / f"{name}.yaml").write_text(f"_target_: {name}.task\nrecovery_epochs: 1\n")
    arguments = ("search", "--config-dir", "my_conf", f"task={name}", "trials=4", "tracking=none")
    code, _, err = paredown(*arguments, folder=tmp_path)
    assert code == 0, err
    code, out, err = paredown("export", f"study={name}", "select=knee", folder=tmp_path)
    assert code == 0, err
    assert list(tmp_path.glob(f"runs/{name}/export/*/model.onnx")), out
