"""The plan of a study in words."""

import time

from search.proposal.acting_steps import longest_recovery
from search.proposal.plan import Plan
from search.study.baseline_intake import PreparedStudy
from search.study.progress.expected_end import clock


def plan_line(plan: Plan, prepared: PreparedStudy, deadline: float) -> str:
    """Return what the study does until its end, and when that is.

    Args:
        plan: A plan whose last part is a finish.
        prepared: The costs that were measured.
        deadline: On the monotonic clock in seconds.
    """
    assert prepared.costs is not None
    full = prepared.costs.epoch * longest_recovery(prepared.space)
    left = deadline - time.monotonic()
    finish = max(0.0, left - plan.finishing_seconds)
    return (
        f"a full recovery takes about {full:.0f} s: recoveries of {plan.short * full:.0f} s until "
        f"{clock(finish)}, then the most promising go on for {plan.long * full:.0f} s each; "
        f"ends about {clock(left)}"
    )
