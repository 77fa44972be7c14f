"""The exported ONNX file says what it is: names of its nodes, and facts that travel in it."""

import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx

from search.artefact.model_files import RUN_FORM, SHIP_FORM
from search.artefact.onnx_form.rewriting.canonical import canonical
from search.artefact.packed_form.packing import restores
from search.artefact.packed_form.unpack import DATA_FILE
from search.utils.provenance import code_version

PRODUCER = "paredown"


def describe_file(path: Path, facts: Mapping[str, str], text: str) -> None:
    """Give the nodes of an ONNX file names, and the file its description, in place.

    It computes the same; what the trial measured, and what the packed file restores, is the file
    without them, to the byte.

    Args:
        path: The ONNX file as a trial wrote it.
        facts: What is kept as the file's metadata.
        text: The description in words.
    """
    model = onnx.load(path, load_external_data=False)
    numbers: Counter[str] = Counter()
    for node in model.graph.node:
        node.name = f"{node.op_type}_{numbers[node.op_type]}"
        numbers[node.op_type] += 1
    model.producer_name = PRODUCER
    model.producer_version = code_version().get("version", "")
    model.doc_string = text
    onnx.helper.set_model_props(model, dict(facts))
    path.write_bytes(model.SerializeToString(deterministic=True))


def restores_described(folder: Path) -> bool:
    """Return whether the packed file of a folder restores its ONNX file without the description.

    Raises:
        CorruptFileError: The packed file is damaged.
    """
    plain = canonical(onnx.load(folder / RUN_FORM, load_external_data=False))
    with TemporaryDirectory() as temporary:
        path = Path(temporary) / RUN_FORM
        path.write_bytes(plain.SerializeToString(deterministic=True))
        if (folder / DATA_FILE).exists():
            shutil.copyfile(folder / DATA_FILE, path.with_name(DATA_FILE))
        return restores(folder / SHIP_FORM, path)


def file_shapes(path: Path) -> dict[str, list[int]]:
    """Return the shape of each input of an ONNX file, free axes with one place."""
    graph = onnx.load(path, load_external_data=False).graph
    return {
        each.name: [axis.dim_value or 1 for axis in each.type.tensor_type.shape.dim]
        for each in graph.input
    }
