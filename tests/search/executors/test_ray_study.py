"""A study on Ray finds what the same study finds on this machine, and the cluster's files parse."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from paredown import load_study
from tests.search.test_cli import MINE, SHORT, paredown

CLUSTER = Path(__file__).parents[3] / "docs" / "cluster"
TRIALS = 8


@pytest.mark.slow  # a cluster starts, and two sweeps
def test_an_ordered_study_is_the_same_on_both_executors(cluster: Any, user_folder: Path) -> None:
    ordered = [*MINE, *SHORT, f"trials={TRIALS}", "executor.ordered=true", "tracking=none"]
    there = ["executor=ray", f"executor.address={cluster.address}"]
    own = ["executor=ray"]  # a cluster of its own, on this machine
    for more in (["study=here"], ["study=there", *there], ["study=own", *own]):
        code, _, err = paredown("search", *ordered, *more, folder=user_folder)
        assert (code, err) == (0, "")
    here, elsewhere, alone = (
        [
            (trial.record.recipe_hash, trial.metrics["score"], trial.metrics["size_bytes"])
            for trial in load_study(name, user_folder / "runs").trials
        ]
        for name in ("here", "there", "own")
    )
    assert len(here) == TRIALS
    assert here == elsewhere == alone


def test_the_batch_script_and_the_job_have_their_syntax() -> None:
    assert subprocess.run(["bash", "-n", CLUSTER / "slurm.sh"], check=False).returncode == 0
    job = yaml.safe_load((CLUSTER / "rayjob.yaml").read_text())
    cluster = job["spec"]["rayClusterSpec"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        (container,) = group["template"]["spec"]["containers"]
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        assert mounted == {volume["name"] for volume in group["template"]["spec"]["volumes"]}
