"""A LightningModule as it is: its data hooks and its training step are parts of a task.

Interface: the documentation of LightningModule and LightningDataModule, Lightning 2.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from search.errors import ConfigError

HOOKS = {
    "train": "train_dataloader",
    "validation": "val_dataloader",
    "test": "test_dataloader",
}
"""The hook that gives the data of a part."""
LIBRARIES = ("lightning", "pytorch_lightning")


def lightning_parts(parts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the data and the training step of a LightningModule, as far as they are not given.

    The data come from the hooks of the part `data`, a LightningDataModule, or of the model.
    What the training step logs is dropped.

    Raises:
        ConfigError: The module optimises by hand, or a hook returns several loaders.
    """
    model = parts.get("model")
    if not callable(getattr(model, "training_step", None)):
        return {}
    if not getattr(model, "automatic_optimization", True):
        raise ConfigError(
            "the LightningModule sets automatic_optimization=False: its training_step moves the "
            "weights itself; give the task a train_step(model, batch) that returns a loss"
        )
    _drop_logs(model)
    missing = {part: hook for part, hook in HOOKS.items() if part not in parts}
    return {"train_step": _train_step, **_data(parts.get("data", model), missing)} | dict(parts)


def _train_step(model: Any, batch: Any) -> Tensor:
    """Return the loss of a batch, a scalar, by the module's own training step."""
    found = model.training_step(batch, 0)
    loss: Tensor = found["loss"] if isinstance(found, Mapping) else found
    return loss


def _drop_logs(model: Any) -> None:
    """Replace the methods that log, which need a Trainer."""
    model.log = model.log_dict = _dropped


def _dropped(*args: Any, **kwargs: Any) -> None:
    """Log nothing."""


def _data(source: Any, hooks: Mapping[str, str]) -> dict[str, Any]:
    own = {part: name for part, name in hooks.items() if _is_own(source, name)}
    if not own:
        return {}
    _set_up(source, own)
    return {part: _one_loader(name, getattr(source, name)()) for part, name in own.items()}


def _is_own(source: Any, hook: str) -> bool:
    """Return whether the user wrote the hook; the library's own ones give no data."""
    written = getattr(type(source), hook, None)
    return written is not None and written.__module__.split(".")[0] not in LIBRARIES


def _set_up(source: Any, own: Mapping[str, str]) -> None:
    """Call the hooks that fetch and split the data, as a Trainer does before it fits and tests."""
    if _is_own(source, "prepare_data"):
        source.prepare_data()
    if _is_own(source, "setup"):
        for stage in ("fit", "test") if "test" in own else ("fit",):
            source.setup(stage)


def _one_loader(hook: str, data: Any) -> Any:
    several = isinstance(data, Mapping | nn.ModuleDict) or (
        isinstance(data, list | tuple) and data and hasattr(data[0], "dataset")
    )
    if several:
        raise ConfigError(
            f"{hook} returns {len(data)} loaders; a task has one for each of {', '.join(HOOKS)}: "
            "give the one that counts as a part of the task"
        )
    return data
