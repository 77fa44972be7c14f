"""The public names, and that `import paredown` costs next to nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import paredown

ROOT = Path(__file__).parents[2]
NAMES = [
    "ArtefactError",
    "ChannelPruning",
    "ConfigError",
    "Distillation",
    "InfeasibleError",
    "LayerRemoval",
    "LowRank",
    "MeasurementError",
    "ParedownError",
    "Quantization",
    "Recipe",
    "SelectionError",
    "Study",
    "StudyError",
    "TrackingError",
    "Trial",
    "WeightPruning",
    "WeightSharing",
    "__version__",
    "apply_recipe",
    "export",
    "load_compressed",
    "load_study",
    "run_study",
    "verify",
]
HEAVY = {"torch", "pandas", "mlflow", "optuna", "hydra", "numpy", "search", "compressors"}


def python(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_the_public_names_are_these() -> None:
    assert paredown.__all__ == NAMES
    assert set(NAMES) <= set(dir(paredown))


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_what_it_says(name: str) -> None:
    found = getattr(paredown, name)
    if name == "__version__":
        assert found[0].isdigit()
    else:
        assert found.__name__ == name
        assert found.__doc__


def test_errors_have_one_base() -> None:
    errors = [getattr(paredown, name) for name in NAMES if name.endswith("Error")]
    assert all(issubclass(error, paredown.ParedownError) for error in errors)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'paredown' has no attribute 'run_studdy'"):
        paredown.run_studdy  # noqa: B018


def test_importing_it_imports_nothing_heavy(tmp_path: Path) -> None:
    code = "import sys, paredown; print(*{name.partition('.')[0] for name in sys.modules})"
    done = python(code, tmp_path)
    assert done.returncode == 0, done.stderr
    assert not set(done.stdout.split()) & HEAVY


def test_the_packages_search_has_no_second_face(tmp_path: Path) -> None:
    done = python("import search; print([n for n in vars(search) if n[0] != '_'])", tmp_path)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("name", ["search", "compressors"])
@pytest.mark.parametrize("before", ["", "import {name}; "], ids=["unimported", "imported"])
def test_a_file_of_the_user_that_hides_a_package_is_named(
    name: str, before: str, tmp_path: Path
) -> None:
    (tmp_path / f"{name}.py").write_text("SOMETHING = 1\n")
    done = python(before.format(name=name) + "import paredown", tmp_path)
    message = done.stderr.splitlines()[-1]
    assert message.startswith("ImportError: ")
    assert str(tmp_path / f"{name}.py") in message
    assert f"hides the package '{name}' that Paredown needs" in message
    assert "rename it" in message


def test_a_folder_without_code_hides_nothing(tmp_path: Path) -> None:
    (tmp_path / "search").mkdir()
    done = python("import paredown; print(paredown.ConfigError)", tmp_path)
    assert done.returncode == 0, done.stderr
