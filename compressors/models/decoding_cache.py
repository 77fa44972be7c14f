"""Causal models without the cache that they fill for the next token."""

from collections.abc import Callable
from typing import Any

from torch import nn

from compressors.outputs.structure import part_names


def switch_off_cache(model: nn.Module, outputs: Callable[[], Any]) -> bool:
    """Set `use_cache` to False in every configuration that a model holds, in place.

    A cache is no output that can be compared or exported; without it the other outputs are the
    same. Encoders have the setting too and fill no cache.

    Args:
        model: The model.
        outputs: Runs the model and returns its outputs, of any structure.

    Returns:
        Whether the outputs have other parts without it.
    """
    configs = {id(config): config for m in model.modules() if (config := vars(m).get("config"))}
    found = [config for config in configs.values() if getattr(config, "use_cache", None) is True]
    before = part_names(outputs()) if found else set()
    for config in found:
        config.use_cache = False
    return bool(found) and part_names(outputs()) != before
