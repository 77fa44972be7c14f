"""The levels of a step: a few values of the field that makes it act, from low to high."""

from collections.abc import Mapping

from search.proposal.acting_steps import main_range
from search.recipe.ranges import Range
from search.recipe.space import StepSpace
from search.recipe.step_values import acting_compressor
from search.trial_record import Value

MAX_LEVELS = 3


def levels(step: StepSpace) -> list[Mapping[str, Value]]:
    """Return the levels of a step at which it acts, each as its value by field."""
    field, span = main_range(step)
    if span is None:
        return [{}]
    found = [{field: value} for value in _evenly_spaced(span)]
    return [values for values in found if acting_compressor(step, values).active]


def _evenly_spaced(span: Range) -> list[Value]:
    """Return up to `MAX_LEVELS` values of a range, evenly spaced from end to end."""
    last = MAX_LEVELS - 1
    if span.kind == "categorical":
        places = {round(k * (len(span.choices) - 1) / last) for k in range(MAX_LEVELS)}
        return [span.choices[place] for place in sorted(places)]
    return list(dict.fromkeys(span.interpolate(k / last) for k in range(MAX_LEVELS)))
