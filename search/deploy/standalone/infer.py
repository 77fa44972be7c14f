"""Run model.onnx: `python infer.py` on zeros, `python infer.py inputs.npz` on arrays by name.

It needs numpy and onnxruntime. From Python: `import infer; infer.run(input=array)`.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

FILE = str(Path(__file__).with_name("model.onnx"))
session = onnxruntime.InferenceSession(FILE, providers=["CPUExecutionProvider"])
TYPES = {"float": "float32", "double": "float64"}


def run(**inputs: Any) -> dict[str, Any]:
    """Return the outputs by name, for arrays `[B, ...]` by the names of the inputs."""
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


def zeros(free: int = 1) -> dict[str, Any]:
    """Return zeros for every input, whose free axes have a given size."""
    found = {}
    for each in session.get_inputs():
        kind = each.type.removeprefix("tensor(").removesuffix(")")
        shape = [size if isinstance(size, int) else free for size in each.shape]
        found[each.name] = np.zeros(shape, TYPES.get(kind, kind))
    return found


if __name__ == "__main__":
    given = dict(np.load(sys.argv[1])) if len(sys.argv) > 1 else zeros()
    for name, output in run(**given).items():
        print(name, output.shape, output.dtype, output, sep="\n")
