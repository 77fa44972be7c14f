"""The plan of the house: which room may import which, through which doors, and at what cost."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("paredown", "search", "compressors")
ORDER = (
    ("paredown",),
    ("search.cli",),
    ("search.command_line",),
    ("search.commands",),
    ("search.deploy",),
    ("search.study",),
    ("search.tracking",),
    ("search.report", "search.trial"),
    ("search.config", "search.proposal"),
    ("search.artefact",),
    ("search.tasks", "search.executors", "search.recipe"),
    ("search.pareto",),
    ("search.utils",),
    ("search.errors", "search.trial_record"),
    ("compressors",),
)
"""The rooms from the top of the house to the ground; imports go down only."""
SAME_FLOOR = {("search.proposal", "search.config")}
"""The imports between rooms of one floor."""
METHODS_ORDER = (
    ("compressors.testing",),
    ("compressors",),
    ("compressors.channels", "compressors.layers", "compressors.training"),
    ("compressors.budget",),
    ("compressors.models",),
    ("compressors.weights",),
    ("compressors.base",),
    ("compressors.outputs",),
    ("compressors.kinds",),
    ("compressors.errors",),
)
"""The rooms of the compressors; `compressors` stands for the methods at its root."""
LIGHT = (
    "search.cli",
    "search.command_line",
    "search.config",
    "search.recipe",
    "search.executors",
    "search.pareto",
    "search.utils",
    "search.errors",
    "search.trial_record",
    "compressors.kinds",
    "compressors.errors",
)
"""Rooms that a configuration error or `--help` passes through: they load without HEAVY."""
HEAVY = ("torch", "mlflow", "pandas")
NOT_FOR_COMPRESSORS = {"optuna", "hydra", "omegaconf", "mlflow", "pandas", "search", "paredown"}


@dataclass(frozen=True)
class Import:
    """One module that imports another, at the top of the file or anywhere in it."""

    importer: str
    imported: str
    at_run_time: bool
    """False under `if TYPE_CHECKING`."""
    at_top: bool


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {
    module_name(path): path
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
}
ROOMS = [room for floor in ORDER for room in floor]
METHOD_ROOMS = [room for floor in METHODS_ORDER for room in floor]
EVERY_ROOM = list(dict.fromkeys([*ROOMS, *METHOD_ROOMS]))


@cache
def imports() -> tuple[Import, ...]:
    return tuple(found for name, path in FILES.items() for found in imports_of(name, path))


def imports_of(importer: str, path: Path) -> Iterator[Import]:
    tree = ast.parse(path.read_text())
    typing = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} uses a relative import"
            names = [imported(node.module or "", alias.name) for alias in node.names]
        for name in names:
            run_time, top = node not in typing, node in tree.body
            yield Import(importer=importer, imported=name, at_run_time=run_time, at_top=top)


def imported(module: str, name: str) -> str:
    """Return the module that `from module import name` loads last."""
    return f"{module}.{name}" if f"{module}.{name}" in FILES else module


def room_of(module: str, rooms: list[str]) -> str | None:
    fitting = [room for room in rooms if module == room or module.startswith(f"{room}.")]
    return max(fitting, key=len, default=None)


def floors(order: tuple[tuple[str, ...], ...]) -> dict[str, int]:
    return {room: level for level, rooms in enumerate(order) for room in rooms}


def test_every_module_of_the_search_is_in_a_room() -> None:
    homeless = [name for name in FILES if room_of(name, ROOMS) is None]
    assert homeless == ["search"], "a module that lies in no room of ORDER"


@pytest.mark.parametrize("order", [ORDER, METHODS_ORDER], ids=["house", "compressors"])
def test_imports_go_down_only(order: tuple[tuple[str, ...], ...]) -> None:
    level = floors(order)
    upward = []
    for one in imports():
        above, below = room_of(one.importer, list(level)), room_of(one.imported, list(level))
        if above is None or below is None or above == below or (above, below) in SAME_FLOOR:
            continue
        if level[below] <= level[above]:
            upward.append(f"{one.importer} imports {one.imported}")
    assert not upward


def test_no_modules_import_each_other_in_a_cycle() -> None:
    graph: dict[str, set[str]] = {name: set() for name in FILES}
    for one in imports():
        if one.at_run_time and one.imported in FILES and one.importer != one.imported:
            graph[one.importer].add(one.imported)
    TopologicalSorter(graph).prepare()


def doors(room: str) -> set[str]:
    """Return the modules that other rooms may import, as the room's `__init__.py` names them."""
    path = FILES[room]
    if path.name != "__init__.py":
        return {room}
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return {room, *(f"{room}.{name}" for name in ast.literal_eval(node.value))}
    return {room}


def test_rooms_are_entered_through_their_doors() -> None:
    rooms = [room for room in EVERY_ROOM if room != "compressors"]
    for one in imports():
        room = room_of(one.imported, rooms)
        if room is None or room_of(one.importer, rooms) == room:
            continue
        allowed = doors(room)
        through = any(
            one.imported == d or one.imported.startswith(f"{d}.") for d in allowed - {room}
        )
        assert through or one.imported == room, f"{one.importer} imports {one.imported}"


@pytest.mark.parametrize("room", [r for r in EVERY_ROOM if r in FILES])
def test_every_door_of_a_room_is_there_and_used(room: str) -> None:
    if room in ("compressors", "paredown", "compressors.testing", "search.tracking"):
        return  # the public ones
    targets = " ".join(path.read_text() for path in (ROOT / "conf").rglob("*.yaml"))
    for door in doors(room) - {room}:
        assert door in FILES, f"{door} is no module"
        if f"_target_: {door}." in targets:
            continue
        outside = [
            one.importer
            for one in imports()
            if (one.imported == door or one.imported.startswith(f"{door}."))
            and room_of(one.importer, [room]) is None
        ]
        assert outside, f"no other room imports {door}: take it out of __all__"


@pytest.mark.parametrize("room", LIGHT)
def test_a_room_that_must_start_fast_loads_nothing_heavy(room: str) -> None:
    modules = [name for name in FILES if room_of(name, [room]) == room]
    code = f"import sys, {', '.join(modules)}; print([h for h in {HEAVY} if h in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_compressors_know_nothing_of_the_search() -> None:
    for one in imports():
        if one.importer.split(".")[0] == "compressors":
            assert one.imported.split(".")[0] not in NOT_FOR_COMPRESSORS, one


def test_the_map_names_only_what_is_there_and_every_room() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    for name in re.findall(r"`((?:search|compressors|conf|tests|benchmarks)/[\w/.]*)`", text):
        assert (ROOT / name).exists(), name
    for name in re.findall(r"`(\w+\.py)`", text):
        assert name in {path.name for path in FILES.values()}, name
    drawing = text.split("```")[1]
    for room in EVERY_ROOM:
        assert room.rpartition(".")[2] in drawing, f"the drawing lacks {room}"
