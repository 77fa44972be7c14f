"""A sampler proposes the same from shared trials as from Optuna's own copy of them."""

import copy

import optuna
import pytest
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from search.proposal.in_memory_storage import InMemoryStorage, shown

DIRECTIONS = [StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE]
SAMPLERS = {
    "tpe": lambda: optuna.samplers.TPESampler(seed=3, multivariate=True, n_startup_trials=4),
    "nsga2": lambda: optuna.samplers.NSGAIISampler(seed=3, population_size=4),
    "random": lambda: optuna.samplers.RandomSampler(seed=3),
    "brute_force": lambda: optuna.samplers.BruteForceSampler(seed=3),
}


def trials(count: int, *, running: int = 0) -> list[FrozenTrial]:
    source = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    made = []
    for number in range(count + running):
        drawn = source.ask()
        draw(drawn)
        complete = number < count
        made.append(
            create_trial(
                state=TrialState.COMPLETE if complete else TrialState.RUNNING,
                params=drawn.params,
                distributions=drawn.distributions,
                values=[drawn.params["a"], drawn.params["a"] ** 2] if complete else None,
                constraints={"bound": drawn.params["a"] - 0.8} if complete else None,
            )
        )
        made[-1].number = made[-1]._trial_id = number
    return made


def draw(trial: optuna.Trial) -> None:
    trial.suggest_float("a", 0, 1, step=0.01)
    if trial.suggest_categorical("more", [True, False]):
        trial.suggest_float("b", 0, 1, step=0.01)


def shared(past: list[FrozenTrial], number: int) -> InMemoryStorage:
    return InMemoryStorage(trials=past, directions=DIRECTIONS, number=number)


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_samplers_propose_as_they_do_over_optunas_storage(sampler):
    past = trials(25, running=2)
    own = optuna.create_study(directions=DIRECTIONS, sampler=SAMPLERS[sampler]())
    own.add_trials(past)
    study = optuna.Study("", shared(past, 27), SAMPLERS[sampler]())
    for _ in range(3):
        asked = own.ask(), study.ask()
        for trial in asked:
            draw(trial)
        assert asked[0].params == asked[1].params
        assert asked[0].number == asked[1].number


def test_the_shared_trials_are_left_as_they_are():
    past = trials(12)
    before = copy.deepcopy(past)
    history = shared(past, 12)
    study = optuna.Study("", history, SAMPLERS["tpe"]())
    draw(study.ask())
    study.enqueue_trial({"a": 0.5, "more": False})
    fixed = study.ask()
    draw(fixed)
    study.tell(fixed, state=TrialState.FAIL)
    assert fixed.params == {"a": 0.5, "more": False}
    assert past == before
    assert [trial.number for trial in history.asked] == [12, 13]
    assert [trial.state for trial in history.asked] == [TrialState.RUNNING, TrialState.FAIL]


def numbers(trials: list[FrozenTrial]) -> list[int]:
    return [trial.number for trial in trials]


def test_a_short_history_is_shown_whole():
    past = trials(20)
    assert shown(past, [0], 20) == past


def test_of_a_long_history_the_front_and_the_latest_are_shown_in_order():
    assert numbers(shown(trials(50), [3, 5, 49], 20)) == [3, 5, *range(32, 50)]


def test_a_large_front_leaves_half_the_places_to_the_latest():
    assert numbers(shown(trials(60), range(40), 20)) == [*range(30, 40), *range(50, 60)]


def test_failed_trials_give_way_and_running_ones_are_seen():
    past = trials(28, running=2)
    for trial in past[20:28]:
        trial.state = TrialState.FAIL
    assert numbers(shown(past, [1], 10)) == [1, *range(13, 20), 28, 29]
