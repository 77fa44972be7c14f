"""An Optuna storage in memory over the trials from which a sampler learns, without a copy."""

import copy
from collections.abc import Collection, Container, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

MAX_TRIALS_SHOWN = 250
"""Number of trials that a sampler learns from, so that a proposal takes the same time in a long
study; enough for the generations that genetic samplers keep apart."""
MAX_TRIALS_MODELLED = 64
"""Number of trials that TPE learns from.

With more its models were no better: in a synthetic problem over the default space, with 12 seeds,
the hypervolume after 400 trials was as high as with all of them."""


def shown(trials: Sequence[FrozenTrial], front: Collection[int], count: int) -> list[FrozenTrial]:
    """Return the trials to learn from in order of number: members of the front and the latest.

    Failed trials, from which samplers learn nothing, are replaced by earlier ones.

    Args:
        trials: All trials in order of number.
        front: The numbers of the front's members; the latest take up to half of the places.
        count: Number of trials to return if there are more.
    """
    if len(trials) <= count:
        return list(trials)
    kept = set(sorted(front)[-count // 2 :])
    rest = (t for t in reversed(trials) if t.number not in kept and t.state is not TrialState.FAIL)
    kept |= {trial.number for trial in islice(rest, count - len(kept))}
    return [trial for trial in trials if trial.number in kept]


@dataclass(kw_only=True)
class InMemoryStorage:
    """The part of Optuna's storage that asking a sampler needs, over trials that never change.

    Trials that a sampler is asked for exist only here. Optuna's storage in memory would copy every
    trial deeply, which takes longer than most samplers do.
    """

    trials: Sequence[FrozenTrial]
    """The trials to learn from."""
    directions: Sequence[StudyDirection]
    """The direction of each objective."""
    number: int
    """Number of the next trial."""
    attributes: dict[str, Any] = field(default_factory=dict)
    """The sampler's attributes of the study."""
    asked: list[FrozenTrial] = field(default_factory=list)
    """The trials that the sampler was asked for."""
    _first_id: int = field(init=False)

    def __post_init__(self) -> None:
        self._first_id = 1 + max((trial._trial_id for trial in self.trials), default=-1)

    def get_study_id_from_name(self, study_name: str) -> int:
        """Return the id of the only study."""
        return 0

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        """Return the direction of each objective."""
        return list(self.directions)

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        """Return the sampler's attributes of the study."""
        return self.attributes

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        """Set one of the sampler's attributes of the study."""
        self.attributes[key] = value

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Add a trial that runs or, with a template, waits; return its id."""
        trial = copy.copy(template_trial or create_trial(state=TrialState.RUNNING))
        trial.number = self.number + len(self.asked)
        trial._trial_id = self._first_id + len(self.asked)
        self.asked.append(trial)
        return trial._trial_id

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """Return a trial that the sampler was asked for."""
        return self.asked[trial_id - self._first_id]

    def get_trial_number_from_id(self, trial_id: int) -> int:
        """Return the number of a trial that the sampler was asked for."""
        return self.get_trial(trial_id).number

    def get_trial_system_attrs(self, trial_id: int) -> dict[str, Any]:
        """Return the sampler's attributes of a trial that it was asked for."""
        return self.get_trial(trial_id).system_attrs

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Set one of the sampler's attributes of a trial that it was asked for."""
        self.get_trial(trial_id).system_attrs[key] = value

    def set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
    ) -> None:
        """Set a parameter of a trial that the sampler was asked for."""
        trial = self.get_trial(trial_id)
        trial.params[param_name] = distribution.to_external_repr(param_value_internal)
        trial.distributions[param_name] = distribution

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """Set the state of a trial that the sampler was asked for; no other process can have."""
        self.get_trial(trial_id).state = state
        return True

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        """Return the trials in some states, as deep copies if wanted."""
        every = [*self.trials, *self.asked] if states != (TrialState.WAITING,) else self.asked
        found = [trial for trial in every if states is None or trial.state in states]
        return copy.deepcopy(found) if deepcopy else found
