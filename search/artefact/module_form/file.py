"""model.safetensors: the tensors of a compressed model, and in its header how it is built."""

import json
from collections.abc import Collection, Mapping
from hashlib import sha256
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from compressors.models.fingerprint import structure_digest
from search.artefact.module_form.describing import describe
from search.artefact.module_form.rebuilding import rebuild
from search.errors import ArtefactError

FORMAT = "1"
"""Version of the description; another one is not read."""


def write_module(model: nn.Module, baseline: nn.Module, path: Path) -> None:
    """Write a compressed model as a safetensors file, and read it back to see that it is the same.

    The file has every parameter and buffer under its name in the model, with the masks, codebooks
    and scales of the parametrisations, and in its header the description of `describe`. It needs
    the task's model, with any weights, to become a module again.

    Args:
        model: The model, frozen; it is not changed.
        baseline: The task's model that it was made of.
        path: Where the file is written; nothing is left there after an error.

    Raises:
        ArtefactError: A module is no plain data and like none of the task's.
    """
    entries, tensors = describe(model, baseline)
    header = {
        "format": "pt",
        "paredown": FORMAT,
        "modules": json.dumps(entries),
        "digest": _digest(model),
    }
    try:
        save_file(_separate(tensors), path, metadata=header)
        read_module(path, baseline, {type(m).__module__.partition(".")[0] for m in model.modules()})
    except (ArtefactError, SafetensorError, ValueError) as error:
        path.unlink(missing_ok=True)
        raise ArtefactError(str(error)) from error


def read_module(path: Path, baseline: nn.Module, packages: Collection[str] = ()) -> nn.Module:
    """Return the module that a file and the task's model make, in eval mode and frozen.

    Args:
        path: A file of `write_module`.
        baseline: The task's model, whose weights may be others than they were.
        packages: Packages that the recipe's compressors are from.

    Raises:
        ArtefactError: The file is damaged, or the modules of the task's model are others.
    """
    header, tensors = _read(path)
    try:
        model = rebuild(json.loads(header["modules"]), tensors, baseline, packages)
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise ArtefactError(f"{path} cannot be read: {error}") from error
    if _digest(model) != header["digest"]:
        raise ArtefactError(
            f"{path} does not give the module that was written: the file or the modules of the "
            "task's model have changed since"
        )
    return model


def _digest(model: nn.Module) -> str:
    """Return a digest of a model's weights, structure and shapes."""
    shapes = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    return sha256(f"{structure_digest(model)} {shapes}".encode()).hexdigest()


def _read(path: Path) -> tuple[Mapping[str, str], dict[str, Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            header: dict[str, str] = file.metadata() or {}
            tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ArtefactError(f"{path} cannot be read: {error}") from error
    if header.get("paredown") != FORMAT:
        raise ArtefactError(
            f"{path} is no module of this version of Paredown: its header has paredown="
            f"{header.get('paredown')}, wanted {FORMAT}"
        )
    return header, tensors


def _separate(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors of any shapes on the CPU of which none shares its memory with another."""
    found: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        plain = tensor.detach().cpu().contiguous()
        place = plain.untyped_storage().data_ptr()
        whole = plain.untyped_storage().nbytes() == plain.nbytes
        found[name] = plain if whole and place not in seen else plain.clone()
        seen.add(place)
    return found
