"""Say in one sentence why an exporter refuses a model."""

import re
from collections.abc import Iterator

SENTENCES = (
    (
        r"adaptive_\w+pool\w*, output size that are not factor",
        "adaptive pooling to a size that is no factor of its input's size; pool with a fixed "
        "kernel and stride instead",
    ),
    (
        r"adaptive_\w+pool\w*, since output_size is not constant|adaptive pooling, since",
        "adaptive pooling of an input whose size is free; pool to 1, or fix the size of the input",
    ),
    (
        r"inferred a static shape of (?P<size>\d+) for dimension "
        r"inputs\['(?P<name>\w+)'\]\.shape\[(?P<axis>\d+)\]",
        "the model's code fixes axis {axis} of {name} to {size}, as a Python loop over it does; "
        "write it as operations on whole tensors",
    ),
    (
        r"Exporting the operator '(?P<name>[\w:]+)' to ONNX",
        "it has no form of torch's operator {name}",
    ),
    (
        r"No ONNX function found for <OpOverload\(op='(?P<name>[\w.:]+)'",
        "it has no form of torch's operator {name}",
    ),
    (
        r"Could not guard on data-dependent|Could not extract specialized integer from data",
        "a branch or a loop of the model depends on values of its data; use torch.where or a "
        "fixed number of steps",
    ),
)
"""What exporters write, as patterns, and what it means; the first that matches is taken."""
MAX_LENGTH = 200
COLOUR = re.compile(r"\x1b\[\d+m")


def reason(error: BaseException) -> str:
    """Return in one sentence what an error of an exporter says.

    An exporter wraps its errors and adds advice to its own developers: the innermost error is
    taken, of which only the first line counts.
    """
    chain = list(_chain(error))
    text = COLOUR.sub("", "\n".join(map(str, chain)))
    for pattern, sentence in SENTENCES:
        found = re.search(pattern, text)
        if found:
            return sentence.format(**found.groupdict())
    line = next((line for line in str(chain[-1]).splitlines() if line.strip()), "no message")
    return f"{type(chain[-1]).__name__}: {line.strip()[:MAX_LENGTH]}"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
