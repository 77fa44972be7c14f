"""The formats of an export beside the ONNX file: which there are, and what each needs."""

from collections.abc import Collection, Iterable
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from compressors.base import Inputs
from search.artefact.model_files import MODULE_FORM, RUN_FORM, SHIP_FORM
from search.artefact.onnx_form.export import feeds
from search.artefact.onnx_form.runtime import open_session
from search.errors import ArtefactError, ConfigError

PROGRAM = "model.pt2"
OPENVINO = "model.xml"
OPENVINO_WEIGHTS = "model.bin"
FILES = {
    "onnx": (RUN_FORM,),
    "packed": (SHIP_FORM,),
    "safetensors": (MODULE_FORM,),
    "pt2": (PROGRAM,),
    "openvino": (OPENVINO, OPENVINO_WEIGHTS),
}
"""The files of each format."""
DEFAULT = ("onnx", "packed", "safetensors")
TOLERANCE = 1e-3
"""Largest difference between the outputs of two runtimes, over the largest output, in floats."""
INTEGER_TOLERANCE = 5e-2
"""The same where activations are integers, of which a runtime may round one to its neighbour."""


def check_formats(formats: Iterable[str]) -> tuple[str, ...]:
    """Return the formats of an export, each once, in the order in which they are written.

    Raises:
        ConfigError: One is unknown or not installed, or there is no ONNX file.
    """
    wanted = set(formats)
    unknown = sorted(wanted - FILES.keys())
    if unknown:
        raise ConfigError(f"formats must be some of {', '.join(FILES)}, got {', '.join(unknown)}")
    if "onnx" not in wanted:
        raise ConfigError(
            f"formats must name onnx, which infer.py runs and all others are compared with, got "
            f"{', '.join(sorted(wanted)) or 'none'}"
        )
    if "openvino" in wanted and find_spec("openvino") is None:
        raise ConfigError(
            "formats names openvino, which is not installed: pip install 'paredown[openvino]'"
        )
    return tuple(name for name in FILES if name in wanted)


def remove_others(folder: Path, formats: Collection[str]) -> None:
    """Delete the files of an earlier export whose formats are not wanted."""
    for name, files in FILES.items():
        for file in files if name not in formats else ():
            (folder / file).unlink(missing_ok=True)


def write_openvino(folder: Path, example: Inputs, *, integers: bool) -> None:
    """Write the ONNX file of a folder in OpenVINO's form, and compare the outputs of both.

    Args:
        folder: It has the ONNX file.
        example: One batch of inputs `[B, ...]`.
        integers: Whether the file computes in integers.

    Raises:
        ArtefactError: OpenVINO does not take the file, or its outputs are others.
    """
    import openvino

    inputs = feeds(example)
    expected = open_session(folder / RUN_FORM).run(None, inputs)
    try:
        model = openvino.convert_model(folder / RUN_FORM)
        openvino.save_model(model, folder / OPENVINO, compress_to_fp16=False)
        exact = {"INFERENCE_PRECISION_HINT": "f32"}
        compiled = openvino.compile_model(folder / OPENVINO, "CPU", exact)
        found = list(compiled(inputs).to_tuple())
    except Exception as error:  # OpenVINO's own errors have no common class
        last = str(error).strip().splitlines()[-1]
        raise ArtefactError(f"OpenVINO does not take {RUN_FORM}: {last}") from error
    allowed = INTEGER_TOLERANCE if integers else TOLERANCE
    for name, one, other in zip(compiled.outputs, expected, found, strict=True):
        scale = float(np.abs(one).max()) or 1.0
        difference = float(np.abs(one - other).max()) / scale
        if not difference <= allowed:
            raise ArtefactError(
                f"OpenVINO's {name.any_name} differs from ONNX Runtime's by {difference:.1e} of "
                f"the largest, more than {allowed:g}"
            )
