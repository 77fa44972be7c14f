"""The damage of a step is the divergence of the outputs that it causes alone."""

from pathlib import Path

import pytest
import torch
from torch import nn

from compressors.errors import InfeasibleError
from compressors.weight_pruning import WeightPruning
from search.recipe.recipe import Recipe, Step
from search.tasks.loading import training_task
from search.trial.preparation.brief_task import BriefTask
from search.trial.preparation.damage_probe import damage_curve
from tests.search.tasks.made_up import parts

TARGET = "compressors.weight_pruning.WeightPruning"


def pruned(ratio: float) -> Recipe:
    return Recipe(steps=(Step(name="sparsify", target=TARGET, values={"ratio": ratio}),), seed=0)


def test_it_is_that_of_the_step_alone(tmp_path: Path) -> None:
    built = parts()
    task = training_task(built, built["model"], tmp_path)
    curve = damage_curve([(0.5, pruned(0.4)), (1.0, pruned(0.8))], BriefTask(task=task))
    inputs = torch.cat([inputs for inputs, _ in task.train_batches(0)])[:64]
    with torch.no_grad():
        before = task.baseline(inputs).log_softmax(1)
        for share, ratio in ((0.5, 0.4), (1.0, 0.8)):
            after = WeightPruning(ratio=ratio)(task.baseline, task)(inputs).log_softmax(1)
            expected = float((before.exp() * (before - after)).sum(1).mean())
            assert curve.divergence_at(share) == pytest.approx(expected, rel=0.05)


def test_a_step_that_never_finds_anything_is_infeasible(tmp_path: Path) -> None:
    built = parts()
    task = training_task(built, nn.Sequential(nn.Flatten(), nn.Linear(6, 3)), tmp_path)
    removal = Step(
        name="remove", target="compressors.layer_removal.LayerRemoval", values={"ratio": 0.5}
    )
    with pytest.raises(InfeasibleError, match="layer removal"):
        damage_curve([(1.0, Recipe(steps=(removal,), seed=0))], BriefTask(task=task))
