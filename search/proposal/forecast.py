"""How long a trial will take, from the costs of its parts and what earlier trials took."""

from collections.abc import Sequence
from statistics import median

from search.proposal.costs import Costs
from search.recipe.recipe import Recipe, recipe_from_data
from search.trial_record import TrialRecord

LATEST = 12
"""Trials from which the correction is taken: the machine's speed changes."""


def trial_seconds(costs: Costs, recipe: Recipe, records: Sequence[TrialRecord]) -> float:
    """Return the seconds that a recipe is expected to take.

    The costs were measured alone and on the uncompressed model; the median of the ratios of the
    latest trials corrects them.

    Args:
        costs: Measured in the preparation.
        recipe: The recipe to be run.
        records: Finished trials in order of number.
    """
    measured = [record for record in records if record.status == "ok"][-LATEST:]
    ratios = [
        (record.finished - record.started) / costs.seconds(recipe_from_data(record.recipe))
        for record in measured
    ]
    return costs.seconds(recipe) * (median(ratios) if ratios else 1.0)
