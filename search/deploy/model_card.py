"""The model card of an exported trial: what it is, what it scores, how to run it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx
import yaml

CARD = """\
# {study}, trial {trial}

A compressed model, chosen by `select={select}`{position}. Verdict: **{verdict}**.{notes}

| figure | baseline | this model |
|---|---|---|
{rows}

Validation chose the model; the test set had no part in the choice. The score's ± is
one standard error. Latency is CPU time per inference beside the baseline's own ONNX file, batch
{batch_size}, {threads} thread(s).

## Run

```python
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession("model.onnx")
outputs = session.run(None, {{{feeds}}})[0]
```

`model.packed` is the same network for shipping: `python unpack.py model.packed model.onnx` writes
model.onnx again, byte for byte; it needs numpy, constriction and onnx alone.

## Make it again

`paredown apply recipe=recipe.yaml task=...` repeats these steps:

```yaml
{recipe}
```

Built with {versions}. Hashes and all figures are in evidence.json.
"""


def model_card(evidence: Mapping[str, Any], model: Path) -> str:
    """Return the text of the model card, from the evidence and the inputs of the ONNX file."""
    versions = {**evidence["code"], **evidence["versions"]}
    position = evidence["front_position"]
    place = f", member {position} of {len(evidence['front'])} of the front" if position else ""
    return CARD.format(
        study=evidence["study"],
        trial=evidence["trial"],
        select=evidence["select"],
        position=place,
        verdict=evidence["verdict"],
        notes=f" Note: {evidence['notes']}." if evidence["notes"] else "",
        rows="\n".join(_rows(evidence)),
        feeds=_feeds(model),
        recipe=yaml.safe_dump(evidence["recipe"], sort_keys=False).strip(),
        versions=", ".join(f"{name} {value}" for name, value in versions.items()),
        **evidence["latency"],
    )


def _rows(evidence: Mapping[str, Any]) -> list[str]:
    base, found, test = evidence["baseline"], evidence["validation"], evidence["test"]
    return [
        f"| score, test | {_plus_minus(evidence['baseline_test'])} | {_plus_minus(test)} |",
        f"| score, validation | {_plus_minus(base)} | {_plus_minus(found)} |",
        f"| model.packed, bytes | {base['size_bytes']:.0f} | {found['size_bytes']:.0f} |",
        f"| model.onnx, bytes | {base['run_bytes']:.0f} | {found['run_bytes']:.0f} |",
        f"| latency over the baseline's | 1 | {found['latency_ratio']:.3f} |",
        f"| multiply-accumulates | {base['macs']:.0f} | {found['macs']:.0f} |",
        f"| parameters | {base['parameters']:.0f} | {found['parameters']:.0f} |",
        f"| of these not zero | {base['nonzeros']:.0f} | {found['nonzeros']:.0f} |",
    ]


def _plus_minus(figures: Mapping[str, float]) -> str:
    if not figures:
        return ""
    return f"{figures['score']:.6f} ± {figures['score_standard_error']:.6f}"


def _feeds(path: Path) -> str:
    """Return the inputs of an ONNX file as zeros of the right shape, in Python."""
    feeds = []
    for node in onnx.load(path).graph.input:
        tensor = node.type.tensor_type
        shape = [d.dim_value or "batch" for d in tensor.shape.dim]
        kind = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
        sizes = ", ".join("1" if size == "batch" else str(size) for size in shape)
        feeds.append(f'"{node.name}": np.zeros([{sizes}], np.{kind})')
    return ", ".join(feeds)
