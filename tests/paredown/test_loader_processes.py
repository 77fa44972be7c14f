"""A study whose data come from processes of a data loader."""

from pathlib import Path

import pytest
import yaml

import paredown
from tests.conftest import USER_MODEL

# Slow: whole studies with loader processes are run and killed.
pytestmark = pytest.mark.slow

LOADERS = {
    "own": "",
    "two": ", num_workers=2",
    "persistent": ", num_workers=2, persistent_workers=True",
}


def outcomes(folder: Path, name: str) -> list[tuple[str, str, float]]:
    """Run a study and return hash, status and score of each trial."""
    loader = f"shuffle=True{LOADERS[name]}"
    module = f"loading_{name}"
    (folder / f"{module}.py").write_text(USER_MODEL.replace("shuffle=True", loader))
    (folder / "conf" / "task").mkdir(parents=True, exist_ok=True)
    node = {"_target_": f"{module}.Task", "recovery_epochs": 1}
    (folder / "conf" / "task" / f"{name}.yaml").write_text(yaml.safe_dump(node))
    quick = ("trials=4", "latency.rounds=3", "tracking=none", "executor.workers=1")
    study = paredown.run_study(
        f"task={name}", "objectives=score_size", *quick, config_dir=folder / "conf"
    )
    records = [trial.record for trial in study.trials]
    return [(r.recipe_hash, r.status, r.metrics.get("score", 0.0)) for r in records]


def test_processes_of_a_loader_change_neither_recipes_nor_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    expected = outcomes(tmp_path, "own")
    assert {status for _, status, _ in expected} <= {"ok", "stopped"}
    assert any("ok" in found for found in expected)
    for name in ("two", "persistent"):
        monkeypatch.setenv("PAREDOWN_CACHE", str(tmp_path / name))  # nothing is taken over
        assert outcomes(tmp_path, name) == expected
