"""Whether the front beats the recipes that anybody would try without a search."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from search.pareto.front import Objectives, cost_matrix
from search.trial_record import TrialRecord

REFERENCE_PREFIX = "rival:"
"""First part of the stored origin of a reference recipe; its name follows."""


@dataclass(frozen=True, kw_only=True)
class ReferenceComparison:
    """The trial of a reference recipe, and the member of the front that beats it, if one does."""

    reference: TrialRecord
    winner: TrialRecord | None

    @property
    def name(self) -> str:
        """Name of the reference recipe."""
        return self.reference.origin.removeprefix(REFERENCE_PREFIX)


def compare_with_references(
    records: Sequence[TrialRecord], front: Sequence[TrialRecord], objectives: Objectives
) -> list[ReferenceComparison]:
    """Compare the front with every reference recipe, in order of trial numbers.

    A member beats a reference if it is at least as good in every objective and better in one; of
    several members the best by the first objective is the winner. A reference without metrics has
    no winner. A reference that breaks a constraint is compared by its metrics all the same.

    Raises:
        ValueError: a measured trial lacks an objective.
    """
    references = [r for r in records if r.origin.startswith(REFERENCE_PREFIX)]
    return [
        ReferenceComparison(reference=reference, winner=_winner(reference, front, objectives))
        for reference in sorted(references, key=lambda record: record.number)
    ]


def _winner(
    reference: TrialRecord, front: Sequence[TrialRecord], objectives: Objectives
) -> TrialRecord | None:
    if reference.status != "ok" or not front:
        return None
    gains = cost_matrix([reference], objectives) - cost_matrix(front, objectives)
    beats = np.flatnonzero((gains >= 0).all(axis=1) & (gains > 0).any(axis=1))
    return front[beats[0]] if len(beats) else None
