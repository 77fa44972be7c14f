"""A model of texts is compressed, written, and run at lengths that no batch had."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from compressors.base import run
from compressors.channel_pruning import ChannelPruning
from compressors.quantization import Quantization
from compressors.weight_pruning import WeightPruning
from search.artefact.onnx_form.export import feeds
from search.artefact.onnx_form.runtime import predictor
from search.config.latency_settings import LatencySettings
from search.recipe.recipe import Recipe, Step
from search.tasks.loading import training_task
from search.tasks.tensors import correct, cross_entropy
from search.trial.baseline import measure_baseline
from search.trial.evaluate import Evaluator

# Slow: three text models are searched and exported.
pytestmark = pytest.mark.slow

STEPS = {
    "zeros": WeightPruning(ratio=0.5),
    "prune": ChannelPruning(ratio=0.5),
    "8 bits": Quantization(bits=8),
    "4 bits": Quantization(bits=4),
}


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(20, 8)
        self.body = nn.GRU(8, 12, batch_first=True)
        self.head = nn.Linear(12, 3)

    def forward(self, mask, tokens):
        states = self.body(self.embedding(tokens))[0] * mask[..., None]
        return self.head(states.sum(1) / mask.sum(1, keepdim=True))


class Convolutional(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(20, 8)
        self.body = nn.Sequential(
            nn.Conv1d(8, 16, 3, padding=1), nn.ReLU(), nn.Conv1d(16, 12, 3, padding=1), nn.ReLU()
        )
        self.head = nn.Linear(12, 3)

    def forward(self, mask, tokens):
        states = self.body(self.embedding(tokens).transpose(1, 2)).transpose(1, 2)
        return self.head((states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True))


class Attentive(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(20, 8)
        self.body = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, mask, tokens):
        states = self.body(self.embedding(tokens), src_key_padding_mask=~mask) * mask[..., None]
        return self.head(states.sum(1) / mask.sum(1, keepdim=True))


def batches(lengths, seed):
    generator = torch.Generator().manual_seed(seed)
    for length in lengths:
        tokens = torch.randint(0, 20, (8, length), generator=generator)
        mask = torch.arange(length) < torch.randint(1, length + 1, (8, 1), generator=generator)
        yield {"tokens": tokens, "mask": mask}, tokens[:, 0] % 3


def text_task(net, folder):
    torch.manual_seed(0)
    train = list(batches((9, 6, 9, 12), seed=0))
    parts = {
        "train": train,
        "validation": list(batches((7, 11), seed=1)),
        "test": list(batches((5, 8), seed=2)),
        "loss": cross_entropy,
        "score": correct,
    }
    return training_task(parts, net(), folder)


@pytest.fixture(scope="module", params=[Recurrent, Convolutional, Attentive])
def study(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("text")
    task = text_task(request.param, folder / "cache")
    baseline = measure_baseline(task, folder / "baseline")
    settings = LatencySettings(batch_size=1, threads=1, rounds=2)
    return Evaluator(task=task, baseline=baseline, latency=settings)


def unseen(length):
    return next(batches((length,), seed=length))[0]


def test_the_file_equals_the_model_at_lengths_that_it_never_saw(study):
    session = onnxruntime.InferenceSession(study.baseline.run_path)
    for length in (1, 3, 20, 37):
        outputs = session.run(None, feeds(unseen(length)))[0]
        expected = run(study.task.baseline, unseen(length)).numpy()
        np.testing.assert_allclose(outputs, expected, atol=1e-5)


def test_inputs_that_agree_in_length_say_so_in_the_file(study):
    graph = onnx.load(study.baseline.run_path).graph
    shapes = {
        value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output)
    }
    assert shapes == {
        "tokens": ["batch", "length"],
        "mask": ["batch", "length"],
        "output": ["batch", 3],
    }


@pytest.mark.parametrize("name", STEPS)
def test_a_trial_runs_at_lengths_that_it_never_saw(study, name, tmp_path):
    step = STEPS[name]
    target = f"{type(step).__module__}.{type(step).__name__}"
    values = {"bits": step.bits} if isinstance(step, Quantization) else {"ratio": 0.5}
    recipe = Recipe(steps=(Step(name="step", target=target, values=values),), seed=0)
    metrics = study(recipe, tmp_path).metrics
    integers = isinstance(step, Quantization)
    assert metrics["fidelity_db"] > (25 if integers else 100)
    torch.manual_seed(0)
    model = step(study.task.baseline, study.task)
    predict = predictor(tmp_path / "model.onnx")
    for length in (1, 3, 37):
        found, wanted = predict(unseen(length)), run(model, unseen(length))
        scale = float(wanted.abs().max())
        assert torch.allclose(found, wanted, atol=0.1 * scale if integers else 1e-5)
