"""The plain values that modules hold beside their tensors, as JSON and back."""

import importlib
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from functools import partial
from types import FunctionType, MethodType, NoneType
from typing import Any

import torch
from torch import Tensor, nn

from search.errors import ArtefactError

PLAIN = (bool, int, float, str, NoneType)
SEQUENCES: Mapping[str, Any] = {
    "list": list,
    "tuple": tuple,
    "size": torch.Size,
    "set": set,
    "frozenset": frozenset,
}
OURS = "compressors"
"""The package of ours whose classes a file may name."""
LOADED = ("torch", "builtins", "collections")
"""Packages whose classes a file may name if their module is imported already."""
TORCH_NAMES: Mapping[str, type] = {"dtype": torch.dtype, "device": torch.device}


@dataclass(kw_only=True)
class Encoder:
    """Turns values into JSON, and their tensors into named ones."""

    tensors: dict[str, Tensor] = field(default_factory=dict)
    """The tensors of any shape that the JSON refers to, by name."""
    _names: dict[int, str] = field(default_factory=dict)
    _objects: list[object] = field(default_factory=list)

    def tensor(self, name: str, tensor: Tensor) -> str:
        """Return the name of a tensor of any shape: the given one where it is met first."""
        known = self._names.setdefault(id(tensor), name)
        self.tensors.setdefault(known, tensor)
        return known

    def encode(self, name: str, value: Any) -> Any:
        """Return a value as JSON.

        Args:
            name: Where the value is, for its tensors and for the message.
            value: A constant, a tensor, a class, a dataclass of ours, or a structure of these.

        Raises:
            ArtefactError: It is, or holds, anything else.
        """
        if type(value) in PLAIN:
            return value
        if isinstance(value, Tensor):
            return {"tensor": self.tensor(name, value)}
        if isinstance(value, type):
            return {"type": class_path(value)}
        for kind, cls in SEQUENCES.items():
            if type(value) is cls:
                return {kind: [self.encode(f"{name}.{n}", v) for n, v in enumerate(value)]}
        for kind, cls in TORCH_NAMES.items():
            if isinstance(value, cls):
                return {kind: str(value).removeprefix("torch.")}
        if type(value) is dict:
            items = enumerate(value.items())
            return {"dict": [self.encode(f"{name}.{n}", list(pair)) for n, pair in items]}
        if is_dataclass(value) and type(value).__module__.startswith("compressors."):
            return self._object(name, value)
        raise ArtefactError(f"{name} holds a {type(value).__name__}, which is no plain data")

    def _object(self, name: str, value: Any) -> dict[str, Any]:
        """Return a dataclass of ours; one that several modules share is written once."""
        for number, known in enumerate(self._objects):
            if known is value:
                return {"object": number}
        self._objects.append(value)
        number = len(self._objects) - 1
        held = {
            f.name: self.encode(f"{name}.{f.name}", getattr(value, f.name)) for f in fields(value)
        }
        return {"object": number, "class": class_path(type(value)), "fields": held}


@dataclass(kw_only=True)
class Decoder:
    """Turns JSON and named tensors into the values that were encoded."""

    tensors: Mapping[str, Tensor]
    packages: Collection[str]
    """Packages, beside ours, of which a class may be imported."""
    loaded: Collection[str]
    """Packages of which a class may be named whose module is imported already."""
    _objects: dict[int, Any] = field(default_factory=dict)

    def decode(self, data: Any) -> Any:
        """Return the value that some JSON describes.

        Raises:
            ArtefactError: It names a class that may not be named.
        """
        if not isinstance(data, dict):
            return data
        kind, inner = next(iter(data.items()))
        if kind == "tensor":
            return self.tensors[inner]
        if kind == "type":
            return self._structure(inner)
        if kind in SEQUENCES:
            return SEQUENCES[kind](self.decode(item) for item in inner)
        if kind == "dtype":
            return _dtype(inner)
        if kind == "device":
            return torch.device(inner)
        if kind == "dict":
            return dict(self.decode(pair) for pair in inner)
        if kind == "object":
            return self._object(inner, data)
        raise ArtefactError(f"a value of unknown kind {kind!r}")

    def module_class(self, path: str) -> type[nn.Module]:
        """Return the class of modules that an import path names."""
        found = self._class(path)
        if not issubclass(found, nn.Module):
            raise ArtefactError(f"{path} is no class of modules")
        return found

    def _class(self, path: str) -> type:
        return named_class(path, {OURS, *self.packages}, {*LOADED, *self.loaded})

    def _structure(self, path: str) -> type:
        found = self._class(path)
        if not (issubclass(found, tuple | list | Mapping) or is_dataclass(found)):
            raise ArtefactError(f"{path} is no structure of outputs")
        return found

    def _object(self, number: int, data: Mapping[str, Any]) -> Any:
        if number not in self._objects:
            found = named_class(data["class"], {OURS}, ())
            if not is_dataclass(found):
                raise ArtefactError(f"{data['class']} is no plain data")
            held = {name: self.decode(value) for name, value in data["fields"].items()}
            self._objects[number] = found(**held)
        return self._objects[number]


def _dtype(name: str) -> torch.dtype:
    found = getattr(torch, name, None)
    if not isinstance(found, torch.dtype):
        raise ArtefactError(f"{name} is no dtype")
    return found


def class_path(cls: type) -> str:
    """Return the import path of a class, `package.module:Name`.

    Raises:
        ArtefactError: No import reaches it, as for one that a function defines.
    """
    path = f"{cls.__module__}:{cls.__qualname__}"
    if "<locals>" in path or cls.__module__ == "__main__":
        raise ArtefactError(f"{path} cannot be imported")
    return path


def named_class(path: str, packages: Collection[str], loaded: Collection[str]) -> type:
    """Return the class that an import path of `class_path` names.

    Args:
        path: The import path.
        packages: Packages of which a module may be imported.
        loaded: Packages whose modules may be named, but not imported, as that may run a script.

    Raises:
        ArtefactError: There is none, or it is defined elsewhere.
    """
    module, _, name = path.partition(":")
    package = module.partition(".")[0]
    if package not in {*packages, *loaded}:
        raise ArtefactError(
            f"the file names {path}, of none of the packages {sorted({*packages, *loaded})}"
        )
    try:
        found: Any = importlib.import_module(module) if package in packages else sys.modules[module]
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, KeyError, AttributeError) as error:
        raise ArtefactError(f"there is no {path} any more") from error
    if not isinstance(found, type) or class_path(found) != path:
        raise ArtefactError(f"{path} is no class of its own")
    return found


def alike(one: Any, other: Any) -> bool:
    """Return whether two values of a model and of a copy of it are the same."""
    if one is other:
        return True
    if type(one) is not type(other):
        return False
    if isinstance(one, Tensor):
        return one.shape == other.shape and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, MethodType):
        return one.__func__ is other.__func__
    if isinstance(one, partial):
        return alike([one.func, one.args, one.keywords], [other.func, other.args, other.keywords])
    if isinstance(one, nn.Module | FunctionType | type):
        return isinstance(one, nn.Module)  # its own place in the tree is compared
    if hasattr(one, "__dict__") and vars(type(one)).get("__eq__") is None:
        return alike(vars(one), vars(other))
    return bool(one == other)
