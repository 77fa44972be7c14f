"""What the packages may know of each other."""

import ast
import re
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


MAP = (ROOT / "ARCHITECTURE.md").read_text()
MODULES = sorted(
    path
    for package in ("search", "compressors")
    for path in (ROOT / package).glob("**/*.py")
    if path.name != "__init__.py" and path.parent.name != "tasks"
)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_map_names_every_module(path: Path) -> None:
    assert str(path.relative_to(ROOT)) in MAP or f"`{path.name}`" in MAP


def test_every_file_on_the_map_exists() -> None:
    for name in re.findall(r"`((?:search|compressors|conf|benchmarks)/[\w/.]*)`", MAP):
        assert (ROOT / name).exists(), name
    for name in re.findall(r"`(\w+\.py)`", MAP):
        assert list(ROOT.glob(f"search/*/{name}")), name
