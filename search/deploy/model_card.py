"""The model card of an exported trial: what it is, what it scores, how to run it."""

from collections.abc import Mapping
from pathlib import Path

import onnx
import yaml

from search.artefact.packed_form.unpack import DATA_FILE
from search.deploy.evidence import Evidence

CARD = """\
# {study}, trial {trial}

A compressed model, chosen by `select={select}`{position}. Verdict: **{verdict}**.{notes}

| metric | baseline | this model |
|---|---|---|
{rows}

Validation data chose the model; the test set had no part in the choice. The score's ± is one
standard error. Latency is CPU time per inference, measured in turns with the baseline's own ONNX
file: batch {batch_size}, {threads} thread(s). Latency and multiply-accumulates are for samples of
the shapes {shapes}; axes with a name are free.

## Run

```python
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession("model.onnx")
outputs = session.run(None, {{{feeds}}})[0]
```

{outside}`model.packed` is the same network for shipping: `{unpack}` writes
model.onnx again, byte for byte; it needs only numpy, constriction and onnx.

## Make it again

`paredown apply recipe=recipe.yaml task=...` repeats these steps:

```yaml
{recipe}
```

Built with {versions}. Hashes and all metrics are in evidence.json.
"""

OUTSIDE = f"""\
The weights are in `{DATA_FILE}`, which must be beside `model.onnx` under this name.

"""


def model_card(evidence: Evidence, model: Path) -> str:
    """Return the text of the model card.

    Args:
        evidence: what is known of the exported model.
        model: the exported ONNX file, which shows the inputs.
    """
    versions = {**evidence.code, **evidence.versions}
    position, members = evidence.front_position, len(evidence.front)
    return CARD.format(
        study=evidence.study,
        trial=evidence.trial,
        select=evidence.select,
        position=f", member {position} of {members} of the front" if position else "",
        verdict=evidence.verdict,
        notes=f" Note: {evidence.notes}." if evidence.notes else "",
        rows="\n".join(_rows(evidence)),
        feeds=_feeds(evidence, model),
        outside=OUTSIDE if DATA_FILE in evidence.sha256 else "",
        unpack=_unpack_command(evidence),
        recipe=yaml.safe_dump(dict(evidence.recipe), sort_keys=False).strip(),
        versions=", ".join(f"{name} {value}" for name, value in versions.items()),
        batch_size=evidence.latency["batch_size"],
        threads=evidence.latency["threads"],
        shapes=_shapes(evidence, model),
    )


def _rows(evidence: Evidence) -> list[str]:
    """Return the rows of the table of metrics."""
    base, found = evidence.baseline, evidence.validation
    return [
        f"| score, test | {_score(evidence.baseline_test)} | {_score(evidence.test)} |",
        f"| score, validation | {_score(base)} | {_score(found)} |",
        f"| model.packed, bytes | {base['size_bytes']:.0f} | {found['size_bytes']:.0f} |",
        f"| model.onnx, bytes | {base['run_bytes']:.0f} | {found['run_bytes']:.0f} |",
        f"| latency over the baseline's | 1 | {found['latency_ratio']:.3f} |",
        f"| multiply-accumulates | {base['macs']:.0f} | {found['macs']:.0f} |",
        *_bit_operations(base, found),
        f"| parameters | {base['parameters']:.0f} | {found['parameters']:.0f} |",
        f"| of these not zero | {base['nonzeros']:.0f} | {found['nonzeros']:.0f} |",
    ]


def _bit_operations(base: Mapping[str, float], found: Mapping[str, float]) -> list[str]:
    """Return the row of bit operations; none for a trial of 0.1.0, which did not count them."""
    if "bops" not in base or "bops" not in found:
        return []
    return [f"| bit operations | {base['bops']:.0f} | {found['bops']:.0f} |"]


def _score(metrics: Mapping[str, float]) -> str:
    """Return a score with its standard error; nothing if it was not measured."""
    if not metrics:
        return ""
    return f"{metrics['score']:.6f} ± {metrics['score_standard_error']:.6f}"


def _unpack_command(evidence: Evidence) -> str:
    """Return the command, with the size to be accepted for a model larger than the default."""
    size = round(evidence.validation["run_bytes"])
    limit = f" {size}" if DATA_FILE in evidence.sha256 else ""
    return f"python unpack.py model.packed model.onnx{limit}"


def _shapes(evidence: Evidence, path: Path) -> str:
    """Return the shapes of a sample, with the names of their free axes: `x [batch=1, 3, length=8]`.

    Args:
        evidence: gives the sizes.
        path: the ONNX file, which gives the names.
    """
    shown = []
    for node in onnx.load(path, load_external_data=False).graph.input:
        names = [d.dim_param for d in node.type.tensor_type.shape.dim]
        sizes = evidence.input_shapes[node.name]
        axes = (f"{n}={s}" if n else str(s) for n, s in zip(names, sizes, strict=True))
        shown.append(f"{node.name} [{', '.join(axes)}]")
    return ", ".join(shown)


def _feeds(evidence: Evidence, path: Path) -> str:
    """Return Python code for the inputs of an ONNX file, as zeros of a sample's shape."""
    feeds = []
    for node in onnx.load(path, load_external_data=False).graph.input:
        kind = onnx.helper.tensor_dtype_to_np_dtype(node.type.tensor_type.elem_type).name
        sizes = ", ".join(map(str, evidence.input_shapes[node.name]))
        feeds.append(f'"{node.name}": np.zeros([{sizes}], np.{kind})')
    return ", ".join(feeds)
