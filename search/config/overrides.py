"""What a user writes behind the command: arranged and checked before Hydra reads it."""

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from itertools import pairwise
from typing import Any

from search.errors import ConfigError

FLAGS_WITH_VALUE = ("--config-dir", "-cd", "--config-name", "-cn", "--cfg", "-c", "--package", "-p")


def flags_first(arguments: list[str]) -> list[str]:
    """Return the arguments with Hydra's flags before the overrides, where alone it reads them."""
    flags, overrides = [], []
    rest = iter(arguments)
    for argument in rest:
        if not argument.startswith("-"):
            overrides.append(argument)
            continue
        flags.append(argument)
        if argument in FLAGS_WITH_VALUE:
            flags += [value for value in [next(rest, None)] if value is not None]
    return [*flags, *overrides]


def rewrite(argument: str) -> str:
    """Return an argument as Hydra can read it.

    `constraints.METRIC<=BOUND` is no override in Hydra's grammar, a recipe's file must not be
    taken for an option of the group `recipe`, a selection and a path need quotes, and the patterns
    in `steps.STEP.layers={PATTERN: VALUE}` and the figures in `objectives` and `preferences` may
    be new keys.
    """
    bound = re.fullmatch(r"(\+*)constraints\.([\w/.]+?)\s*([<>]=)\s*(\S+)", argument)
    if bound:
        return f"++constraints.{bound[2]}='{bound[3]}{bound[4]}'"
    key, separator, value = argument.partition("=")
    if re.fullmatch(r"steps\.\w+\.layers|(objectives|preferences\.(reference|weights))\.\w+", key):
        return f"++{argument}"
    if separator and (
        key in ("select", "file", "out") or (key == "recipe" and value.endswith((".yaml", ".yml")))
    ):
        name = "recipe_file" if key == "recipe" else key
        quoted = value.replace("\\", "\\\\").replace("'", "\\'")
        return f"{name}='{quoted}'"
    return argument


def name_file(arguments: list[str]) -> list[str]:
    """Return arguments, flags first, the first that is neither flag nor override as `file=`."""
    named = list(arguments)
    for place, (before, argument) in enumerate(pairwise(["", *arguments])):
        bare = not argument.startswith("-") and "=" not in argument
        if bare and before not in FLAGS_WITH_VALUE:
            named[place] = f"file={argument}"
            break
    return named


def check_additions(
    overrides: Sequence[str], choices: Mapping[str, Any], keys: Sequence[str]
) -> None:
    """Check the overrides that begin with a plus: they may not invent keys.

    A plus may add an option of a group, a constraint, or an argument of the task's own function;
    every other key stands in the configurations and needs no plus.

    Arguments:
        overrides: as Hydra read them.
        choices: the options chosen, by group.
        keys: the keys at the top of the composed configuration, for the message.

    Raises:
        ConfigError: an override adds another key; most often it is a typo.
    """
    for override in overrides:
        key = override.lstrip("+").partition("=")[0]
        added = override.startswith("+") and not override.startswith("++")
        free = key in choices or "@" in key or key.startswith(("constraints.", "task."))
        if added and not free:
            close = get_close_matches(key, [k for k in keys if k != key], n=1)
            hint = f"did you mean '{close[0]}'?" if close else "leave out the plus to see the keys"
            raise ConfigError(f"'+{key}' names no key of the configuration; {hint}")
