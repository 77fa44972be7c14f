"""How long a trial will take, from the costs of its parts and what earlier trials took."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from statistics import median

from search.proposal.costs import Costs, training_epochs
from search.recipe.recipe import Recipe, recipe_from_data
from search.trial_record import TrialRecord

LATEST = 12
"""Trials from which each correction is taken: the machine's speed changes."""


def trial_seconds(costs: Costs, recipe: Recipe, records: Sequence[TrialRecord]) -> float:
    """Return the seconds that a recipe is expected to take.

    The costs were measured alone and on the uncompressed model. Trials without training correct
    that of a file, the others that of an epoch; each by the median of what the latest ones took.

    Args:
        costs: Measured in the preparation.
        recipe: The recipe to be run.
        records: Finished trials in order of number.
    """
    took = [(epochs, r.finished - r.started) for epochs, r in _newly_trained(records)]
    files = [seconds for epochs, seconds in took if epochs == 0][-LATEST:]
    file = median(files) if files else costs.file
    epoch = [(seconds - file) / epochs for epochs, seconds in took if epochs > 0][-LATEST:]
    per_epoch = max(0.0, median(epoch)) if epoch else costs.epoch
    return replace(costs, file=file, epoch=per_epoch).seconds(recipe)


def _newly_trained(records: Sequence[TrialRecord]) -> Iterator[tuple[float, TrialRecord]]:
    """Yield measured trials with their epochs, without those whose training was known already."""
    known: set[str] = set()
    for record in records:
        if record.status == "ok" and record.training not in known:
            yield training_epochs(recipe_from_data(record.recipe)), record
            known |= {record.training} - {""}
