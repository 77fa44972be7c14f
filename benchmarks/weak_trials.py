"""Ways to report trials that were stopped at a rung to a sampler, side by side.

    python -m benchmarks.weak_trials [--quick] [--out FILE]

A synthetic problem replaces a search, so that there are enough trials: six steps, each off or on
with a strength, a learning rate, and an encoding; the costs are damage, the logarithm of size, and
latency. A rung costs a quarter of a trial and overstates the damage, more for some steps than for
others, with noise. A weak trial is reported to TPE as pruned, as failed, or with its costs at the
rung; for comparison, one way runs all trials in full. All ways have the same budget. Problems are
drawn by the seed. The last line is JSON with the mean hypervolumes of the trials that ran in full.
"""

import argparse
import math
import statistics
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import moocore
import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.trial import TrialState

from benchmarks.json_line import print_json_line
from search.recipe.rungs import Rungs

STEPS = 6
ENCODINGS = ("none", "8 bits", "4 bits")
DAMAGE_OF_ENCODING, SIZE_OF_ENCODING = (0.0, 0.01, 0.03), (0.0, -0.7, -1.4)
RUNGS = Rungs(count=2, factor=3)
COST_OF_RUNG = 0.25
"""Cost of a rung, as a share of a full trial."""
NOISE = 0.2
"""Standard deviation of the logarithm of the damage at a rung."""
REFERENCE = (0.3, 0.0, 1.0)
"""Damage, logarithm of size and latency below which a trial counts as a gain."""
SEEDS, QUICK_SEEDS = 10, 3
BUDGET, QUICK_BUDGET = 120.0, 40.0
"""Cost of every search, in full trials."""

Tell = Callable[[optuna.Study, optuna.Trial, list[float]], object]
"""Reports a weak trial with its costs at the rung to a study."""
WAYS: dict[str, Tell | None] = {
    "pruned": lambda study, trial, costs: study.tell(trial, state=TrialState.PRUNED),
    "failed": lambda study, trial, costs: study.tell(trial, state=TrialState.FAIL),
    "values": lambda study, trial, costs: study.tell(trial, costs),
    "no rungs": None,
}


Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The choices of one trial."""

    strengths: Array
    """`[STEPS]`, each in [0, 1]."""
    rate: float
    encoding: int
    """Index into `ENCODINGS`."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """The costs of any combination of steps."""

    damage: Array
    """`[STEPS]`: damage of each step at full strength."""
    pairs: Array
    """`[STEPS, STEPS]`: damage of two steps at full strength beyond that of each."""
    rate: float
    """The best learning rate."""
    size: Array
    """`[STEPS]`: reduction of the logarithm of the size at full strength."""
    latency: Array
    """`[STEPS]`: reduction of the latency at full strength."""
    overstated: Array
    """`[STEPS]`: factor by which a rung overstates the damage at full strength."""

    def costs(self, choice: Choice) -> list[float]:
        """Return damage, logarithm of size, and latency after full training."""
        x = choice.strengths
        damage = self.damage @ x**3 + x @ self.pairs @ x + 0.1 * (choice.rate - self.rate) ** 2
        return [
            float(damage) + DAMAGE_OF_ENCODING[choice.encoding],
            SIZE_OF_ENCODING[choice.encoding] - float(self.size @ x),
            1 - float(self.latency @ x),
        ]

    def costs_at_rung(self, choice: Choice, noise: float) -> list[float]:
        """Return the costs as seen at a rung."""
        damage, *others = self.costs(choice)
        shown = damage * (1 + float(self.overstated @ choice.strengths) / STEPS) + 0.02
        return [shown * math.exp(noise), *others]


def drawn(rng: np.random.Generator) -> Problem:
    """Return a random problem."""
    return Problem(
        damage=rng.uniform(0.01, 0.15, STEPS),
        pairs=rng.uniform(0, 0.05 / STEPS, (STEPS, STEPS)),
        rate=rng.uniform(0.2, 0.9),
        size=rng.uniform(0.2, 1.5, STEPS),
        latency=rng.uniform(0, 0.25, STEPS),
        overstated=rng.uniform(0, 3, STEPS),
    )


def asked(trial: optuna.Trial) -> Choice:
    """Return the proposal of a sampler; the strength of a step that is off is not sampled."""
    strengths = [
        trial.suggest_float(f"strength {k}", 0, 1)
        if trial.suggest_categorical(f"step {k}", [False, True])
        else 0.0
        for k in range(STEPS)
    ]
    return Choice(
        strengths=np.array(strengths),
        rate=trial.suggest_float("rate", 0, 1),
        encoding=ENCODINGS.index(trial.suggest_categorical("encoding", ENCODINGS)),
    )


def volume(tell: Tell | None, seed: int, budget: float) -> float:
    """Return the hypervolume of a search at the end of its budget."""
    problem = drawn(np.random.default_rng([seed, 0]))
    noise = np.random.default_rng([seed, 1])
    sampler = optuna.samplers.TPESampler(multivariate=True, group=True, seed=seed)
    study = optuna.create_study(directions=["minimize"] * 3, sampler=sampler)
    peers: list[list[float]] = []
    found: list[list[float]] = []
    spent = 0.0
    while spent < budget:
        trial = study.ask()
        choice = asked(trial)
        if tell is not None:
            seen = problem.costs_at_rung(choice, noise.normal(0, NOISE))
            weak = not RUNGS.passes(seen, peers)
            peers.append(seen)
            if weak:
                spent += COST_OF_RUNG
                tell(study, trial, seen)
                continue
        spent += 1
        found.append(problem.costs(choice))
        study.tell(trial, found[-1])
    inside = np.array([costs for costs in found if all(np.less(costs, REFERENCE))])
    return float(moocore.hypervolume(inside, ref=REFERENCE)) if len(inside) else 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer seeds, a third of the budget")
    parser.add_argument("--out", type=Path, help="write the JSON line to a file too")
    options = parser.parse_args()
    seeds, budget = (QUICK_SEEDS, QUICK_BUDGET) if options.quick else (SEEDS, BUDGET)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    volumes = {
        way: [volume(tell, seed, budget) for seed in range(seeds)] for way, tell in WAYS.items()
    }
    for way, of_seeds in volumes.items():
        better = sum(a > b for a, b in zip(of_seeds, volumes["no rungs"], strict=True))
        spread = statistics.stdev(of_seeds) / math.sqrt(seeds)
        cell = f"{statistics.mean(of_seeds):.3f} ± {spread:.3f}"
        print(f"{way:<9} {cell}, above no rungs in {better} of {seeds}")
    means = {way: round(statistics.mean(of_seeds), 4) for way, of_seeds in volumes.items()}
    print_json_line({"seeds": seeds, "hypervolume": means}, options.out)


if __name__ == "__main__":
    main()
