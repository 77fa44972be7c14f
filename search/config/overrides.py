"""The arguments of a command, arranged and checked before Hydra reads them."""

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from itertools import pairwise
from typing import Any

from search.config.former_keys import with_present_key
from search.errors import ConfigError

GROUPS = ("experiment", "executor", "objectives", "recipe", "sampler", "task", "tracking")
"""Groups in the defaults, whose option replaces the default with a plus as without one."""
QUOTED = ("select", "file", "folder", "out", "a", "b")
"""Keys whose values may hold what Hydra's grammar gives another meaning."""
FLAGS_WITH_VALUE = ("--config-dir", "-cd", "--config-name", "-cn", "--cfg", "-c", "--package", "-p")


def flags_first(arguments: list[str]) -> list[str]:
    """Return the arguments with the flags first, the only place where Hydra accepts them."""
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


def rewrite(argument: str, command: str) -> str:
    """Return an argument of a command in a form that Hydra accepts.

    `constraints.METRIC<=BOUND` is no override in Hydra's grammar; the path of a recipe must not be
    read as an option of the group `recipe`; a selection and a path need quotes; the patterns in
    `steps.STEP.layers={PATTERN: VALUE}` and the metrics in `objectives` and `preferences` may be
    new keys. A plus before a group is dropped. Former keys of a search are renamed; no other
    command has any.
    """
    bound = re.fullmatch(r"(\+*)constraints\.([\w/.]+?)\s*([<>]=)\s*(\S.*)", argument)
    if bound:
        return f"++constraints.{bound[2]}='{bound[3]}{bound[4]}'"
    key, separator, value = argument.partition("=")
    if key.startswith("+") and key.lstrip("+") in GROUPS:
        return rewrite(argument.lstrip("+"), command)
    new = r"\+*(steps\.\w+\.layers|(objectives|preferences\.(reference|weights))\.\w+)"
    if re.fullmatch(new, key):
        return f"++{argument.lstrip('+')}"
    if separator and (key in QUOTED or (key == "recipe" and value.endswith((".yaml", ".yml")))):
        name = "recipe_file" if key == "recipe" else key
        quoted = value.replace("\\", "\\\\").replace("'", "\\'")
        return f"{name}='{quoted}'"
    return with_present_key(argument) if command == "search" else argument


def name_bare(arguments: list[str], names: Sequence[str]) -> list[str]:
    """Return arguments, flags first, with a name before each that is no flag or override.

    Args:
        arguments: Of a command.
        names: The keys of the first, the second and so on.
    """
    named, left = list(arguments), list(names)
    for place, (before, argument) in enumerate(pairwise(["", *arguments])):
        bare = not argument.startswith("-") and not re.match(r"[~+]*[\w@./:-]*=", argument)
        if left and bare and before not in FLAGS_WITH_VALUE:
            named[place] = f"{left.pop(0)}={argument}"
    return named


def check_additions(
    overrides: Sequence[str], choices: Mapping[str, Any], keys: Sequence[str]
) -> None:
    """Check that overrides with one plus add only what may be added.

    A plus may add an option of a group, a constraint, or an argument of the task's own function;
    every other key stands in the configurations and needs no plus.

    Args:
        overrides: The overrides that Hydra read.
        choices: The chosen options by group.
        keys: The keys at the top of the composed configuration, for the message.

    Raises:
        ConfigError: An override adds another key, most often because of a typo.
    """
    for override in overrides:
        key = override.lstrip("+").partition("=")[0]
        added = override.startswith("+") and not override.startswith("++")
        free = key in choices or "@" in key or key.startswith(("constraints.", "task."))
        if added and not free:
            close = get_close_matches(key, [k for k in keys if k != key], n=1)
            hint = f"did you mean '{close[0]}'?" if close else "leave out the plus to see the keys"
            raise ConfigError(f"'+{key}' names no key of the configuration; {hint}")


def chosen_task(choices: Mapping[str, Any]) -> str:
    """Return the option that was chosen in the group `task`; raise `ConfigError` without one."""
    name = choices.get("task")
    if not name:
        raise ConfigError("no task is chosen: task=NAME names one, such as task=digits")
    return str(name)
