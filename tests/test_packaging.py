"""What a wheel holds works on its own, far from the repository."""

import json
import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = ("compressors", "paredown", "search")

WHERE = """
import json
import paredown, compressors, search
from search.config.paths import conf_folder
files = [module.__file__ for module in (paredown, compressors, search)]
try:
    import search.conf
except ModuleNotFoundError:
    files.append(str(conf_folder()))
print(json.dumps([*files, paredown.__version__]))
"""

pytestmark = pytest.mark.slow


def run(command: list[str], folder: Path, *import_from: Path) -> str:
    """Run this interpreter in a folder; modules come from the given folders first."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, import_from))}
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The build back end that pyproject.toml names, in a folder of its own."""
    folder = tmp_path_factory.mktemp("backend")
    needed = [*PYPROJECT["build-system"]["requires"], "editables"]
    run(["-m", "pip", "install", "-q", "--target", str(folder), *needed], folder)
    return folder


def build(backend: Path, kind: str, source: Path, folder: Path) -> Path:
    """Build a wheel, an editable wheel or an sdist of a source tree; return the file."""
    code = f"from hatchling.build import build_{kind} as build; print(build({str(folder)!r}))"
    return folder / run(["-c", code], source, backend).splitlines()[-1]


@pytest.fixture(scope="module")
def wheel(backend: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from the sdist, as an index would do it."""
    folder = tmp_path_factory.mktemp("built")
    sdist = build(backend, "sdist", ROOT, folder)
    run(["-m", "tarfile", "-e", str(sdist), str(folder / "source")], folder)
    (source,) = (folder / "source").iterdir()
    return build(backend, "wheel", source, folder)


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the installed wheel; its dependencies are this interpreter's."""
    folder = tmp_path_factory.mktemp("installed")
    run(["-m", "pip", "install", "-q", "--no-deps", "--target", str(folder), str(wheel)], folder)
    return folder


def test_the_wheel_of_the_sdist_is_the_wheel_of_the_checkout(
    backend: Path, wheel: Path, tmp_path: Path
) -> None:
    direct = build(backend, "wheel", ROOT, tmp_path)
    names = zipfile.ZipFile(wheel).namelist()
    assert sorted(names) == sorted(zipfile.ZipFile(direct).namelist())
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == set(PACKAGES)
    assert {f"{package}/py.typed" for package in PACKAGES} <= set(names)
    held = {name.partition("/built-in-conf/")[2] for name in names} - {""}
    assert held == {str(p.relative_to(ROOT / "conf")) for p in ROOT.glob("conf/**/*.yaml")}


def test_an_installed_wheel_sweeps_outside_the_repository(installed: Path, tmp_path: Path) -> None:
    *files, version = json.loads(run(["-c", WHERE], tmp_path, installed))
    assert len(files) == 4, "search.conf can be imported"
    assert all(Path(file).is_relative_to(installed) for file in files), files
    assert version == PYPROJECT["project"]["version"]
    quick = ["trials=2", "tracking=none", "latency.rounds=3", "executor.workers=1"]
    run(["-m", "search.cli", "search", *quick], tmp_path, installed)
    assert (tmp_path / "runs" / "digits" / "front.png").exists()
    shown = run(["-m", "search.cli", "--version"], tmp_path, installed)
    assert shown == f"paredown {version}\n"


def test_an_editable_install_adds_no_package_beside_the_checkout(
    backend: Path, tmp_path: Path
) -> None:
    names = zipfile.ZipFile(build(backend, "editable", ROOT, tmp_path)).namelist()
    assert not [name for name in names if ".dist-info/" not in name and not name.endswith(".pth")]
