"""What the packages may know of each other."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
COMPRESSOR_FILES = sorted((ROOT / "compressors").glob("**/*.py"))
NOT_FOR_COMPRESSORS = {"optuna", "hydra", "omegaconf", "mlflow", "pandas", "search"}


def imported_packages(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} uses a relative import"
            names.add(node.module or "")
    return {name.partition(".")[0] for name in names}


@pytest.mark.parametrize("path", COMPRESSOR_FILES, ids=lambda path: path.stem)
def test_compressors_know_nothing_of_the_search(path: Path) -> None:
    assert not imported_packages(path) & NOT_FOR_COMPRESSORS
