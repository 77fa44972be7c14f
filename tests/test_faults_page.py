"""docs/faults.md and the tests marked with its rows say the same."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "faults.md"
HEADING = "what happens"


def rows() -> list[list[str]]:
    """Return the cells of all rows of the page, without headings and rules."""
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in cells if row[0] != HEADING and set(row[0]) != {"-"}]


def marked(path: Path) -> Iterator[str]:
    """Yield what the marks `pytest.mark.fault(...)` of a module name."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.fault":
            yield from (ast.literal_eval(argument) for argument in node.args)


def test_each_row_is_a_test_and_each_marked_test_a_row() -> None:
    titles = [row[0] for row in rows()]
    tested = {title for path in ROOT.glob("tests/**/test_*.py") for title in marked(path)}
    assert sorted(titles) == sorted(tested)


def test_a_row_says_what_is_seen_and_kept() -> None:
    assert [row for row in rows() if len(row) != 3 or not all(row)] == []
