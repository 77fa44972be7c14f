"""Tokens are counted of models that give classes for each token, and of no others."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from search.config.constraints import parse_constraints
from search.config.latency_settings import LatencySettings
from search.errors import ConfigError
from search.recipe.recipe import Recipe
from search.study.baseline_intake import check_tokens
from search.tasks.loading import load_task
from search.tasks.task import EvaluatedTask
from search.trial.baseline import measure_baseline
from search.trial.evaluate import Evaluator
from search.trial.latency import Latency
from search.trial.messages import PrepareReply
from search.trial.tokens import tokens_per_example, tokens_per_second
from tests.search.study.test_driver import config

VOCABULARY, LENGTH, BATCH = 11, 6, 4


class Language(nn.Module):
    """Predicts a token from the token at its place, or from all of them a class."""

    def __init__(self, *, pooled: bool) -> None:
        super().__init__()
        self.pooled = pooled
        self.embedding = nn.Embedding(VOCABULARY, 8)
        self.head = nn.Linear(8, VOCABULARY)

    def forward(self, tokens: Tensor) -> Tensor:
        logits: Tensor = self.head(self.embedding(tokens))
        return logits.mean(1) if self.pooled else logits


def language_task(folder: Path, monkeypatch: pytest.MonkeyPatch, *, pooled: bool) -> EvaluatedTask:
    torch.manual_seed(0)
    tokens = torch.randint(0, VOCABULARY, (BATCH, LENGTH))
    targets = tokens[:, 0] if pooled else tokens

    def loss(logits: Tensor, wanted: Tensor) -> Tensor:
        return nn.functional.cross_entropy(logits.flatten(0, -2), wanted.flatten())

    def task() -> dict[str, Any]:
        return {
            "model": Language(pooled=pooled).eval(),
            "train": [(tokens, targets)],
            "validation": [(tokens, targets)],
            "test": [(tokens, targets)],
            "loss": loss,
            "score": lambda logits, wanted: (logits.argmax(-1) == wanted).float(),
        }

    module = type(pytest)("language")
    module.task = task  # type: ignore[attr-defined]
    monkeypatch.setitem(__import__("sys").modules, "language", module)
    return load_task({"_target_": "language.task"}, folder)


@pytest.mark.parametrize(("pooled", "tokens"), [(False, LENGTH), (True, 0)])
def test_the_tokens_of_an_example(
    pooled: bool, tokens: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tokens_per_example(language_task(tmp_path, monkeypatch, pooled=pooled)) == tokens


def test_tokens_per_second_follow_from_the_latencies_in_milliseconds() -> None:
    latency = Latency(latency_ms=2.0, baseline_latency_ms=8.0, ratio=0.25, spread=0.0)
    assert tokens_per_second(100, 3, latency) == {
        "tokens_per_second": 150_000.0,
        "baseline_tokens_per_second": 37_500.0,
    }
    assert tokens_per_second(0, 3, latency) == {}


def test_a_trial_of_a_language_model_has_them_beside_the_baselines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = language_task(tmp_path / "cache", monkeypatch, pooled=False)
    baseline = measure_baseline(task, tmp_path / "baseline")
    latency = LatencySettings(batch_size=2, threads=1, rounds=3)
    evaluator = Evaluator(task=task, baseline=baseline, latency=latency)
    metrics = evaluator(Recipe(steps=(), seed=0), tmp_path / "trial").metrics
    expected = 2 * LENGTH / (metrics["latency_ms"] / 1e3)
    assert metrics["tokens_per_second"] == pytest.approx(expected)
    assert metrics["baseline_tokens_per_second"] > 0


@pytest.mark.parametrize("place", ["objectives", "constraints"])
def test_other_models_cannot_be_judged_by_tokens(place: str, tmp_path: Path) -> None:
    override = (
        "++objectives.tokens_per_second=maximize"
        if place == "objectives"
        else "constraints.tokens_per_second>=100"
    )
    study = config(tmp_path, override)
    reply = PrepareReply(
        metrics={}, maximize=True, infeasible={}, failing={}, skipped_layers={}, outputs="logits"
    )
    with pytest.raises(ConfigError, match=rf"{place}\.tokens_per_second: .* is logits; take"):
        check_tokens(study, reply)
    check_tokens(config(tmp_path), reply)


def test_the_new_metrics_can_be_bounded() -> None:
    bounds = parse_constraints({"bops_ratio": "<=0.1", "bits_per_weight": "<=4"})
    assert [str(bound) for bound in bounds] == ["bops_ratio<=0.1", "bits_per_weight<=4"]
    assert bounds[0].violation({"bops_ratio": 0.0625}) < 0
