"""Whatever trials there are, in whatever order, front and hypervolume are those by definition."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.pareto.archive import ParetoArchive, archive_of
from search.pareto.front import pareto_front
from search.trial_record import TrialRecord
from tests.search.pareto import reference
from tests.strategies import OBJECTIVES, trial_records

COUNTS = st.integers(1, len(OBJECTIVES))


def objectives_of(count: int) -> dict[str, str]:
    return dict(list(OBJECTIVES.items())[:count])


@given(records=trial_records(), count=COUNTS)
def test_front_and_hypervolume_are_those_of_all_trials_so_far(
    records: list[TrialRecord], count: int
) -> None:
    objectives = objectives_of(count)
    archive = ParetoArchive(objectives=objectives)
    for place, record in enumerate(records, 1):
        archive.add(record)
        assert archive.front == reference.front_by_definition(records[:place], objectives)
    assert archive.front == reference.front_by_moocore(records, objectives)
    assert archive.front == pareto_front(records, objectives)
    assert archive.history == pytest.approx(reference.history(records, objectives), abs=1e-12)
    assert list(archive.history) == list(range(len(records)))


@given(records=trial_records(), count=COUNTS, data=st.data())
def test_the_order_in_which_trials_come_changes_nothing_in_the_end(
    records: list[TrialRecord], count: int, data: st.DataObject
) -> None:
    objectives = objectives_of(count)
    shuffled = data.draw(st.permutations(records))
    archive = ParetoArchive(objectives=objectives)
    for record in shuffled:
        archive.add(record)
    batch = archive_of(shuffled, objectives)
    assert archive.front == batch.front == pareto_front(shuffled, objectives)
    assert batch.front == reference.front_by_definition(records, objectives)
    expected = pytest.approx(reference.history(records, objectives), abs=1e-12)
    assert archive.history == batch.history == expected


@given(records=trial_records(), count=COUNTS)
def test_every_trial_leaves_the_front_once_unless_it_stays(
    records: list[TrialRecord], count: int
) -> None:
    archive = ParetoArchive(objectives=objectives_of(count))
    left = [dominated.number for record in records for dominated in archive.add(record)]
    front = [record.number for record in archive.front]
    assert sorted(left + front) == [record.number for record in records]


@given(records=trial_records(), count=COUNTS)
def test_the_history_never_falls_and_grows_only_with_feasible_trials(
    records: list[TrialRecord], count: int
) -> None:
    history = archive_of(records, objectives_of(count)).history
    assert list(history.values()) == sorted(history.values())
    idle = [record.number for record in records[1:] if not record.feasible]
    assert all(history[number] == history[number - 1] for number in idle)
