"""Which trials go on with a long recovery at the end of a study."""

import pytest

from search.config.constraints import Constraint
from search.proposal.finishing import Finishing
from search.proposal.strength.bound import ScoreBound
from search.trial_record import TrialRecord
from tests.search.made_up_records import BASELINE, trial
from tests.search.recipe.test_space import DISTIL

TRAINED = {"seed": 0, "steps": {"distil": {"_target_": DISTIL, "epochs": 1}}}
LIMIT = Constraint(metric="relative_drop", upper=True, bound=0.02)
FINISHING = Finishing(
    bound=ScoreBound(constraints=[LIMIT], baseline=BASELINE),
    objectives={"score": "maximize", "size_bytes": "minimize"},
)
FIRST = trial(0, "baseline")


def small(number: int, size: float, drop: float, **changes: object) -> TrialRecord:
    return trial(
        number,
        drop=drop,
        recipe=TRAINED,
        metrics={"size_bytes": size},
        violations={str(LIMIT): drop - 0.02},
        **changes,
    )


def order(*records: TrialRecord, going_on: tuple[str, ...] = ()) -> list[int]:
    return [record.number for record in FINISHING.candidates([FIRST, *records], going_on)]


def test_the_largest_expected_gain_comes_first() -> None:
    # a small model just beyond the bound may come back; the same size with less loss gains more
    assert order(small(1, 500, 0.01), small(2, 100, 0.03), small(3, 100, 0.025))[0] == 3
    assert order(small(1, 800, 0.0), small(2, 400, 0.01)) == [2]


def test_what_is_far_beyond_the_bound_or_untrained_or_going_on_is_left() -> None:
    assert order(small(1, 100, 0.2)) == []
    assert order(trial(1, drop=0.01, metrics={"size_bytes": 100.0})) == []
    assert order(small(1, 100, 0.01), going_on=("finish:1",)) == []
    assert order(small(1, 100, 0.01), small(2, 100, 0.005, origin="finish:1")) == []


def test_a_large_gain_is_worth_a_small_chance() -> None:
    # the first uses up four times the bound, the second half of it
    assert order(small(1, 100, 0.08), small(2, 950, 0.01)) == [1, 2]
    assert order(small(1, 900, 0.08), small(2, 100, 0.01))[0] == 2


def test_what_earlier_ones_kept_of_their_loss_is_expected_of_others() -> None:
    beyond = small(1, 100, 0.1)
    healed = [small(2, 300, 0.01), small(3, 300, 0.001, origin="finish:2")]
    hopeless = [small(2, 300, 0.01), small(3, 300, 0.0100, origin="finish:2")]
    assert order(beyond, *healed) == [1]
    assert order(beyond, *hopeless) == []


@pytest.mark.parametrize("status", ["error", "stopped", "timeout"])
def test_trials_without_metrics_do_not_go_on(status: str) -> None:
    assert order(small(1, 100, 0.01, status=status)) == []
