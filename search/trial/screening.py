"""Looking at a trial with growing shares of its training, and stopping it where it is weak."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from search.recipe.recipe import Recipe
from search.recipe.rungs import from_first_training, without_training
from search.tasks.task import EvaluatedTask
from search.trial.compress import compress
from search.trial.estimates import estimate_in_memory, estimate_structure
from search.trial.prefix_cache import PrefixCache
from search.trial.screen import Screen
from search.trial_record import ModelEstimate


@dataclass(frozen=True, kw_only=True)
class Screened:
    """What was seen of one trial before it is measured in full."""

    recipe: Recipe
    """What is to be measured: the whole recipe, or the recipe with less training."""
    stopped: str
    """Why nothing is to be measured; empty if something is."""
    notes: str
    """Why the recipe was cut short; empty if it was not."""
    digest: str
    """Digest of the untrained model and of the training to come."""
    rungs: Sequence[ModelEstimate]


def screen_trial(
    recipe: Recipe, task: EvaluatedTask, prefixes: PrefixCache, screen: Screen
) -> Screened:
    """Estimate a trial without training, then at each rung, and stop it where it is weak.

    Raises:
        InfeasibleError: a step finds nothing to act on.
    """
    without = without_training(recipe)
    trained = without != recipe
    untrained = compress(without, task, prefixes)[0]
    first = estimate_structure(untrained, task, share=0.0 if trained else 1.0)
    digest = f"{first.model} {from_first_training(recipe).hash}"
    reason = screen.refusal(first, digest)
    found = Screened(recipe=recipe, stopped=reason, notes="", digest=digest, rungs=(first,))
    # What comes after a training that is known already costs little: it is measured at once.
    if reason or screen.paid or not trained:
        return found
    return _through_rungs(found, task, prefixes, screen)


def _through_rungs(
    found: Screened, task: EvaluatedTask, prefixes: PrefixCache, screen: Screen
) -> Screened:
    """Train up to each rung but the last, and stop where the trial is weak."""
    for rung, share in enumerate(screen.rungs.shares[:-1]):
        cut = screen.rungs.at(found.recipe, rung)
        estimate = estimate_in_memory(compress(cut, task, prefixes)[0], task, share=share)
        found = replace(found, rungs=(*found.rungs, estimate))
        weak = screen.stop(estimate, rung)
        if weak and screen.futility(estimate):
            return replace(found, stopped=weak)
        if weak:  # and yet maybe better than anything so far: its training was not in vain
            return replace(found, recipe=cut, notes=f"cut short: {weak}")
    return found
