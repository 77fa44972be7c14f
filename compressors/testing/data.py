"""Generated samples around one prototype per class, which a network learns in a few epochs."""

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor

from compressors.base import Inputs

CLASSES = 4
"""C: classes of the targets and width of the outputs."""
TOKENS = 20
"""V: size of the vocabulary."""
LENGTH = 12
"""L: tokens of a text."""
SAMPLES = 256
"""B: samples of a task."""

MakeInputs = Callable[[Tensor, torch.Generator], Inputs]
"""Returns the inputs `[B, ...]` of targets `[B]`, drawn from a generator."""


def prototypes(*shape: int) -> MakeInputs:
    """Return a function that makes inputs `[B, *shape]`: a prototype of the class, and noise."""

    return partial(_near_prototypes, shape)


def texts(targets: Tensor, generator: torch.Generator) -> Tensor:
    """Return tokens `[B, L]`, half of them the number of the class, half random.

    Args:
        targets: Classes `[B]`.
        generator: The source of the random tokens.
    """
    noise = torch.randint(0, TOKENS, (len(targets), LENGTH), generator=generator)
    marked = torch.rand(len(targets), LENGTH, generator=generator) < 0.5
    return torch.where(marked, targets[:, None], noise)


def texts_and_vectors(targets: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return tokens `[B, L]` and vectors `[B, 16]`.

    Args:
        targets: Classes `[B]`.
        generator: The source of noise.
    """
    return texts(targets, generator), _near_prototypes((16,), targets, generator)


def named_texts_and_vectors(targets: Tensor, generator: torch.Generator) -> Mapping[str, Tensor]:
    """Return vectors `[B, 16]` and tokens `[B, L]` by the names of a model's arguments.

    Args:
        targets: Classes `[B]`.
        generator: The source of noise.
    """
    tokens, vectors = texts_and_vectors(targets, generator)
    return {"vector": vectors, "tokens": tokens}


def _near_prototypes(shape: tuple[int, ...], targets: Tensor, generator: torch.Generator) -> Tensor:
    centres = torch.randn(CLASSES, *shape, generator=generator)
    return centres[targets] + 0.5 * torch.randn(len(targets), *shape, generator=generator)


def take(inputs: Inputs, chosen: Tensor | slice) -> Inputs:
    """Return the chosen samples of a batch of any form.

    Args:
        inputs: A batch `[B, ...]`.
        chosen: Positions `[N]`, or a slice.
    """
    if isinstance(inputs, Tensor):
        return inputs[chosen]
    if isinstance(inputs, Mapping):
        return {name: tensor[chosen] for name, tensor in inputs.items()}
    return tuple(tensor[chosen] for tensor in inputs)
