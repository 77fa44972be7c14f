"""What Hydra and OmegaConf raise, as one error of ours with one line."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from textwrap import shorten
from typing import cast

from hydra._internal.utils import get_args_parser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from compressors.errors import ParedownError
from search.errors import ConfigError
from search.utils.annotation_check import MAX_SHOWN

_ADVICE = ("See https", "Config search path", "provider=")
"""Beginnings of lines in messages that say nothing of what was given."""


@contextmanager
def as_config_errors(given: Sequence[str] = ()) -> Iterator[None]:
    """Raise a `ConfigError` for every error of a block that only composes or reads configurations.

    Hydra has errors of its own, but a value that it does not expect ends in any other one.

    Args:
        given: What was given, for messages that do not name it.
    """
    try:
        yield
    except ParedownError:
        raise
    except (HydraException, OmegaConfBaseException) as error:
        cause = error.__cause__ if isinstance(error, HydraException) else error
        if isinstance(cause, OmegaConfBaseException):
            raise ConfigError(unknown_key(cause)) from error
        raise ConfigError(_one_line(error)) from error
    except Exception as error:
        what = _one_line(error) or type(error).__name__
        raise ConfigError(f"{shorten(' '.join(given), MAX_SHOWN)}: {what}") from error


def unknown_key(error: OmegaConfBaseException) -> str:
    """Return OmegaConf's message in one line; after an unknown key, the nearest one or all."""
    message = str(error.msg or error).splitlines()[0]
    parent = getattr(error, "parent_node", None)
    known = [str(key) for key in cast(DictConfig, parent)] if OmegaConf.is_dict(parent) else []
    close = get_close_matches(str(error.key), known, n=1)
    hint = f"; did you mean '{close[0]}'?" if close else f"; there are: {', '.join(known)}"
    unknown = known and str(error.key) not in known
    return f"{error.full_key or error.key}: {message}{hint if unknown else ''}"


def check_flags(arguments: Sequence[str]) -> None:
    """Check the flags of a command line, on which Hydra itself would print its usage and exit.

    Raises:
        ConfigError: There is no such flag, or it lacks its value.
    """
    parser = get_args_parser()

    def refuse(message: str) -> None:
        raise ConfigError(f"{message}; `paredown COMMAND --help` shows what there is")

    parser.error = refuse  # type: ignore[method-assign, assignment]
    parser.parse_args(list(arguments))


def _one_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines()]
    return " ".join(line for line in lines if line and not line.startswith(_ADVICE))
