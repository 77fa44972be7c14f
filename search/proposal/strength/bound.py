"""How much of the loss of score that a study allows a trial has used up."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from search.config.constraints import Constraint
from search.pareto.hypervolume import SCORE_TOLERANCE
from search.trial_record import TrialRecord


@dataclass(frozen=True, kw_only=True)
class ScoreBound:
    """The loss of score that a study allows, from its constraints."""

    constraints: Sequence[Constraint]
    baseline: Mapping[str, float]
    """The metrics of the uncompressed model."""

    def used(self, record: TrialRecord) -> float:
        """Return the share of the bound that a trial uses: 0 for no loss, above 1 beyond it.

        It is infinite for a trial without metrics, and for a bound that allows no loss at all.
        Where no constraint bounds the score, the loss at which the hypervolume ends is the bound.
        """
        if record.status != "ok":
            return float("inf")
        shares = [
            _share(constraint, record.metrics, self.baseline["score"])
            for constraint in self.constraints
        ]
        known = [share for share in shares if share is not None]
        return max(known, default=max(0.0, record.metrics["relative_drop"] / SCORE_TOLERANCE))


def _share(constraint: Constraint, metrics: Mapping[str, float], baseline: float) -> float | None:
    """Return the share of one constraint's bound; None if it does not bound the score."""
    if constraint.metric in ("relative_drop", "score_drop"):
        lost, allowed = metrics[constraint.metric], constraint.bound
    elif constraint.metric == "score":
        lost, allowed = abs(baseline - metrics["score"]), abs(baseline - constraint.bound)
        lost = lost if metrics["score_drop"] > 0 else 0.0
    else:
        return None
    if lost <= 0:
        return 0.0
    return lost / allowed if allowed > 0 else float("inf")
