"""The score of an ONNX file by ONNX Runtime and the user's own score, without Paredown."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from tests.cases.case import Case, Parts


def independent_score(path: Path, built: Parts, case: Case) -> float:
    """Return the score of a file on the validation batches of a task.

    Args:
        path: The ONNX file.
        built: The user's parts of the task.
        case: Says how a batch and the outputs are read.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    answers, wanted = [], []
    for batch in built["validation"]:
        inputs, targets = case.read(batch)
        answers.append(
            [torch.from_numpy(found) for found in session.run(None, feeds(session, inputs))]
        )
        wanted.append(targets)
    if case.whole:
        return case.whole([case.structure(answer) for answer in answers], wanted)
    outputs = case.structure([torch.cat(part) for part in zip(*answers, strict=True)])
    targets = tree_map(lambda *parts: torch.cat(parts), wanted[0], *wanted[1:])
    return float(torch.as_tensor(scored(built["score"], outputs, targets)).double().mean())


def feeds(session: onnxruntime.InferenceSession, inputs: Any) -> dict[str, np.ndarray]:
    """Return a batch of inputs by the names of a file's inputs, in its types."""
    kinds = {value.name: value.type for value in session.get_inputs()}
    given = (
        dict(inputs)
        if isinstance(inputs, Mapping)
        else dict(zip(kinds, tensors(inputs), strict=True))
    )
    return {
        name: (given[name].float() if kind == "tensor(float)" else given[name]).numpy()
        for name, kind in kinds.items()
    }


def tensors(inputs: Any) -> Iterator[Tensor]:
    yield from [inputs] if isinstance(inputs, Tensor) else inputs


def scored(score: Any, outputs: Any, targets: Any) -> Any:
    """Return what a score, a function or an object with a state, says of outputs."""
    if not hasattr(score, "update"):
        return score(outputs, targets)
    score.reset()
    score.update(outputs, targets)
    return score.compute()
