"""What earlier trials have shown, and whether a trial may go on beside them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from search.config.constraints import Constraint
from search.pareto.ranking import passes, rung_costs
from search.recipe.rungs import Rungs
from search.trial.relative_drop import relative_drop
from search.trial_record import KNOWN_MODEL, ModelEstimate

MAX_SIZE_ERROR = 1.15
"""Factor by which an estimated size may differ from the true one."""
MIN_OPERATIONS_GAIN = 1.1
"""Factor of fewer operations that is taken as less latency."""
SCORE_ERRORS = 1.0
"""Standard errors by which the score of a file may be better than that of the model in memory."""


@dataclass(frozen=True, kw_only=True)
class FrontMember:
    """A trial of the front with its metrics."""

    number: int
    metrics: Mapping[str, float]
    """The objectives, macs and integer_operators."""


@dataclass(frozen=True, kw_only=True)
class Screen:
    """What earlier trials have shown, sent along with the request of a trial."""

    rungs: Rungs
    objectives: Mapping[str, str]
    constraints: tuple[Constraint, ...]
    baseline: Mapping[str, float]
    """The metrics of the uncompressed model."""
    maximize: bool
    """True if a higher score is better."""
    refuse_early: bool = True
    """Whether a trial is stopped before its training if it breaks a constraint at best."""
    paid: bool = False
    """Whether an earlier trial had the same training, which then costs nothing."""
    peers: Sequence[Sequence[Sequence[float]]] = ()
    """By rung, the costs of earlier trials there."""
    front: Sequence[FrontMember] = ()
    seen: Mapping[str, int] = field(default_factory=dict)
    """By digest of an untrained model and its training to come, the trial that had it."""

    def refusal(self, estimate: ModelEstimate, digest: str) -> str:
        """Return why a trial cannot gain anything; empty if it may.

        Args:
            estimate: The model without training.
            digest: Digest of that model and of the training to come.
        """
        if digest in self.seen:
            return f"{KNOWN_MODEL} {self.seen[digest]}"
        return self._violation(self._best_case(estimate)) if self.refuse_early else ""

    def futility(self, estimate: ModelEstimate) -> str:
        """Return why a model with a score gains nothing; empty if it may."""
        best_case = self._best_case(estimate)
        if reason := self._violation(best_case):
            return reason
        for member in self.front:
            if self._beats(member.metrics, best_case, estimate):
                return f"trial {member.number} is better than this one can become"
        return ""

    def stop(self, estimate: ModelEstimate, rung: int) -> str:
        """Return why a trial is stopped at a rung, from 0; empty if it goes on."""
        peers = self.peers[rung] if rung < len(self.peers) else []
        costs = rung_costs(estimate, list(self.objectives))
        if passes(costs, peers, self.rungs.factor):
            return ""
        best, share = f"1/{self.rungs.factor:g}", self.rungs.shares[rung]
        return f"not in the best {best} of {len(peers) + 1} at {share:.0%} of its training"

    def to_data(self) -> dict[str, Any]:
        """Return the screen as plain data."""
        return asdict(self)

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Self:
        """Return the screen that `to_data` described."""
        typed = {
            "rungs": Rungs(**data["rungs"]),
            "constraints": tuple(Constraint(**constraint) for constraint in data["constraints"]),
            "front": tuple(FrontMember(**member) for member in data["front"]),
        }
        return cls(**{**data, **typed})

    def _violation(self, best_case: Mapping[str, float]) -> str:
        """Return which constraint is broken at best; empty if none that can be judged is."""
        for constraint in self.constraints:
            if constraint.metric in best_case and constraint.violation(best_case) > 0:
                best = best_case[constraint.metric]
                return f"{constraint.metric} {best:.3g} at best, not {constraint}"
        return ""

    def _best_case(self, estimate: ModelEstimate) -> dict[str, float]:
        """Return the best values that the metrics can have, as far as they can be estimated."""
        size = estimate.estimated_bytes / MAX_SIZE_ERROR
        structure = {
            "size_bytes": size,
            "size_ratio": size / self.baseline["run_bytes"],
            "macs": estimate.macs,
            "parameters": estimate.parameters,
            "nonzeros": estimate.nonzeros,
        }
        if estimate.score is None or estimate.score_standard_error is None:
            return structure
        sign = 1 if self.maximize else -1
        score = estimate.score + sign * SCORE_ERRORS * estimate.score_standard_error
        drop = sign * (self.baseline["score"] - score)
        relative = relative_drop(drop, self.baseline["score"])
        return {**structure, "score": score, "score_drop": drop, "relative_drop": relative}

    def _beats(
        self, member: Mapping[str, float], best_case: Mapping[str, float], estimate: ModelEstimate
    ) -> bool:
        """Whether a member of the front is better in all objectives, which can all be compared."""
        return all(
            self._faster(member, estimate)
            if name.startswith("latency")
            else name in best_case and _as_good(member[name], best_case[name], direction)
            for name, direction in self.objectives.items()
        )

    @staticmethod
    def _faster(member: Mapping[str, float], estimate: ModelEstimate) -> bool:
        """Whether a member of the front is faster, judged by MACs of the same kind of operators."""
        alike = (member["integer_operators"] > 0) == estimate.integers
        return alike and member["macs"] * MIN_OPERATIONS_GAIN <= estimate.macs


def _as_good(value: float, other: float, direction: str) -> bool:
    return value >= other if direction == "maximize" else value <= other
