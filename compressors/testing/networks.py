"""The small networks on which compressors are checked, and the data that each takes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from compressors.testing.attention import TransformerNet, VisionTransformer
from compressors.testing.convolutional import DepthwiseNet, ResidualNet
from compressors.testing.data import (
    CLASSES,
    SAMPLES,
    MakeInputs,
    named_texts_and_vectors,
    prototypes,
    texts,
    texts_and_vectors,
)
from compressors.testing.dense import SharedNet, TextNet, TwoInputNet, perceptron
from compressors.testing.recurrent import AudioNet, RecurrentNet, StackedGRU, StackedLSTM
from compressors.testing.task import ToyTask


@dataclass(frozen=True)
class Network:
    """A network with the inputs that it takes."""

    build: Callable[[], nn.Module]
    """Makes the network, with outputs `[B, C]`; torch's generator is seeded when it is called."""
    inputs: MakeInputs
    """Makes inputs `[B, ...]` from targets `[B]`."""

    def model(self) -> nn.Module:
        """Return the network untrained, in eval mode and frozen, always with the same weights."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return self.build().eval().requires_grad_(False)

    def task(self) -> ToyTask:
        """Return a task with this network as the baseline, always with the same samples."""
        generator = torch.Generator().manual_seed(1)
        targets = torch.arange(SAMPLES) % CLASSES
        return ToyTask(self.model(), self.inputs(targets, generator), targets)


_IMAGES, _SEQUENCES = prototypes(1, 8, 8), prototypes(8, 8)
_VECTORS, _SIGNALS = prototypes(16), prototypes(1, 32)

NETWORKS: Mapping[str, Network] = {
    "residual": Network(ResidualNet, _IMAGES),
    "depthwise": Network(DepthwiseNet, _IMAGES),
    "transformer": Network(TransformerNet, texts),
    "recurrent": Network(RecurrentNet, _SEQUENCES),
    "mlp": Network(perceptron, _VECTORS),
    "vision": Network(VisionTransformer, _IMAGES),
    "text": Network(TextNet, texts),
    "gru": Network(StackedGRU, _SEQUENCES),
    "lstm": Network(StackedLSTM, texts),
    "audio": Network(AudioNet, _SIGNALS),
    "shared": Network(SharedNet, _VECTORS),
    "positional": Network(TwoInputNet, texts_and_vectors),
    "named": Network(TwoInputNet, named_texts_and_vectors),
}
"""Every architecture that a compressor must take, or refuse with a reason."""
