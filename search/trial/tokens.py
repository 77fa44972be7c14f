"""How many tokens a language model reads in a second, where the task has one."""

from search.tasks.free_axes import named_tensors
from search.tasks.task import EvaluatedTask
from search.trial.latency import Latency


def tokens_per_example(task: EvaluatedTask) -> int:
    """Return the tokens T of one example of a task whose model gives classes for each token.

    Such a model has an input of integers `[B, T]`, and its distilled output is `[B, T, V]` with
    classes on the last axis. For any other model it is 0.
    """
    tensors = named_tensors(task.example).values()
    lengths = {
        tensor.shape[1]
        for tensor in tensors
        if tensor.ndim == 2 and not (tensor.is_floating_point() or tensor.is_complex())
    }
    if not lengths:
        return 0
    logits = task.outputs.select(task.outputs_like)
    by_token = task.outputs.kind == "classes" and logits.ndim == 3 and task.outputs.axis in (-1, 2)
    return logits.shape[1] if by_token and logits.shape[1] in lengths else 0


def tokens_per_second(tokens: int, batch_size: int, latency: Latency) -> dict[str, float]:
    """Return the tokens per second of CPU time of both files, by the names of the metrics.

    Args:
        tokens: Tokens of one example; with 0 the result is empty.
        batch_size: Examples per timed call.
        latency: The time of a call of either file, measured in turns.
    """
    if tokens == 0:
        return {}
    return {
        "tokens_per_second": 1e3 * tokens * batch_size / latency.latency_ms,
        "baseline_tokens_per_second": 1e3 * tokens * batch_size / latency.baseline_latency_ms,
    }
