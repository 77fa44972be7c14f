"""Causal models without the cache that they fill for the next token."""

from torch import nn


def switch_off_cache(model: nn.Module) -> bool:
    """Set `use_cache` to False in every configuration that a model holds, in place.

    A cache is no output that can be compared or exported; without it the other outputs are the
    same.

    Returns:
        Whether any configuration had it switched on.
    """
    configs = {id(config): config for m in model.modules() if (config := vars(m).get("config"))}
    found = [config for config in configs.values() if getattr(config, "use_cache", None) is True]
    for config in found:
        config.use_cache = False
    return bool(found)
