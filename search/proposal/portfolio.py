"""The portfolio: recipes of several compressors that go well together on most networks."""

from collections.abc import Mapping
from dataclasses import dataclass

from compressors.kinds import CompressorKind
from search.proposal.acting_steps import compressor_name, main_range, steps_of_kind
from search.recipe.ranges import Range
from search.recipe.space import Space, StepSpace
from search.recipe.step_values import StepValues
from search.trial_record import Value

ALIGNMENT = 8
"""Multiple of channels for which kernels are fast."""
ENCODING_SHARE = 1 / 4
"""Share of its range at which the encoding at the end of each recipe stands."""


@dataclass(frozen=True, kw_only=True)
class PortfolioRecipe:
    """Compressors that act together, before recovery and an encoding."""

    shares: Mapping[str, float]
    """By compressor, the share of the range of its main field."""
    aligned: bool = True
    """Whether channels stay multiples of `ALIGNMENT` where the space allows it."""


PORTFOLIO = (
    PortfolioRecipe(shares={"ChannelPruning": 1, "LowRank": 0.4}, aligned=False),
    PortfolioRecipe(shares={"LayerRemoval": 1, "ChannelPruning": 1}, aligned=False),
    PortfolioRecipe(shares={"LayerRemoval": 1, "ChannelPruning": 1}),
    PortfolioRecipe(shares={"LayerRemoval": 1, "ChannelPruning": 0.5, "LowRank": 0.2}),
    PortfolioRecipe(
        shares={"ChannelPruning": 1, "LowRank": 0.4, "WeightPruning": 0.6}, aligned=False
    ),
    PortfolioRecipe(shares={"LayerRemoval": 1, "ChannelPruning": 0.8, "LowRank": 0.2}),
    PortfolioRecipe(shares={"ChannelPruning": 2 / 3, "LowRank": 0.2, "WeightPruning": 0.6}),
    PortfolioRecipe(
        shares={"LayerRemoval": 1, "ChannelPruning": 0.5, "LowRank": 0.2, "WeightPruning": 0.8}
    ),
    PortfolioRecipe(shares={"LayerRemoval": 1 / 3, "ChannelPruning": 1 / 3, "LowRank": 0.2}),
)
"""A portfolio of first recipes (Feurer et al., 2022, arXiv:2007.04074), small models first, since
they train fastest; the first one makes any network small, also one without blocks to remove. Ranks
are allocated to layers by measured sensitivity where the space allows it: the same loss of energy
in every layer left LeNet-5 and the digits' network larger and worse."""


def portfolio_steps(space: Space) -> list[StepValues]:
    """Return the recipes of the portfolio as the steps that act; a recipe without any is left out.

    The present compressors are followed by all recoveries and the first encoding.
    """
    return [acting for recipe in PORTFOLIO if (acting := _steps_of(space, recipe))]


def _steps_of(space: Space, recipe: PortfolioRecipe) -> StepValues:
    """Return the steps of a recipe that act; empty if the space has none of its compressors."""
    acting = _compressing(space, recipe)
    if not acting:
        return {}
    cuts = [n for n in steps_of_kind(space, CompressorKind.REMOVES_STRUCTURE) if n in acting]
    shares = [recipe.shares[compressor_name(space.steps[name])] for name in cuts]
    strength = max(shares, default=0.0)
    return {**acting, **_recoveries(space, strength), **_encoding(space)}


def _compressing(space: Space, recipe: PortfolioRecipe) -> StepValues:
    """Return the compressors of a recipe that a space has and of which it searches a number."""
    acting: dict[str, Mapping[str, Value]] = {}
    for name, step in space.steps.items():
        share, (field, span) = recipe.shares.get(compressor_name(step)), main_range(step)
        if share is not None and span is not None and span.kind != "categorical":
            acting[name] = {field: span.interpolate(share), **_wishes(step, recipe)}
    return acting


def _wishes(step: StepSpace, recipe: PortfolioRecipe) -> Mapping[str, Value]:
    """Return the values that a step has where its ranges allow them."""
    wishes: dict[str, Value] = {"round_to": ALIGNMENT} if recipe.aligned else {}
    return wishes | ({"allocation": "sensitivity"} if compressor_name(step) == "LowRank" else {})


def _recoveries(space: Space, strength: float) -> StepValues:
    """Return all recoveries, the first with a learning rate that grows with what was removed.

    The more is removed, the more recovery resembles a training from scratch.

    Args:
        space: The space of recipes.
        strength: Share of the way from the anchor of the learning rate to its highest value.
    """
    names = steps_of_kind(space, CompressorKind.RECOVERS)
    acting: dict[str, Mapping[str, Value]] = {name: {} for name in names}
    for name in names[:1]:
        span = space.steps[name].ranges.get("learning_rate")
        acting[name] = {"learning_rate": _raised(span, strength)} if span else {}
    return acting


def _encoding(space: Space) -> StepValues:
    """Return the first encoding at a low share of its range; empty without one."""
    names = steps_of_kind(space, CompressorKind.ENCODES_WEIGHTS)[:1]
    acting: dict[str, Mapping[str, Value]] = {name: {} for name in names}
    for name in names:
        field, span = main_range(space.steps[name])
        if span is not None and span.kind != "categorical":
            acting[name] = {field: span.interpolate(ENCODING_SHARE)}
    return acting


def _raised(span: Range, share: float) -> Value:
    """Return the value at a share of the way from the anchor to the end; the anchor of choices."""
    anchor = span.default()
    if span.kind == "categorical":
        return anchor
    place = span.fraction_of(anchor)
    return span.interpolate(place + share * (1 - place))
