"""Variations of members of the front: two recipes crossed, or one value of a recipe moved."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from search.recipe.recipe import recipe_from_data
from search.recipe.rungs import trained_until
from search.recipe.space import Space
from search.trial_record import TrialRecord, Value
from search.utils.seeds import derived_seed

Params = Mapping[str, Value]
MAX_VARIATIONS = 20
"""Number of variations that are offered for one trial, some of which may be known."""
MOVE_DEVIATION = 0.15
"""Standard deviation of a move as a share of the range."""


def crossings(space: Space, front: Sequence[TrialRecord], seed: int) -> Iterator[dict[str, Value]]:
    """Yield the parameters of recipes that begin like one member of the front and end like another.

    Up to the end of its training a recipe is that of a trained member; the encoding and its tuning
    are those of another member. The prefix cache then has the trained model already.

    Args:
        space: The space of recipes.
        front: The members of the front.
        seed: Determines the order of the pairs.

    Yields:
        The parameters of up to `MAX_VARIATIONS` recipes.
    """
    trained = [member for member in front if member.training]
    ends = [member for member in front if member.origin != "baseline"]
    pairs = [(one, other) for one in trained for other in ends if one is not other]
    order = np.random.default_rng(derived_seed(seed)).permutation(len(pairs))
    for place in order[:MAX_VARIATIONS]:
        yield crossed(space, pairs[place][0], pairs[place][1].params)


def mutations(space: Space, front: Sequence[TrialRecord], seed: int) -> Iterator[dict[str, Value]]:
    """Yield the parameters of members of the front with one value moved a little.

    The field that makes a step act is drawn as often as all its other fields together. Parameters
    that a step needs when it begins to act are left to the sampler.

    Args:
        space: The space of recipes.
        front: The members of the front.
        seed: Determines member, step, field and move.

    Yields:
        The parameters of `MAX_VARIATIONS` recipes, none without a member.
    """
    members = [member for member in front if member.origin != "baseline"]
    drawn = np.random.default_rng(derived_seed(seed))
    for _ in range(MAX_VARIATIONS if members else 0):
        params = members[int(drawn.integers(len(members)))].params
        choices = {name: [name] for name in space.choices if name in params}
        ranges = {
            step.name: [span.name for span in step.ranges.values() if span.name in params]
            for step in space.chosen_steps(params)
        }
        groups = [names for names in (*choices.values(), *ranges.values()) if names]
        names = groups[int(drawn.integers(len(groups)))]
        first = len(names) == 1 or drawn.random() < 0.5
        name = names[0] if first else names[int(drawn.integers(1, len(names)))]
        yield {**params, name: _moved(space, name, params[name], drawn)}


def _moved(space: Space, name: str, value: Value, drawn: np.random.Generator) -> Value:
    """Return a value near another in its range, or any other member of a choice."""
    spans = {span.name: span for step in space.steps.values() for span in step.ranges.values()}
    span = spans.get(name)
    if span is None or span.kind == "categorical":
        others = [v for v in (span.choices if span else space.choices[name]) if v != value]
        return others[int(drawn.integers(len(others)))] if others else value
    return span.interpolate(
        float(np.clip(span.fraction_of(value) + MOVE_DEVIATION * drawn.normal(), 0, 1))
    )


def crossed(space: Space, parent: TrialRecord, other: Params) -> dict[str, Value]:
    """Return a member's parameters up to the end of its training and others from there on."""
    kept = _trained_steps(space, parent)
    params = {n: v for n, v in other.items() if n.partition(".")[0] not in kept}
    return params | {n: v for n, v in parent.params.items() if n.partition(".")[0] in kept}


def _trained_steps(space: Space, member: TrialRecord) -> set[str]:
    """Return the steps of a member up to the end of its training, and the choices among them."""
    recipe = recipe_from_data(member.recipe)
    last = recipe.steps[trained_until(recipe) - 1].name.partition(".")[0]
    order = list(space.steps)
    kept = set(order[: order.index(last) + 1])
    shared = {choice: members for choice, members in space.choices.items() if kept & set(members)}
    return kept.union(shared, *shared.values())
