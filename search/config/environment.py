"""Values from the environment, which stay names in a configuration that is kept, shown or sent.

`${oc.env:NAME}` and `${oc.decode:${oc.env:NAME}}` in the arguments of a task or a tracker may be
secrets. They are resolved where the task or the tracker is built, in each process anew.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.resolvers import oc

from search.config.hydra_errors import as_config_errors
from search.utils.secrets import FROM_ENVIRONMENT

KEPT = ("task", "tracking", "storage")
"""Keys at the top of a configuration whose values from the environment stay names."""


def composed_values(config: DictConfig) -> dict[str, Any]:
    """Return a composed configuration as plain data, resolved but for the arguments of `KEPT`.

    Raises:
        ConfigError: A value cannot be resolved, such as a variable that is not set.
    """
    with as_config_errors():
        plain = OmegaConf.to_container(config, resolve=True)
        with _names_for_values():
            named = OmegaConf.to_container(config, resolve=True)
    assert isinstance(plain, dict)
    assert isinstance(named, dict)
    return {str(key): (named if key in KEPT else plain)[key] for key in plain}


@contextmanager
def _names_for_values() -> Iterator[None]:
    """Have the resolvers of the environment return how a value is written in place of the value."""
    try:
        OmegaConf.register_new_resolver("oc.env", _written, replace=True)
        OmegaConf.register_new_resolver("oc.decode", _written_or_decoded, replace=True)
        yield
    finally:
        OmegaConf.register_new_resolver("oc.env", oc.env, replace=True)
        OmegaConf.register_new_resolver("oc.decode", oc.decode, replace=True)


def _written(*arguments: Any) -> str:
    given = ("null" if argument is None else str(argument) for argument in arguments)
    return f"{FROM_ENVIRONMENT}{','.join(given)}}}"


def _written_or_decoded(text: str | None, _parent_: Any, _node_: Any) -> Any:
    if text is not None and FROM_ENVIRONMENT in text:
        return f"${{oc.decode:{text}}}"
    return oc.decode(text, _parent_, _node_)
