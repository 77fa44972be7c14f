"""The packed file of a compressed LeNet takes what its symbols need, and little else."""

import numpy as np
import pytest
import torch
from torch import nn

from compressors.quantization import Quantization
from compressors.weight_pruning import WeightPruning
from compressors.weight_sharing import WeightSharing
from compressors.weights.encoded import coded_weights
from search.artefact.artefact import write_artefact
from search.artefact.packed_form.unpack import unpack
from search.tasks.workloads.lenet import LeNet5, LeNet300

RECIPES = {
    "97 % zeros, 8 clusters": (WeightPruning(ratio=0.97), WeightSharing(clusters=8)),
    "99 % zeros, 4 clusters": (WeightPruning(ratio=0.99), WeightSharing(clusters=4)),
    "90 % zeros, 5 bits": (WeightPruning(ratio=0.9), Quantization(bits=5)),
    "3 bits, one scale": (Quantization(bits=3, granularity="tensor"),),
    "16 clusters": (WeightSharing(clusters=16),),
}


class Images:
    """A task of random images, enough for compressors that look at weights alone."""

    def __init__(self, baseline: nn.Module) -> None:
        self.baseline = baseline
        self.example = torch.randn(4, 1, 28, 28, generator=torch.Generator().manual_seed(0))

    def train_batches(self, epoch: int):
        yield self.example, torch.zeros(4, dtype=torch.long)


def lenet(network):
    """Return a network whose weights are spread as after training: heavy tails, uneven inputs."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = network().eval().requires_grad_(False)
        for weight in model.parameters():
            if weight.ndim > 1:
                weight *= torch.randn(weight.shape) ** 2
                weight *= torch.rand(weight.shape[1:]) * torch.rand(
                    len(weight), *[1] * (weight.ndim - 1)
                )
            else:
                weight.zero_()
    return model


def compress(network, recipe):
    task = Images(lenet(network))
    model = task.baseline
    for step in recipe:
        model = step(model, task)
    return model, task


def entropy_bytes(values):
    """Return the zero-order entropy of some values in bytes."""
    shares = np.unique(values, return_counts=True)[1] / values.size
    return float(-(shares * np.log2(shares)).sum() * values.size / 8)


def bound_bytes(model):
    """Return the entropy of the symbols of a model, with centroids and scales in full."""
    total = 0.0
    for code in coded_weights(model).values():
        centroids = 0 if code.bits else code.levels.size
        scales = np.unique(code.factor).size if code.bits else 0
        total += entropy_bytes(code.indices) + 4 * centroids + 4 * scales
    return total


@pytest.mark.parametrize("network", [LeNet300, LeNet5])
@pytest.mark.parametrize("recipe", RECIPES)
def test_the_file_is_close_to_the_entropy_of_its_symbols(network, recipe, tmp_path):
    model, task = compress(network, RECIPES[recipe])
    artefact = write_artefact(model, task, tmp_path)
    assert artefact.size_bytes <= 1.02 * bound_bytes(model) + 220
    assert unpack(artefact.ship_path.read_bytes()) == artefact.run_path.read_bytes()


@pytest.mark.parametrize("network", [LeNet300, LeNet5])
def test_uneven_masks_take_less_than_their_zero_order_entropy(network, tmp_path):
    model, task = compress(network, RECIPES["97 % zeros, 8 clusters"])
    assert write_artefact(model, task, tmp_path).size_bytes < 0.95 * bound_bytes(model)


def test_the_same_model_gives_the_same_bytes(tmp_path):
    files = []
    for name in ("first", "again"):
        model, task = compress(LeNet300, RECIPES["99 % zeros, 4 clusters"])
        files.append(write_artefact(model, task, tmp_path / name).ship_path.read_bytes())
    assert files[0] == files[1]


def test_graph_header_and_digest_are_small(tmp_path):
    """A network of constants has no symbols: what is left is everything else."""
    model = lenet(LeNet5)
    for weight in model.parameters():
        weight.fill_(0.5)
    artefact = write_artefact(model, Images(model), tmp_path)
    assert artefact.size_bytes < 200
