"""The first trials of a study: the uncompressed model, rivals to beat, and single steps."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from compressors.base import Kind
from search.acting import Acting, acting_compressor, params_of, recovers
from search.constraints import Constraint
from search.programme import programme
from search.recipe import Recipe, Step, build_step, values_of
from search.record import TrialRecord, Value
from search.space import Range, Space, StepSpace

LEVELS = 3
"""The most values of an encoding that are tried."""

RIVALS: Mapping[str, Mapping[str, Mapping[str, Value]]] = {
    "int8": {"Quantization": {"bits": 8}},
    "4 bits": {"Quantization": {"bits": 4, "allocation": "uniform"}},
    "int8 and half the channels": {
        "ChannelPruning": {"ratio": 0.5, "allocation": "uniform"},
        "Quantization": {"bits": 8},
    },
}
"""What anybody would try first, by compressor, with recovery where structure goes; a search that
does not beat it was not needed."""


@dataclass(frozen=True, kw_only=True)
class FirstTrial:
    """A recipe that is tried before the sampler has its say."""

    label: str
    params: Mapping[str, Value]


def first_trials(space: Space) -> list[FirstTrial]:
    """Return the baseline, the rivals, and each step alone.

    The encodings come first, at growing values and without training, which they hardly need;
    then the steps that damage a model, each at its anchor and with recovery. Their figures are
    what an integer programme combines. Whatever the configuration fixes stays. The baseline has
    no parameter whose range does not hold the inactive value.
    """
    trials = [FirstTrial(label="baseline", params=_baseline(space))]
    trials += [
        FirstTrial(label=f"rival:{name}", params=params_of(space, acting))
        for name, rival in RIVALS.items()
        if (acting := _steps_of(space, rival)) is not None and _alone(space, acting)
    ]
    for name in _of_kind(space, Kind.ENCODES_WEIGHTS):
        trials += [_opening(space, {name: values}) for values in levels(space.steps[name])]
    for kind in (Kind.REMOVES_STRUCTURE, Kind.MASKS_WEIGHTS):
        for name in _of_kind(space, kind):
            trials.append(_opening(space, {name: {}, **_recovery_after(space, name)}))
    return trials


def _opening(space: Space, acting: Acting) -> FirstTrial:
    return FirstTrial(label=f"opening:{next(iter(acting))}", params=params_of(space, acting))


def _recovery_after(space: Space, name: str) -> Acting:
    """Return the first recovery after a step, to stand at its anchor; nothing if there is none."""
    order = list(space.steps)
    later = [r for r in _of_kind(space, Kind.RECOVERS) if order.index(r) > order.index(name)]
    return {later[0]: {}} if later else {}


def is_first(label: str) -> bool:
    """Whether a trial of this label is one of the first, of which the integer programme is made."""
    return label.partition(":")[0] in ("baseline", "rival", "opening")


@dataclass(kw_only=True)
class Opening:
    """What is tried before the sampler has its say, each once."""

    space: Space
    objectives: Mapping[str, str]
    constraints: Sequence[Constraint]
    warm: bool
    """Without a warm start the baseline is all."""
    _waiting: list[FirstTrial] = field(default_factory=list)
    _planned: bool = False

    def __post_init__(self) -> None:
        first = first_trials(self.space)
        self._waiting = first if self.warm else first[:1]
        self._planned = not self.warm

    def take(self, records: Sequence[TrialRecord], *, ended: bool) -> Iterator[FirstTrial]:
        """Yield what waits; what was yielded does not wait any more.

        Args:
            records: Of the study.
            ended: Whether all of the first trials that were asked for have ended. The recipes of
                the integer programme then come after them.
        """
        yield from self._rest()
        if ended and not self._planned:
            self._planned = True
            first = [record for record in records if is_first(record.label)]
            found = programme(self.space, first, self.objectives, self.constraints)
            self._waiting += [FirstTrial(label="programme", params=params) for params in found]
            yield from self._rest()

    def _rest(self) -> Iterator[FirstTrial]:
        while self._waiting:
            yield self._waiting.pop(0)


def levels(step: StepSpace) -> list[dict[str, Value]]:
    """Return growing values of the field that makes a step act, those at which it does."""
    field, span = next(((f, r) for f, r in step.ranges.items() if r.when is None), (None, None))
    if field is None or span is None:
        return [{}]
    found = [{field: value} for value in ladder(span)]
    return [values for values in found if acting_compressor(step, values).active]


def ladder(span: Range, count: int = LEVELS) -> list[Value]:
    """Return so many values of a range, evenly spaced from end to end; all choices if they fit."""
    if span.kind == "categorical":
        places = {round(k * (len(span.choices) - 1) / (count - 1)) for k in range(count)}
        return [span.choices[place] for place in sorted(places)]
    return list(dict.fromkeys(span.at(k / (count - 1)) for k in range(count)))


def anchors(space: Space) -> dict[str, Recipe]:
    """Return for each step that acts at its anchor the recipe of this step alone."""
    alone = {}
    for name, step in space.steps.items():
        compressor = acting_compressor(step, {})
        if compressor.active and compressor.kind is not Kind.RECOVERS:
            only = Step(name=name, target=step.target, values=values_of(compressor))
            alone[name] = Recipe(steps=(only,), seed=0)
    return alone


def _baseline(space: Space) -> dict[str, Value]:
    """Return the parameters of the uncompressed model, those whose range holds its value."""
    inactive = {
        span.name: values_of(build_step(step.name, step.target, {}))[field]
        for step in space.steps.values()
        for field, span in step.ranges.items()
    }
    nothing = params_of(space, {})
    return {n: v for n, v in nothing.items() if n not in inactive or v == inactive[n]}


def _steps_of(space: Space, rival: Mapping[str, Mapping[str, Value]]) -> Acting | None:
    """Return the steps and values of a rival; None if the space cannot express it."""
    acting: dict[str, Mapping[str, Value]] = {}
    for compressor, values in rival.items():
        step = next((s for s in space.steps.values() if s.target.endswith(f".{compressor}")), None)
        if step is None or not all(_can_be(step, field, v) for field, v in values.items()):
            return None
        acting[step.name] = values
        if acting_compressor(step, {}).kind is not Kind.ENCODES_WEIGHTS:
            acting |= _recovery_after(space, step.name)
    return acting


def _alone(space: Space, acting: Acting) -> bool:
    """Whether nothing else acts, as a step does whose range does not hold the inactive value."""
    recipe = space.recipe(params_of(space, acting), seed=0)
    return {step.name for step in recipe.steps if not recovers(space, step.name)} <= set(acting)


def _can_be(step: StepSpace, field: str, value: Value) -> bool:
    if field in step.ranges:
        return value in step.ranges[field]
    return bool(getattr(acting_compressor(step, {}), field) == value)


def _of_kind(space: Space, kind: Kind) -> list[str]:
    return [name for name, step in space.steps.items() if acting_compressor(step, {}).kind is kind]
