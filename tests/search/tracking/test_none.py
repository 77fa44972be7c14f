"""No tracker writes nothing."""

from search.tracking import NoTracker
from tests.search.tracking.small_study import HISTORY, RECORDS, description, written


def test_no_tracker_takes_the_same_calls_and_writes_nothing(tmp_path):
    mirror = NoTracker().open(description(tmp_path))
    written(mirror, RECORDS, [1], HISTORY)
    mirror.finish([])
    assert mirror.links() == {}
    assert list(tmp_path.iterdir()) == []
