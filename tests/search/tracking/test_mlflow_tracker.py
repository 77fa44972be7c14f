"""The tracker checks its options and keeps studies apart."""

import shutil

import pytest

from search.errors import TrackingError
from search.tracking import MlflowTracker
from tests.search.tracking.small_study import opened


@pytest.mark.parametrize("options", [{"experiment": ""}, {"uri": "localhost"}, {"uri": "mlruns"}])
def test_options_are_checked(options):
    with pytest.raises(ValueError, match=r"tracking\."):
        MlflowTracker(**options)


def test_a_deleted_experiment_is_named(runs_dir):
    mirror = opened(runs_dir)
    mirror.study.client.delete_experiment(mirror.study.experiment_id)
    with pytest.raises(TrackingError, match="'paredown' is deleted: restore it"):
        opened(runs_dir)


def test_studies_stay_apart_even_when_one_takes_the_name_of_another(runs_dir):
    first, other = opened(runs_dir), opened(runs_dir, name="other")
    shutil.rmtree(runs_dir / "digits")
    second = opened(runs_dir)
    assert len({first.study.run_id, other.study.run_id, second.study.run_id}) == 3
    given = {"paredown.study_id": "shared-7"}
    assert len({opened(runs_dir, tags=given).study.run_id for _ in range(2)}) == 1
