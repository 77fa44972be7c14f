"""Recoveries are short while a study explores and long at its end, as far as there is time."""

import pytest

from search.config.compose import compose_search
from search.proposal.costs import Costs, training_epochs
from search.proposal.plan import Plan
from search.proposal.schedule import Known, Schedule
from search.proposal.strength.damage import Damage
from tests.search.made_up_records import BASELINE, trial

SHORT, LONG, FINISHING = 0.25, 1.0, 100.0
COSTS = Costs(epoch=1.0, file=1.0, precision="float32")


def shares_of_recoveries(seconds_left: float) -> set[float]:
    """Return what shares of the epochs asked for a schedule gives, of one recipe after another."""
    schedule = Schedule(
        config=compose_search(["tracking=none"]),
        damage=Damage(curves={}),
        space=compose_search(["tracking=none"]).space,
        baseline=BASELINE,
        plan=Plan(short=SHORT, long=LONG, finishing_seconds=FINISHING),
        costs=COSTS,
    )
    first = trial(0, "baseline")
    hashes: set[str] = set()
    found = set()
    for _ in range(25):
        known = Known(
            trials=[],
            hashes=hashes,
            front=[first],
            records=[first],
            open_origins=[],
            seconds_left=seconds_left,
        )
        fresh = schedule.next(known)
        assert fresh is not None
        _, proposal = fresh
        hashes.add(proposal.recipe.hash)
        asked = [proposal.params.get(f"{step}.epochs", 0) for step in ("distil", "tune")]
        if sum(asked) > 3:
            found.add(round(training_epochs(proposal.recipe) / sum(asked), 3))
    return found


@pytest.mark.parametrize(
    ("seconds_left", "expected"),
    [(1000.0, {SHORT}), (50.0, {LONG}), (3.5, {SHORT})],
)
def test_what_is_tried_at_the_end_has_a_long_recovery_if_there_is_time(
    seconds_left: float, expected: set[float]
) -> None:
    assert shares_of_recoveries(seconds_left) == expected
