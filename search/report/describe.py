"""Trials and layers in a few words, for tables, pictures, run names and messages."""

from collections.abc import Mapping
from typing import Any

from search.trial_record import TrialRecord

SHORT_FORM_FIELDS = ("ratio", "clusters", "bits", "epochs")
"""Fields whose value stands for a whole step; the first one that a step has is shown."""
MAX_LAYERS_NAMED = 8
"""Layers that are named for one reason at most."""


def describe(record: TrialRecord) -> str:
    """Return the recipe of a trial as `prune .40 · sparsify .90 · share 16`.

    Steps that do nothing are left out; a recipe of such steps alone is `baseline` for trial 0
    and `unchanged` for any other.
    """
    steps = _joined(record.recipe.get("steps", {}))
    words = [step_words(name, values) for name, values in steps.items()]
    text = " · ".join(word for word in words if word)
    return text or ("baseline" if record.origin == "baseline" else "unchanged")


def shortened(recipe: str, width: int) -> str:
    """Return a described recipe in at most some columns, without its last steps: `prune .40 · …`.

    A first step that does not fit loses its last words, and is an ellipsis alone at the worst.
    """
    if len(recipe) <= width:
        return recipe
    for separator, end in ((" · ", " · …"), (" ", " …")):
        kept = recipe
        while separator in kept:
            kept = kept.rpartition(separator)[0]
            if len(kept) + len(end) <= width:
                return kept + end
    return "…"


def _joined(steps: Mapping[str, Any]) -> dict[str, Any]:
    """Return the steps of a recipe with the parts of a divided recovery as one step."""
    joined: dict[str, Any] = {}
    for name, values in steps.items():
        whole, _, part = name.rpartition(".")
        if part.isdigit() and whole in joined:
            epochs = round(joined[whole]["epochs"] + values["epochs"], 2)
            joined[whole] = {**joined[whole], "epochs": epochs}
        else:
            joined[name] = values
    return joined


def last_line(error: str) -> str:
    """Return the last line of a traceback that is not blank; nothing if there is none."""
    lines = [line.strip() for line in error.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def step_words(name: str, values: Mapping[str, Any]) -> str:
    """Return a step's name and main value, or nothing if that value makes the step inactive."""
    numbers = {
        field: value
        for field, value in values.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    }
    known = [field for field in SHORT_FORM_FIELDS if field in values]
    field = known[0] if known else next(iter(numbers), None)
    if field is None:
        return name
    if field not in numbers:
        return f"{name} {values[field]}" if isinstance(values[field], str) else ""
    return f"{name} {_short(numbers[field])}" if numbers[field] else ""


def _short(value: float) -> str:
    """Return a count as it is and a ratio as `.40`."""
    if isinstance(value, int) or value == int(value):
        return str(int(value))
    if abs(value) < 1:
        return f"{value:.2f}".replace("0.", ".", 1)
    return f"{value:.3g}"


def by_reason(layers: Mapping[str, str]) -> dict[str, str]:
    """Return the layers by reason instead of the reasons by layer, at most eight names for one."""
    found: dict[str, list[str]] = {}
    for layer, reason in layers.items():
        found.setdefault(reason, []).append(layer)
    return {
        reason: ", ".join(names[:MAX_LAYERS_NAMED])
        + (f" and {len(names) - MAX_LAYERS_NAMED} more" if len(names) > MAX_LAYERS_NAMED else "")
        for reason, names in found.items()
    }
