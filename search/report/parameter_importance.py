"""Importance of each parameter for each objective, estimated from the finished trials."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

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
from search.report.significance import LEVEL, chance_of_at_least, groups_differ
from search.trial_record import TrialRecord

MIN_TRIALS = 20
"""Measured trials below which no importance is estimated."""
TOP_SHARE = 0.1
"""Share of the trials that count as the best."""
MIN_TOP_TRIALS = 4
"""Trials that count as the best at least."""


def parameter_importances(
    records: Sequence[TrialRecord], objectives: Objectives, space: Space
) -> dict[str, dict[str, float]]:
    """Return for each objective the parameters in which its best tenth of trials differs.

    A parameter is returned if its values in the best trials differ from those in the others beyond
    chance: for all parameters and objectives together, see `significance`. The importances
    of all parameters, those left out too, add up to 1. The most important comes first.

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
    study = _study(measured, objectives, ranges)
    level = LEVEL / (len(objectives) * max(1, len(ranges)))
    found = {}
    for place, name in enumerate(objectives):
        differ = [n for n, span in ranges.items() if _differs(_sides(n, place, study), span, level)]
        shares = _shares(place, study) if differ else {}
        known = [(parameter, shares[parameter]) for parameter in differ if parameter in shares]
        found[name] = dict(sorted(known, key=lambda item: (-item[1], item[0])))
    return found


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


def _top(study: optuna.Study) -> int:
    """Return how many trials count as the best."""
    return max(MIN_TOP_TRIALS, round(TOP_SHARE * len(study.get_trials(deepcopy=False))))


def _sides(parameter: str, place: int, study: optuna.Study) -> tuple[list[Any], list[Any]]:
    """Return the values of a parameter in the best trials, and in the others, that have it."""
    ranked = sorted(study.get_trials(deepcopy=False), key=lambda trial: trial.values[place])
    best, others = ranked[: _top(study)], ranked[_top(study) :]
    best_values, other_values = (
        [trial.params[parameter] for trial in side if parameter in trial.params]
        for side in (best, others)
    )
    return best_values, other_values


def _differs(
    sides: tuple[Sequence[Any], Sequence[Any]], span: BaseDistribution, level: float
) -> bool:
    """Tell whether values of a parameter in the best trials differ from those in the others."""
    best, others = sides
    if not isinstance(span, CategoricalDistribution):
        return groups_differ(best, others, least=MIN_TOP_TRIALS, level=level)
    chances = [
        chance_of_at_least(
            best.count(choice),
            len(best),
            of=best.count(choice) + others.count(choice),
            total=len(best) + len(others),
        )
        for choice in span.choices
    ]
    return min(chances) <= level / len(chances)


def _shares(place: int, study: optuna.Study) -> dict[str, float]:
    """Return the importance of each parameter for one objective, by the objective's place."""
    # The evaluator imports scikit-learn, which takes a second and which nothing else here needs.
    from optuna.importance import PedAnovaImportanceEvaluator

    quantile = _top(study) / len(study.get_trials(deepcopy=False))
    evaluator = PedAnovaImportanceEvaluator(target_quantile=quantile)
    with warnings.catch_warnings():
        # Optuna warns of parameters that fewer than two trials have; it gives them no importance.
        warnings.filterwarnings("ignore", message="Some regimes for parameter")
        # Optuna warns that small values count as good: the objectives are costs here.
        warnings.filterwarnings("ignore", message="PedAnovaImportanceEvaluator computes")
        found = evaluator.evaluate(study, target=lambda trial: float(trial.values[place]))
    total = sum(found.values())
    return {name: value / total for name, value in found.items()} if total > 0 else {}
