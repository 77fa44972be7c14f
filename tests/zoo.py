"""The networks of `compressors.testing` by name, as models and as tasks."""

from collections.abc import Callable, Mapping

from torch import nn

from compressors.testing.networks import NETWORKS
from compressors.testing.task import ToyTask

ARCHITECTURES: Mapping[str, Callable[[], nn.Module]] = {
    name: network.model for name, network in NETWORKS.items()
}
"""Each builds one network, always with the same weights, untrained, in eval mode and frozen."""

NETS = {
    name: ARCHITECTURES[name]
    for name in ("residual", "depthwise", "transformer", "recurrent", "mlp")
}
"""One network of each kind, for tests that need no more."""


def toy_task(name: str) -> ToyTask:
    """Return the task that has this network as the baseline."""
    return NETWORKS[name].task()
