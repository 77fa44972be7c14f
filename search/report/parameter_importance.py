"""Importance of each parameter for each objective, estimated from the finished trials."""

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

MIN_TRIALS = 20
"""Measured trials below which no importance is estimated."""
TOP_SHARE = 0.1
"""Share of the trials that count as the best."""
MIN_TOP_TRIALS = 4
"""Trials that count as the best at least."""
MIN_RELATIVE_SHARE = 4.0
"""Least importance of a parameter that stands out, in units of an even share among all parameters.
With it, a parameter is named for one in ten objectives that are pure chance."""
SUFFICIENT_SHARE = 0.5
"""Importance with which a parameter always stands out."""


def parameter_importances(
    records: Sequence[TrialRecord], objectives: Objectives, space: Space
) -> dict[str, dict[str, float]]:
    """Return for each objective the parameters that decide which trials are its best tenth.

    The importances of all parameters add up to 1. A parameter is returned if it has four times an
    even share in each of two halves of the trials, since in one set of trials chance alone makes
    some parameter look important. The most important comes first.

    A parameter that only some recipes have is judged within the trials that have it, weighted by
    how much more often these are among the best (PED-ANOVA: Watanabe et al., 2023,
    arXiv:2304.10255; conditional: arXiv:2601.20800; computed by Optuna). Other evaluators drop
    every parameter that one trial lacks, which is most of a space of optional steps.

    Returns:
        Importances by objective and parameter; empty with fewer than 20 measured trials.

    Raises:
        ValueError: a measured trial lacks an objective.
    """
    measured = [record for record in records if record.status == "ok"]
    if len(measured) < MIN_TRIALS:
        return {}
    ranges = distributions(space)
    halves = [_study(measured[first::2], objectives, ranges) for first in (0, 1)]
    return {name: _outstanding(place, halves) for place, name in enumerate(objectives)}


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """Return the ranges of a space as Optuna's distributions, by parameter."""
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
    """Return an Optuna study of trials, with every objective as a cost."""
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


def _outstanding(place: int, halves: Sequence[optuna.Study]) -> dict[str, float]:
    """Return the mean importances of the parameters that stand out in every half."""
    found = [_shares(place, study) for study in halves]
    common = set.intersection(*(set(shares) for shares in found))
    means = {
        name: sum(shares[name] for shares in found) / len(found)
        for name in common
        if all(shares[name] >= _threshold(shares) for shares in found)
    }
    return dict(sorted(means.items(), key=lambda item: (-item[1], item[0])))


def _threshold(shares: Mapping[str, float]) -> float:
    return min(SUFFICIENT_SHARE, MIN_RELATIVE_SHARE / len(shares))


def _shares(place: int, study: optuna.Study) -> dict[str, float]:
    """Return the importance of each parameter for one objective, by the objective's place."""
    # The evaluator imports scikit-learn, which takes a second and which nothing else here needs.
    from optuna.importance import PedAnovaImportanceEvaluator

    quantile = max(TOP_SHARE, MIN_TOP_TRIALS / len(study.get_trials(deepcopy=False)))
    evaluator = PedAnovaImportanceEvaluator(target_quantile=quantile)
    with warnings.catch_warnings():
        # Optuna warns of parameters that fewer than two trials have; it gives them no importance.
        warnings.filterwarnings("ignore", message="Some regimes for parameter")
        # Optuna warns that small values count as good: the objectives are costs here.
        warnings.filterwarnings("ignore", message="PedAnovaImportanceEvaluator computes")
        found = evaluator.evaluate(study, target=lambda trial: float(trial.values[place]))
    total = sum(found.values())
    return {name: value / total for name, value in found.items()} if total > 0 else {}
