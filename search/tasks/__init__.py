"""The user's side of a study: a trained model, data, a loss and a score.

A `task` node of the configuration comes in, an `EvaluatedTask` goes out: what compressors may see
of it, and held-out data that only the search sees. The tasks that come along live here too.
"""

__all__ = [
    "data_identity",
    "digits",
    "free_axes",
    "loading",
    "mnist",
    "repeatability",
    "task",
    "workloads",
]
