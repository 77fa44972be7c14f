"""Studies run from any kind of script, and trials do not run the script again."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from search.executors.child_imports import SAFE_PATH, own_imports_only
from tests.conftest import USER_MODEL, USER_YAML

ROOT = Path(__file__).parents[2]
SCRIPT = """\
from pathlib import Path

import paredown

with Path("runs_of_the_script.txt").open("a") as file:
    file.write("once\\n")
settings = ["task=mine", "trials=2", "latency.rounds=3", "tracking=none", "executor.workers=2"]
study = paredown.run_study(*settings, config_dir="my_conf")
print(sorted(trial.number for trial in study.trials), {trial.status for trial in study.trials})
"""
WAYS = {
    "a file": ["script.py"],
    "standard input": ["-"],
    "a cell": ["-c", "exec(open('script.py').read(), {'__name__': '__main__'})"],
    "a module": ["-m", "script"],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "user_model.py").write_text(USER_MODEL)
    (tmp_path / "my_conf" / "task").mkdir(parents=True)
    (tmp_path / "my_conf" / "task" / "mine.yaml").write_text(USER_YAML)
    (tmp_path / "script.py").write_text(SCRIPT)
    return tmp_path


def run(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    script = (folder / "script.py").read_text()
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        input=script,
        capture_output=True,
        text=True,
    )


@pytest.mark.slow  # every way starts a process that sweeps
@pytest.mark.parametrize("way", WAYS)
def test_a_script_without_a_main_guard_runs_once(way: str, folder: Path) -> None:
    done = run(WAYS[way], folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "[0, 1] {'ok'}"
    assert (folder / "runs_of_the_script.txt").read_text() == "once\n"


@pytest.mark.slow  # the start of a sweep
def test_a_task_of_the_script_itself_is_refused_before_any_work(folder: Path) -> None:
    (folder / "my_conf" / "task" / "mine.yaml").write_text("_target_: __main__.Task\n")
    (folder / "script.py").write_text(f"{USER_MODEL}\n{SCRIPT}")
    done = run(["script.py"], folder)
    message = done.stderr.splitlines()[-1]
    assert message.startswith("search.errors.ConfigError: task: __main__.Task is defined in the ")
    assert "put it into a module of its own" in message
    assert "_target_: my_model.Task" in message
    assert not (folder / "runs").exists()


@pytest.mark.slow  # a sweep of its own
def test_a_command_runs_beside_a_file_that_hides_a_package(folder: Path) -> None:
    for name in ("search", "compressors"):
        (folder / f"{name}.py").write_text("open('ran.txt', 'w')\nraise RuntimeError\n")
    overrides = ["task=mine", "trials=1", "latency.rounds=3", "tracking=none"]
    arguments = ["paredown", "search", "--config-dir", "my_conf", *overrides]
    # As the console script does, whose own folder is first on the path.
    code = (
        f"import sys; sys.path.pop(0); sys.argv = {arguments!r}; import search.cli as c; c.main()"
    )
    done = run(["-c", code], folder)
    assert done.returncode == 0, done.stderr
    assert (folder / "runs" / "mine" / "trials.csv").exists()
    assert not (folder / "ran.txt").exists()


def test_the_callers_script_and_environment_are_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    for value in (None, "1"):
        monkeypatch.delenv(SAFE_PATH, raising=False)
        if value is not None:
            monkeypatch.setenv(SAFE_PATH, value)
        script = sys.modules["__main__"]
        with own_imports_only():
            assert sys.modules["__main__"] is not script
            assert os.environ[SAFE_PATH]
        assert sys.modules["__main__"] is script
        assert os.environ.get(SAFE_PATH) == value
        with pytest.raises(RuntimeError, match="no process"), own_imports_only():
            raise RuntimeError("no process")
        assert sys.modules["__main__"] is script
        assert os.environ.get(SAFE_PATH) == value
