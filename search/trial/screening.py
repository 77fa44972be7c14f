"""Whether a trial may go on, judged by what is known before it is trained and measured in full."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from search.config.constraints import Constraint, parse_constraints
from search.pareto.ranking import passes, rung_costs
from search.recipe.rungs import Rungs
from search.trial_record import KNOWN_MODEL

SURE = 1.15
"""How far beside the truth an estimated size may lie, as a factor."""
SURE_OPERATIONS = 1.1
"""By this factor fewer operations are taken as less latency."""
ERRORS = 1.0
"""Standard errors by which the score of a file may be better than that of the model in memory."""


@dataclass(frozen=True, kw_only=True)
class Screen:
    """What earlier trials have shown, as it is sent along with a trial."""

    rungs: Rungs
    objectives: Mapping[str, str]
    constraints: tuple[Constraint, ...]
    baseline: Mapping[str, float]
    maximize: bool
    refuse_early: bool = True
    paid: bool = False
    """Whether an earlier trial had the same training, so that it costs nothing more."""
    peers: Sequence[Sequence[Sequence[float]]] = ()
    """By rung, what earlier trials cost there."""
    front: Sequence[Mapping[str, float]] = ()
    """The metrics of the front so far, with the number of the trial as `trial`."""
    seen: Mapping[str, int] = field(default_factory=dict)
    """By the digest of the untrained model and what shall come, the trial that had it."""

    def refusal(self, figures: Mapping[str, Any], digest: str) -> str:
        """Return why a trial cannot pay; empty if it may.

        Args:
            figures: Of the model without training.
            digest: Of that model and of the training that shall come.
        """
        if digest in self.seen:
            return f"{KNOWN_MODEL} {self.seen[digest]}"
        return self._violation(self._hoped(figures)) if self.refuse_early else ""

    def futility(self, figures: Mapping[str, Any]) -> str:
        """Return why a model with a score gains nothing; empty if it may."""
        hoped = self._hoped(figures)
        if reason := self._violation(hoped):
            return reason
        for member in self.front:
            if self._beats(member, hoped, figures):
                return f"trial {member['trial']:.0f} is better than this one can become"
        return ""

    def stop(self, figures: Mapping[str, Any], rung: int) -> str:
        """Return why a trial is stopped at a rung; empty if it goes on."""
        peers = self.peers[rung] if rung < len(self.peers) else []
        if passes(rung_costs(figures, list(self.objectives)), peers, self.rungs.factor):
            return ""
        best, share = f"1/{self.rungs.factor:g}", self.rungs.shares[rung]
        return f"not in the best {best} of {len(peers) + 1} at {share:.0%} of its training"

    def _violation(self, hoped: Mapping[str, float]) -> str:
        """Return which bound is broken at best; empty if none of those that can be judged is."""
        for constraint in self.constraints:
            if constraint.metric in hoped and constraint.violation(hoped) > 0:
                best = hoped[constraint.metric]
                return f"{constraint.metric} {best:.3g} at best, not {constraint}"
        return ""

    def _hoped(self, figures: Mapping[str, Any]) -> dict[str, float]:
        """Return the best that the metrics can be, those of which something is known."""
        size = figures["estimated_bytes"] / SURE
        hoped = {
            "size_bytes": size,
            "size_ratio": size / self.baseline["run_bytes"],
            "macs": figures["macs"],
            "parameters": figures["parameters"],
            "nonzeros": figures["nonzeros"],
        }
        if "score" not in figures:
            return hoped
        sign = 1 if self.maximize else -1
        score = figures["score"] + sign * ERRORS * figures["score_standard_error"]
        drop = sign * (self.baseline["score"] - score)
        relative = drop / abs(self.baseline["score"])
        return {**hoped, "score": score, "score_drop": drop, "relative_drop": relative}

    def _beats(
        self, member: Mapping[str, float], hoped: Mapping[str, float], figures: Mapping[str, Any]
    ) -> bool:
        """Whether a member of the front is better in all that can be compared."""
        for name, way in self.objectives.items():
            if name.startswith("latency"):
                alike = (member["integer_operators"] > 0) == figures["integers"]
                better = alike and member["macs"] * SURE_OPERATIONS <= figures["macs"]
            elif name not in hoped:
                return False
            elif way == "maximize":
                better = member[name] >= hoped[name]
            else:
                better = member[name] <= hoped[name]
            if not better:
                return False
        return True


def read_screen(data: Mapping[str, Any]) -> Screen:
    """Return the screen that plain data describe."""
    return Screen(
        **{
            **data,
            "rungs": Rungs(**data["rungs"]),
            "constraints": parse_constraints(data["constraints"]),
        }
    )
