"""How the modules of a compressed model differ from those of the task's model, as JSON."""

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList, is_parametrized

from compressors.models.copying import copy_model, plain_parameters
from search.artefact.module_form.values import Encoder, alike, class_path
from search.errors import ArtefactError

INTERNAL = frozenset(vars(nn.Module()))
"""What torch keeps in every module: tensors and submodules, which are described, and hooks."""
DERIVED = frozenset({"_flat_weights", "_flat_weight_refs"})
"""What recurrent layers make of their own parameters."""
CHAINS = "parametrizations"


def describe(
    model: nn.Module, baseline: nn.Module
) -> tuple[list[dict[str, Any]], dict[str, Tensor]]:
    """Return one entry for each module of a model, and the tensors that these refer to.

    A module is either like one of the task's model, with some attributes set and some gone, or new:
    of a class that can be imported, with plain attributes alone. So the methods need not say what
    they did, and the description is exact for any of them.

    Args:
        model: The compressed model, frozen.
        baseline: The task's model.

    Raises:
        ArtefactError: A module is neither.
    """
    copy = copy_model(baseline, plain_parameters(baseline))
    encoder = Encoder()
    describer = _Describer(dict(copy.named_modules()), encoder)
    paths = {module: path for path, module in _described(model)}
    entries = [describer.entry(path, module, paths) for module, path in paths.items()]
    return entries, encoder.tensors


def _described(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield all modules with their paths, but those in which torch keeps parametrisations."""
    chains = {
        held
        for module in model.modules()
        if is_parametrized(module)
        for held in (module.parametrizations, *module.parametrizations.values())  # type: ignore[operator]
    }
    return ((path, module) for path, module in model.named_modules() if module not in chains)


class _Describer:
    def __init__(self, known: Mapping[str, nn.Module], encoder: Encoder) -> None:
        self._known = known
        """The modules of the task's model by path."""
        self._encoder = encoder

    def entry(self, path: str, module: nn.Module, paths: Mapping[nn.Module, str]) -> dict[str, Any]:
        """Return what a module is, what it holds and which modules are in it."""
        return {
            "path": path,
            **self._kind(path, module),
            "parameters": [
                [name, None if held is None else self._tensor(path, name, held)]
                for name, held in module._parameters.items()
            ],
            "buffers": [
                [
                    name,
                    None if held is None else self._tensor(path, name, held),
                    name not in module._non_persistent_buffers_set,
                ]
                for name, held in module._buffers.items()
            ],
            "modules": [
                [name, None if held is None else paths[held]]
                for name, held in module._modules.items()
                if name != CHAINS or not is_parametrized(module)
            ],
            "parametrised": [
                self._chain(path, name, chain, paths) for name, chain in chains_of(module)
            ],
        }

    def _kind(self, path: str, module: nn.Module) -> dict[str, Any]:
        """Return the module of the task's model that a module is like, or its class."""
        reason = None
        for like in self._candidates(path, module):
            try:
                return {"like": like, **self._changes(path, module, self._known[like])}
            except ArtefactError as error:
                reason = reason or error
        try:
            made = {"class": class_path(plain_class(module)), **self._changes(path, module, None)}
        except ArtefactError as error:
            raise reason or error from error
        return made

    def _candidates(self, path: str, module: nn.Module) -> Iterator[str]:
        """Yield the paths of modules of the same class: its own, and others if it is no new one."""
        same = [p for p, m in self._known.items() if plain_class(m) is plain_class(module)]
        if path in same:
            yield path
        elif plain_class(module).__module__.startswith(("torch.nn.", "compressors.")):
            return
        yield from (other for other in same if other != path)

    def _changes(self, path: str, module: nn.Module, like: nn.Module | None) -> dict[str, Any]:
        before, now = ({} if like is None else attributes(like)), attributes(module)
        return {
            "set": {
                name: self._encoder.encode(f"{path}.{name}".lstrip("."), value)
                for name, value in now.items()
                if isinstance(value, Tensor) or name not in before or not alike(value, before[name])
            },
            "gone": [name for name in before if name not in now],
        }

    def _tensor(self, path: str, name: str, tensor: Tensor) -> str:
        return self._encoder.tensor(f"{path}.{name}".lstrip("."), tensor)

    def _chain(
        self, path: str, name: str, chain: ParametrizationList, paths: Mapping[nn.Module, str]
    ) -> dict[str, Any]:
        if not chain.is_tensor:
            raise ArtefactError(f"{path}.{name} is made of several tensors")
        return {
            "name": name,
            "original": self._tensor(path, f"{CHAINS}.{name}.original", chain.original),
            "unsafe": chain.unsafe,
            "steps": [paths[step] for step in chain],
        }


def chains_of(module: nn.Module) -> list[tuple[str, ParametrizationList]]:
    """Return the parametrisations of a module by the name of what they make."""
    found = module.parametrizations.items() if is_parametrized(module) else ()  # type: ignore[operator,union-attr]
    return list(found)


def plain_class(module: nn.Module) -> type[nn.Module]:
    """Return a module's class as its author wrote it, without torch's own for parametrisations."""
    return type(module).__bases__[0] if is_parametrized(module) else type(module)


def attributes(module: nn.Module) -> dict[str, Any]:
    """Return what a module holds beside its tensors, submodules and hooks."""
    unseen = INTERNAL | (DERIVED if isinstance(module, nn.RNNBase) else frozenset())
    return {name: value for name, value in vars(module).items() if name not in unseen}
