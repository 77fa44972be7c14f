"""When a running study is expected to end."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from search.trial_record import TrialRecord

LATEST = 12
"""Trials whose mean duration is expected of those to come."""
FIRST_ORIGINS = ("baseline", "rival", "opening")
"""First words of the origins of trials that mostly train nothing, and come early."""


def seconds_to_end(
    records: Sequence[TrialRecord], trials: int, slots: int, seconds_left: float
) -> float | None:
    """Return the seconds until a study ends; None as long as no trial tells.

    Args:
        records: Finished trials in order of number, those of earlier launches too.
        trials: Trials that the study shall have.
        slots: Trials that run at once.
        seconds_left: Until no trial shall run any more; infinite for no limit.
    """
    later = [r for r in records if r.origin.partition(":")[0] not in FIRST_ORIGINS]
    took = [record.finished - record.started for record in later[-LATEST:]]
    if not took:
        return None
    needed = (trials - len(records)) * sum(took) / len(took) / min(slots, trials)
    return min(needed, max(0.0, seconds_left))


def clock(seconds: float) -> str:
    """Return the time of the day in some seconds, with the date if it is another day."""
    now = datetime.now().astimezone()
    then = now + timedelta(seconds=seconds)
    return f"{then:%H:%M}" if then.date() == now.date() else f"{then:%Y-%m-%d %H:%M}"
