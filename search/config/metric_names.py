"""The metrics of a trial by name: each may be an objective or have a bound."""

from collections.abc import Iterable
from difflib import get_close_matches

from search.errors import ConfigError

METRICS = {
    "score": "the task's score on validation data, of the reloaded artefact",
    "score_standard_error": "standard error of the score",
    "score_drop": "how much worse the score is than the baseline's",
    "relative_drop": "score_drop over the absolute baseline score; score_drop where that is 0",
    "nll": "the task's loss on validation data; for cross-entropy the negative log-likelihood",
    "size_bytes": "bytes of the packed file",
    "size_ratio": "bytes of the packed file over bytes of the baseline's fp32 ONNX file",
    "run_bytes": "bytes of the ONNX file",
    "latency_ms": "median CPU time of one inference in milliseconds",
    "latency_ratio": "latency over the baseline's, timed in turns in the same process",
    "latency_spread": "uncertainty of the latency ratio",
    "macs": "multiply-accumulates of one example",
    "parameters": "number of parameters",
    "nonzeros": "number of parameters that are not zero",
    "integer_operators": "layers of the ONNX file that run in integers",
    "fidelity_db": "signal-to-noise ratio of the artefact's outputs against the model in memory",
}


def check_metric(place: str, name: str, known: Iterable[str] = METRICS) -> None:
    """Check that a metric of this name is measured.

    Args:
        place: The configuration key that names the metric, for the message.
        name: The name to check.
        known: The names of all metrics.

    Raises:
        ConfigError: There is no such metric; the message gives the nearest name.
    """
    names = list(known)
    if name not in names:
        close = get_close_matches(name, names, n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"choose one of {', '.join(names)}"
        raise ConfigError(f"{place}: there is no metric '{name}'; {hint}")
