"""Records of trials that were never run, for tests of what is decided from them."""

from collections.abc import Mapping
from typing import Any

from search.trial_record import TrialRecord

BASELINE_SCORE = 0.9
BASELINE = {"score": BASELINE_SCORE, "run_bytes": 1000.0}


def trial(number: int, origin: str = "sampled", drop: float = 0.0, **changes: Any) -> TrialRecord:
    """Return a measured trial whose score is a share `drop` of the baseline's below it."""
    metrics = {
        "score": BASELINE_SCORE * (1 - drop),
        "score_drop": BASELINE_SCORE * drop,
        "relative_drop": drop,
        "size_bytes": 1000.0,
        "latency_ratio": 1.0,
        **changes.pop("metrics", {}),
    }
    values: Mapping[str, Any] = {
        "number": number,
        "status": "ok",
        "origin": origin,
        "seed": 0,
        "params": {},
        "recipe": {"seed": 0, "steps": {}},
        "recipe_hash": f"h{number}",
        "metrics": metrics,
        "started": 0.0,
        "finished": 1.0,
    }
    return TrialRecord(**{**values, **changes})
