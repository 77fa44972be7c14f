"""A compressed model made of the task's model, a description and named tensors."""

from collections.abc import Collection, Mapping, Sequence
from copy import deepcopy
from typing import Any

from torch import Tensor, nn
from torch.nn.utils.parametrize import register_parametrization

from compressors.models.calibration import device_of
from compressors.models.copying import copy_model, refresh_recurrent_weights
from search.artefact.module_form.describing import plain_class
from search.artefact.module_form.values import Decoder
from search.errors import ArtefactError

Entries = Sequence[Mapping[str, Any]]
"""What `describe` returns."""


def rebuild(
    entries: Entries,
    tensors: Mapping[str, Tensor],
    baseline: nn.Module,
    packages: Collection[str] = (),
) -> nn.Module:
    """Return the model that was described, in eval mode and frozen, on the baseline's device.

    No weight of the baseline is used, only its modules: their code, and their attributes that are
    no plain data. A class of a new module is named by the file; it is imported from torch, from the
    compressors, from a package of the baseline's modules or of the recipe, and never called.

    Args:
        entries: The description of each module.
        tensors: By name, the tensors of any shapes that it refers to.
        baseline: The task's model; it is not changed.
        packages: Packages that the recipe's compressors are from.

    Raises:
        ArtefactError: The baseline lacks a module, or a class cannot be named.
    """
    copy = copy_model(baseline)
    own = {type(module).__module__.partition(".")[0] for module in copy.modules()}
    device = device_of(baseline)
    there = {name: tensor.to(device) for name, tensor in tensors.items()}
    decoder = Decoder(tensors=there, packages=packages, loaded=own)
    known = dict(copy.named_modules())
    made: dict[str, nn.Module] = {}
    taken: set[nn.Module] = set()
    for entry in entries:
        module = _module(entry, known, decoder)
        module = deepcopy(module) if module in taken else module
        taken.add(module)
        made[entry["path"]] = module
    parameters: dict[str, nn.Parameter] = {}
    for entry in entries:
        _fill(made[entry["path"]], entry, made, decoder, parameters)
    for entry in entries:
        _parametrise(made[entry["path"]], entry, made, parameters, there)
    model = made[""]
    for module in model.modules():
        if isinstance(module, nn.RNNBase):
            module._init_flat_weights()
    refresh_recurrent_weights(model)
    return model.eval().requires_grad_(False)


def _module(
    entry: Mapping[str, Any], known: Mapping[str, nn.Module], decoder: Decoder
) -> nn.Module:
    """Return the module that an entry is like, or an empty one of its class."""
    if "class" in entry:
        cls = decoder.module_class(entry["class"])
        module = cls.__new__(cls)
        nn.Module.__init__(module)
        return module
    if entry["like"] not in known:
        raise ArtefactError(f"the task's model has no module '{entry['like']}' any more")
    return known[entry["like"]]


def _fill(
    module: nn.Module,
    entry: Mapping[str, Any],
    made: Mapping[str, nn.Module],
    decoder: Decoder,
    parameters: dict[str, nn.Parameter],
) -> None:
    """Give a module its attributes, tensors and submodules, in place of those that it has."""
    module.__class__ = plain_class(module)
    for name in entry["gone"]:
        vars(module).pop(name, None)
    vars(module).update({name: decoder.decode(value) for name, value in entry["set"].items()})
    module._parameters = {
        name: None if key is None else _parameter(key, decoder.tensors, parameters)
        for name, key in entry["parameters"]
    }
    module._buffers = {
        name: None if key is None else decoder.tensors[key] for name, key, _ in entry["buffers"]
    }
    module._non_persistent_buffers_set = {name for name, _, kept in entry["buffers"] if not kept}
    module._modules = {
        name: None if path is None else made[path] for name, path in entry["modules"]
    }


def _parametrise(
    module: nn.Module,
    entry: Mapping[str, Any],
    made: Mapping[str, nn.Module],
    parameters: dict[str, nn.Parameter],
    tensors: Mapping[str, Tensor],
) -> None:
    for chain in entry["parametrised"]:
        name = chain["name"]
        module._parameters[name] = _parameter(chain["original"], tensors, parameters)
        for step in chain["steps"]:
            register_parametrization(module, name, made[step], unsafe=True)
        module.parametrizations[name].unsafe = chain["unsafe"]  # type: ignore[union-attr,index]


def _parameter(
    name: str, tensors: Mapping[str, Tensor], parameters: dict[str, nn.Parameter]
) -> nn.Parameter:
    """Return the one parameter of a name, which several modules may share."""
    if name not in parameters:
        parameters[name] = nn.Parameter(tensors[name], requires_grad=False)
    return parameters[name]
