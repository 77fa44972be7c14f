"""Finished trials of a small study, for the tests of tables, texts and pictures."""

from search.pareto.front import pareto_front
from search.trial_record import TrialRecord

OBJECTIVES = {"score": "maximize", "size_bytes": "minimize", "latency_ratio": "minimize"}


def trial(number, *, status="ok", params=None, steps=None, **changes):
    metrics = {
        "score": 0.98 - 0.004 * number,
        "score_standard_error": 0.007,
        "score_drop": 0.004 * number,
        "size_bytes": 100_000.0 / (number + 1),
        "run_bytes": 150_000.0 / (number + 1),
        "latency_ratio": 1.0 - 0.1 * number,
        "achieved/prune/parameters_removed": 0.1 * number,
        "seconds": 3.0,
    }
    fields = {
        "origin": "sampled" if number else "baseline",
        "seed": 7,
        "recipe": {"seed": 7, "steps": steps or {}},
        "recipe_hash": f"{number:04x}",
        "metrics": metrics if status == "ok" else {},
        "verdict": "size gain" if status == "ok" else "",
        "error": "" if status == "ok" else "Traceback\n  line 3\nValueError: broken\n",
        "started": 100.0,
        "finished": 104.0,
    }
    return TrialRecord(number=number, status=status, params=params or {}, **(fields | changes))


PRUNE = {"_target_": "compressors.channel_pruning.ChannelPruning", "ratio": 0.4, "round_to": 8}
SHARE = {"_target_": "compressors.weight_sharing.WeightSharing", "clusters": 16}
RECORDS = [
    trial(0),
    trial(1, params={"prune.ratio": 0.4, "encode": "share"}, steps={"prune": PRUNE}),
    trial(
        2, params={"prune.ratio": 0.2, "share.clusters": 16}, steps={"prune": PRUNE, "share": SHARE}
    ),
    trial(3, status="oom"),
    trial(4, violations={"score_drop": 0.1}),
]
FRONT = [record.number for record in pareto_front(RECORDS, OBJECTIVES)]
