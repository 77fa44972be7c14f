"""Whether the front beats what one would do without a search."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from search.pareto.front import Objectives, cost_matrix
from search.trial_record import TrialRecord

RIVAL = "rival:"
"""How the labels of trivial recipes begin; what follows says what they are."""


@dataclass(frozen=True, kw_only=True)
class ReferenceComparison:
    """A trivial recipe, and the member of the front that beats it, if one does."""

    rival: TrialRecord
    winner: TrialRecord | None

    @property
    def name(self) -> str:
        """What the rival is."""
        return self.rival.origin.removeprefix(RIVAL)


def comparisons(
    records: Sequence[TrialRecord], front: Sequence[TrialRecord], objectives: Objectives
) -> list[ReferenceComparison]:
    """Hold the front against every rival, in order of number.

    A member beats a rival if it is at least as good in every objective and better in one; of
    several the one that is best by the first objective is named. A rival without figures has no
    winner. A rival that breaks a constraint is compared by its figures all the same.

    Raises: ValueError if a measured trial lacks an objective.
    """
    rivals = sorted((r for r in records if r.origin.startswith(RIVAL)), key=lambda r: r.number)
    return [
        ReferenceComparison(rival=rival, winner=_winner(rival, front, objectives))
        for rival in rivals
    ]


def _winner(
    rival: TrialRecord, front: Sequence[TrialRecord], objectives: Objectives
) -> TrialRecord | None:
    if rival.status != "ok" or not front:
        return None
    gains = cost_matrix([rival], objectives) - cost_matrix(front, objectives)
    beats = np.flatnonzero((gains >= 0).all(axis=1) & (gains > 0).any(axis=1))
    return front[beats[0]] if len(beats) else None
