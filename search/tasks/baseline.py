"""A baseline that is trained once per machine and then read from the user's cache."""

from collections.abc import Callable
from typing import TypeVar

import numpy as np
import torch
from filelock import FileLock
from torch import nn

from search.utils.files import cache_folder, write_atomically

Model = TypeVar("Model", bound=nn.Module)


def trained_once(name: str, model: Model, train: Callable[[Model], None]) -> Model:
    """Return the model with trained weights, in eval mode: read from the cache, or trained now.

    Args:
        name: Name of the file in the cache; it must name everything that the weights depend on.
        model: The untrained model; it receives the weights.
        train: Trains a model in place; called at most once per machine and name.
    """
    path = cache_folder() / "baselines" / f"{name}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"):
        if not path.exists():
            train(model)
            arrays = {key: value.cpu().numpy() for key, value in model.state_dict().items()}
            with write_atomically(path) as file:
                np.savez(file, **arrays)
    with np.load(path) as kept:
        model.load_state_dict({key: torch.from_numpy(kept[key]) for key in kept.files})
    model.eval()
    return model
