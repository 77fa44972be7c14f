"""Which parameters decided over each objective, as far as the finished trials tell."""

import warnings
from collections.abc import Mapping, Sequence

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import create_trial

from search.pareto.front import Objectives, direction_sign, objective_value
from search.recipe.ranges import Range
from search.recipe.space import Space
from search.trial_record import TrialRecord

FEWEST_TRIALS = 20
TOP_SHARE = 0.1
TOP_TRIALS = 4
"""What is explained is how to be among the best tenth of a half, and never among fewer."""
STANDS_OUT = 4.0
"""The least that a parameter must have, in units of the share of each if all were alike; half
suffices. With it one objective in ten that is pure chance has a parameter named."""


def importances(
    records: Sequence[TrialRecord], objectives: Objectives, space: Space
) -> dict[str, dict[str, float]]:
    """Return for each objective the parameters that decide who is among its best tenth.

    The shares of all parameters in that add up to 1; a parameter is returned, the largest share
    first, if it has four times an even share among the trials with even numbers and among those
    with odd numbers alike, since in one set of trials chance makes some parameter look decisive.

    Parameters that only some recipes have are judged within the trials that have them, weighted by
    how much more often these are among the best (PED-ANOVA: Watanabe et al., 2023,
    arXiv:2304.10255; conditional: arXiv:2601.20800; computed by Optuna). Other evaluators would
    drop every parameter that one trial lacks, which is most of a space of optional steps. With
    fewer than 20 measured trials nothing is returned.

    Raises: ValueError if a measured trial lacks an objective.
    """
    measured = [record for record in records if record.status == "ok"]
    if len(measured) < FEWEST_TRIALS:
        return {}
    ranges = distributions(space)
    halves = [_study(measured[first::2], objectives, ranges) for first in (0, 1)]
    return {name: _decisive(place, halves) for place, name in enumerate(objectives)}


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """Return what Optuna calls the ranges of a space, by the name of the parameter."""
    choices = {
        name: CategoricalDistribution(members)
        for name, members in space.choices.items()
        if len(members) > 1
    }
    ranges = [span for step in space.steps.values() for span in step.ranges.values()]
    return {**choices, **{span.name: _distribution(span) for span in ranges}}


def _distribution(span: Range) -> BaseDistribution:
    if span.kind == "categorical":
        return CategoricalDistribution(span.choices)
    if span.kind == "int":
        step = int(span.step or 1)
        return IntDistribution(int(span.low), int(span.high), log=span.log, step=step)
    return FloatDistribution(span.low, span.high, log=span.log, step=span.step)


def _study(
    records: Sequence[TrialRecord], objectives: Objectives, ranges: Mapping[str, BaseDistribution]
) -> optuna.Study:
    """Return a study of these trials, all of whose objectives are costs."""
    signs = {name: direction_sign(name, way) for name, way in objectives.items()}
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(directions=["minimize"] * len(objectives))
    study.add_trials(
        [
            create_trial(
                params=dict(record.params),
                distributions={name: ranges[name] for name in record.params},
                values=[sign * objective_value(record, name) for name, sign in signs.items()],
            )
            for record in records
        ]
    )
    return study


def _decisive(place: int, halves: Sequence[optuna.Study]) -> dict[str, float]:
    """Return the mean shares of the parameters that stand out in every half."""
    found = [_shares(place, study) for study in halves]
    common = set.intersection(*(set(shares) for shares in found))
    means = {
        name: sum(shares[name] for shares in found) / len(found)
        for name in common
        if all(shares[name] >= min(0.5, STANDS_OUT / len(shares)) for shares in found)
    }
    return dict(sorted(means.items(), key=lambda item: (-item[1], item[0])))


def _shares(place: int, study: optuna.Study) -> dict[str, float]:
    # It brings scikit-learn with it, which takes a second that nothing else of a search needs.
    from optuna.importance import PedAnovaImportanceEvaluator

    quantile = max(TOP_SHARE, TOP_TRIALS / len(study.get_trials(deepcopy=False)))
    evaluator = PedAnovaImportanceEvaluator(target_quantile=quantile)
    with warnings.catch_warnings():
        # Of parameters that fewer than two trials have; they are worth nothing then.
        warnings.filterwarnings("ignore", message="Some regimes for parameter")
        # That small values are taken for good ones: here they are.
        warnings.filterwarnings("ignore", message="PedAnovaImportanceEvaluator computes")
        found = evaluator.evaluate(study, target=lambda trial: float(trial.values[place]))
    total = sum(found.values())
    return {name: value / total for name, value in found.items()} if total > 0 else {}
