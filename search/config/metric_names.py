"""The metrics of a trial by name: each may be an objective or have a bound."""

from collections.abc import Iterable
from difflib import get_close_matches

from search.errors import ConfigError
from search.utils.annotation_check import shown

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
    "tokens_per_second": "tokens that a language model reads in a second of CPU time; only where "
    "integers [B, T] give classes [B, T, V]",
    "baseline_tokens_per_second": "the same of the baseline's ONNX file, timed in turns",
    "macs": "multiply-accumulates of one example",
    "bops": "bit operations of one example: multiply-accumulates x weight bits x activation bits "
    "of each layer as the ONNX file runs it, 32 x 32 for floats",
    "bops_ratio": "bit operations over those of the baseline's fp32 ONNX file",
    "bits_per_weight": "bits of the packed file over the number of the baseline's parameters",
    "parameters": "number of parameters",
    "nonzeros": "number of parameters that are not zero",
    "integer_operators": "layers of the ONNX file that run in integers",
    "fidelity_db": "signal-to-noise ratio of the artefact's outputs against the model in memory",
}

TOKEN_METRICS = ("tokens_per_second", "baseline_tokens_per_second")
"""What is measured of models that give classes for each token, and of no others."""


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
        raise ConfigError(f"{place:.80}: there is no metric {shown(name)}; {hint}")
