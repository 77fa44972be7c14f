"""The way of one trial: from a recipe to the metrics of what would ship.

Requests come in from the driver (`messages`), `jobs` answers them: `screening` stops the trials
that `screen` finds weak, `compress` applies the steps, `evaluate` writes, reloads and measures the
artefact. Replies go out.
"""

__all__ = [
    "baseline",
    "compress",
    "evaluate",
    "latency",
    "messages",
    "prefix_cache",
    "scoring",
    "screen",
]
