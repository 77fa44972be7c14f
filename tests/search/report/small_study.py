"""A space and trials of which the right answer is known, for the tests of the summary."""

from typing import Any

import numpy as np

from search.recipe.parsing import parse_space
from search.recipe.space import Space
from search.trial_record import TrialRecord

OBJECTIVES = {"score": "maximize", "size_bytes": "minimize"}
PRUNE = "compressors.weight_pruning.WeightPruning"
SHARE = "compressors.weight_sharing.WeightSharing"
DISTIL = "compressors.distillation.Distillation"


def space(**ratio: Any) -> Space:
    steps = {
        "sparsify": {
            "_target_": PRUNE,
            "ratio": {"_suggest_": "float", "low": 0.0, "high": 0.98, "step": 0.02} | ratio,
            "importance": {
                "_suggest_": "categorical",
                "choices": ["magnitude", "taylor", "wanda"],
                "when": "ratio",
            },
        },
        "share": {
            "_target_": SHARE,
            "clusters": {"_suggest_": "int", "low": 4, "high": 64, "log": True},
        },
        "distil": {
            "_target_": DISTIL,
            "epochs": {"_suggest_": "int", "low": 0, "high": 4},
            "temperature": {"_suggest_": "float", "low": 1.0, "high": 8.0, "when": "epochs"},
        },
    }
    return parse_space(steps, {"encode": ["none", "share"]})


def trial(number: int, score: float, size: float, origin: str = "sampled", **more: Any):
    params = more.pop("params", {})
    steps: dict[str, dict[str, Any]] = {}
    for name, value in params.items():
        step, _, field = name.partition(".")
        steps.setdefault(step, {})[field] = value
    named = more.pop("steps", [])
    steps |= {name: {} for name in named}
    status = more.get("status", "ok")
    return TrialRecord(
        number=number,
        origin=origin,
        seed=0,
        params=params,
        recipe={"seed": 0, "steps": {n: v for n, v in steps.items() if n != "encode"}},
        recipe_hash=str(number),
        metrics={"score": score, "size_bytes": size} if status == "ok" else {},
        started=0.0,
        finished=1.0,
        **{"status": "ok"} | more,
    )


BASELINE = trial(0, 0.95, 100_000.0, "baseline")


class Drawn:
    """A source of random values for a space."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def suggest_float(self, name, low, high, *, step, log):
        count = round((high - low) / step) if step else 10_000
        return low + (high - low) * int(self.rng.integers(count + 1)) / count

    def suggest_int(self, name, low, high, *, step, log):
        return int(self.rng.integers(low, high + 1))

    def suggest_categorical(self, name, choices):
        return choices[int(self.rng.integers(len(choices)))]


def random_records(count: int, score, size) -> list[TrialRecord]:
    source, rng = Drawn(0), np.random.default_rng(1)
    drawn = [space().sample(source) for _ in range(count)]
    return [
        trial(n, score(p) + 0.01 * rng.normal(), size(p), params=p) for n, p in enumerate(drawn)
    ]
