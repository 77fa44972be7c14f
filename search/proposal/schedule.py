"""What is tried next: the initial design, the path, variations of the front, or a sample."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from optuna.trial import FrozenTrial

from search.config.study_config import StudyConfig
from search.proposal.costs import Costs
from search.proposal.finishing import FINISH, Finishing
from search.proposal.forecast import trial_seconds
from search.proposal.genetic_operators import crossings, mutations
from search.proposal.initial_design import InitialTrial, initial_trials
from search.proposal.plan import Plan
from search.proposal.proposer import Proposal, Proposer, uncompressed
from search.proposal.strength.bearable import Bearable
from search.proposal.strength.bound import ScoreBound
from search.proposal.strength.damage import Damage
from search.proposal.strength.path import Path
from search.recipe.recipe import Recipe
from search.recipe.space import Space
from search.trial_record import TrialRecord, Value
from search.utils.seeds import derived_seed

CYCLE = 3
"""Trials in which every variation has its turn."""
PATH_TURNS = 2
"""Trials in which the path has its turn once, while it has something to propose."""
VARIATIONS = {1: crossings, 2: mutations}
"""By place in the cycle; the other place is the initial design's, and then the sampler's."""
BASELINE = "baseline"


@dataclass(frozen=True, kw_only=True)
class Known:
    """What the study has when it asks for the next trial."""

    trials: list[FrozenTrial]
    """All trials in order of number, with those that run."""
    hashes: Collection[str]
    """Hashes of the recipes that were asked for."""
    front: Sequence[TrialRecord]
    records: Sequence[TrialRecord]
    """The finished trials in order of number."""
    open_origins: Sequence[str]
    """Origins of the trials under way."""
    seconds_left: float = float("inf")
    """Until no trial shall run any more."""

    @property
    def number(self) -> int:
        """The number of the next trial."""
        return len(self.trials)


@dataclass(kw_only=True)
class Schedule:
    """The sources of recipes in the order in which they are asked."""

    config: StudyConfig
    space: Space
    """The configuration's space without the steps that cannot act on the task's model."""
    damage: Damage
    """How far each step alone moves the model's outputs."""
    baseline: Mapping[str, float]
    """The metrics of the uncompressed model."""
    plan: Plan = field(default_factory=Plan)
    costs: Costs | None = None
    """What the parts of a trial cost; None if that is not known."""
    initial_queue: list[InitialTrial] = field(init=False)
    """What is still to be tried before the sampler."""
    _judge: Bearable = field(init=False)

    def __post_init__(self) -> None:
        initial = initial_trials(self.space)
        self.initial_queue = initial if self.config.warm_start else initial[:1]
        self._judge = Bearable(space=self.space, damage=self.damage, bound=self._bound)

    def next(self, known: Known) -> tuple[str, Proposal] | None:
        """Return the origin of the next recipe and the recipe; None if there is no new one."""
        proposer = self._proposer(known)
        if found := self._first(proposer, known):
            return found
        if self.plan.finishes and known.seconds_left <= self.plan.finishing_seconds:
            found = self._at_the_end(replace(proposer, finishing=True), known)
            if found and not self.outlasts(found[1].recipe, known):
                return found
        return (
            self._on_path(proposer, known)
            or self._variation(proposer, known)
            or self._initial(proposer, known)
            or self._sampled(proposer, known)
        )

    def _at_the_end(self, proposer: Proposer, known: Known) -> tuple[str, Proposal] | None:
        """Return a trial with a long recovery: one that goes on, or else a new one."""
        return (
            self._finished(proposer, known)
            or self._on_path(proposer, known)
            or self._variation(proposer, known)
            or self._sampled(proposer, known)
        )

    def _proposer(self, known: Known) -> Proposer:
        return Proposer(
            space=self.space,
            objectives=self.config.objectives,
            sampler=self.config.sampler,
            seed=self.config.seed,
            rungs=self.config.rungs,
            plan=self.plan,
            front=[member.number for member in known.front],
        )

    def _first(self, proposer: Proposer, known: Known) -> tuple[str, Proposal] | None:
        """Return what comes before everything else."""
        return self._initial(proposer, known, lambda trial: trial.comes_first)

    def _on_path(self, proposer: Proposer, known: Known) -> tuple[str, Proposal] | None:
        """Return the next recipe of the path that is new.

        From the first trained member of the front on, the path and variations take turns.
        """
        front = {member.number for member in known.front}
        trained = any(member.training for member in known.front)
        varies = self.config.mutate_front and trained and known.number % PATH_TURNS
        if not self.config.warm_start or varies:
            return None
        for trial in self._path.proposals(known.records, known.open_origins, front):
            if proposal := _first_new([trial.params], proposer, known):
                return trial.origin, proposal
        return None

    def _finished(self, proposer: Proposer, known: Known) -> tuple[str, Proposal] | None:
        """Return a trial that goes on with a long recovery, or one with another encoding of it.

        None of them would outlast the study.
        """
        encoded = self._path.finished_encodings(known.records)
        finishing = Finishing(bound=self._bound, objectives=self.config.objectives)
        going_on = (
            InitialTrial(origin=f"{FINISH}:{record.number}", params=record.params)
            for record in finishing.candidates(known.records, known.open_origins)
        )
        for trial in (*encoded, *going_on):
            proposal = proposer.fixed(known.number, known.trials, trial.params)
            new = proposal.recipe.hash not in known.hashes
            if new and not self.outlasts(proposal.recipe, known):
                return trial.origin, proposal
        return None

    def outlasts(self, recipe: Recipe, known: Known) -> bool:
        """Return whether a recipe is expected to end after the time that is left.

        Where costs are not known, it is so only if no time is left.
        """
        if known.seconds_left == float("inf"):
            return False
        needed = trial_seconds(self.costs, recipe, known.records) if self.costs else 0.0
        return needed > known.seconds_left

    @property
    def _bound(self) -> ScoreBound:
        return ScoreBound(constraints=self.config.constraints, baseline=self.baseline)

    @property
    def _path(self) -> Path:
        return Path(
            space=self.space,
            damage=self.damage,
            bound=self._bound,
            objectives=self.config.objectives,
        )

    def _variation(self, proposer: Proposer, known: Known) -> tuple[str, Proposal] | None:
        """Return a new recipe near the front, if it is its turn and the front is open to it."""
        vary = VARIATIONS.get(known.number % CYCLE) if self.config.mutate_front else None
        if vary is None:
            return None
        seed = derived_seed(self.config.seed, known.number, 2)
        worth = filter(self._bearable(known), vary(self.space, known.front, seed))
        proposal = _first_new(worth, proposer, known)
        return ("variation", proposal) if proposal else None

    def _initial(
        self,
        proposer: Proposer,
        known: Known,
        wanted: Callable[[InitialTrial], bool] = lambda _: True,
    ) -> tuple[str, Proposal] | None:
        """Return the first recipe of the initial design that is new, as long as it is wanted."""
        while self.initial_queue and wanted(self.initial_queue[0]):
            first = self.initial_queue.pop(0)
            baseline = first.origin == BASELINE
            if not baseline and proposer.hash(first.params) in known.hashes:
                continue
            proposal = proposer.fixed(known.number, known.trials, first.params)
            if baseline:
                # Whatever the configuration fixes, trial 0 is the uncompressed model.
                proposal = uncompressed(proposal, first.params)
            if proposal.recipe.hash not in known.hashes:
                return first.origin, proposal
        return None

    def _sampled(self, proposer: Proposer, known: Known) -> tuple[str, Proposal] | None:
        proposal = proposer.propose(known.number, known.trials, known.hashes, self._bearable(known))
        return ("sampled", proposal) if proposal else None

    def _bearable(self, known: Known) -> Callable[[Mapping[str, Value]], bool]:
        """Return whether parameters are worth a trial after what was seen."""
        limit = self._judge.limit(known.records)
        rates = self._path.rates(known.records)
        return lambda params: self._judge.total(params) <= limit and rates.plausible(params)


def _first_new(
    recipes: Iterable[Mapping[str, Value]], proposer: Proposer, known: Known
) -> Proposal | None:
    """Return the first recipe that was not asked for, of several given by their parameters."""
    for params in recipes:
        proposal = proposer.fixed(known.number, known.trials, params)
        if proposal.recipe.hash not in known.hashes:
            return proposal
    return None
