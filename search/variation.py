"""Recipes near those that have proved themselves: another end, or one step exchanged."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from search.recipe import recipe_from_data
from search.record import TrialRecord, Value
from search.rungs import trained_until
from search.seeds import derived_seed
from search.space import Space

Params = Mapping[str, Value]
MOST = 20
"""So many pairs of a front are looked at for one that is new."""


def variations(space: Space, front: Sequence[TrialRecord], seed: int) -> Iterator[dict[str, Value]]:
    """Yield the parameters of recipes that begin as one member of the front and end as another.

    Up to the end of its training a recipe is a member that was trained; what comes after, the
    encoding and its tuning, is another member's. The training is known and costs nothing more.
    At most `MOST` pairs come, in an order drawn with the seed.
    """
    trained = [member for member in front if member.training]
    ends = [member for member in front if member.label != "baseline"]
    pairs = [(one, other) for one in trained for other in ends if one is not other]
    order = np.random.default_rng(derived_seed(seed)).permutation(len(pairs))
    for place in order[:MOST]:
        yield crossed(space, pairs[place][0], pairs[place][1].params)


def exchanged(
    space: Space, front: Sequence[TrialRecord], sampled: Params, seed: int
) -> dict[str, Value] | None:
    """Return the parameters of a trained member of the front with one step as it was sampled.

    Member and step are drawn with the seed. None if no member was trained.
    """
    trained = [member for member in front if member.training]
    if not trained:
        return None
    drawn = np.random.default_rng(derived_seed(seed))
    parent = trained[int(drawn.integers(len(trained)))]
    exclusive = {name for members in space.choices.values() for name in members}
    groups = [{name, *members} for name, members in space.choices.items()]
    groups += [{name} for name in space.steps if name not in exclusive]
    replaced = groups[int(drawn.integers(len(groups)))]
    params = {n: v for n, v in parent.params.items() if n.partition(".")[0] not in replaced}
    return params | {n: v for n, v in sampled.items() if n.partition(".")[0] in replaced}


def crossed(space: Space, parent: TrialRecord, other: Params) -> dict[str, Value]:
    """Return a member's parameters up to the end of its training, and others from there on."""
    kept = _trained_steps(space, parent)
    params = {n: v for n, v in other.items() if n.partition(".")[0] not in kept}
    return params | {n: v for n, v in parent.params.items() if n.partition(".")[0] in kept}


def _trained_steps(space: Space, member: TrialRecord) -> set[str]:
    """Return a trained member's steps up to the end of that, and the choices between them."""
    recipe = recipe_from_data(member.recipe)
    last = recipe.steps[trained_until(recipe) - 1].name.partition(".")[0]
    order = list(space.steps)
    kept = set(order[: order.index(last) + 1])
    shared = {choice: members for choice, members in space.choices.items() if kept & set(members)}
    return kept.union(shared, *shared.values())
