"""The model card of an exported trial: what it is, what it scores, how to run it."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import onnx
import yaml

from search.artefact.model_files import MODULE_FORM, SHIP_FORM
from search.artefact.packed_form.unpack import DATA_FILE
from search.deploy.evidence import Evidence
from search.deploy.formats import OPENVINO, PROGRAM

CARD = """\
---
{front_matter}---

# {study}, trial {trial}

A compressed model, chosen by `select={select}`{position}. Verdict: **{verdict}**.{notes}

{changed}| metric | baseline | this model |
|---|---|---|
{rows}

The score is `{metric}`, {direction} is better.{outputs} Preprocessing: {preprocessing}. Licence of
the model: {license}.

Validation data chose the model; the test set had no part in the choice. The score's ± is one
standard error. Latency is CPU time per inference, measured in turns with the baseline's own ONNX
file: batch {batch_size}, {threads} thread(s). Latency and multiply-accumulates are for samples of
the shapes {shapes}; axes with a name are free.{timed}

## Limits

{limits}

## Run

```python
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession("model.onnx")
outputs = session.run(None, {{{feeds}}})[0]
```

`infer.py` does the same, on zeros or on arrays from a file.

{outside}{packed}{module}{program}{openvino}
`python check.py` compares every file with SHA256SUMS and needs Python alone; `paredown verify` on
this folder measures it again.

## Make it again

`paredown apply recipe=recipe.yaml task=...` repeats these steps:

```yaml
{recipe}
```

Built with {versions}. Hashes and all metrics are in evidence.json.
"""

PACKED = """\
`model.packed` is the same network for shipping: `{unpack}` writes
model.onnx again, without the names and the description in it; it needs only numpy, constriction and
onnx.

"""
MODULE = """\
`model.safetensors` has the weights and the structure for PyTorch, with the masks, codebooks and
scales that hold in training: `paredown.load_compressed(folder)` gives the `nn.Module`; it needs the
code of the task, and no pickle.

"""
PROGRAM_TEXT = """\
`model.pt2` is a program of torch.export with plain weights and float activations, in eval mode:
`torch.export.load("model.pt2").module()` needs none of the task's code.

"""
OPENVINO_TEXT = """\
`model.xml` and `model.bin` are the same network for OpenVINO.

"""
DYNAMIC = """\
Activations are quantised while it runs, with one range for the whole batch (dynamic quantisation):
the outputs of an example depend a little on the others in its batch. Batches of one are exact."""
SIMULATED = """\
Nothing of this model is smaller or faster than the baseline by more than what measurement blurs."""
LIMITS = """\
It was scored on the task's own data alone. Axes without a name in the shapes above are fixed."""
TASKS = {
    "classes": "classification",
    "labels": "multi-label-classification",
    "values": "regression",
    "embedding": "feature-extraction",
}
"""By the kind of the outputs, the task's name on the Hugging Face hub."""
BATCH_WIDE = {"DynamicQuantizeLinear", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM"}
"""Operators whose range is that of the whole batch."""

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
    files, card = evidence.sha256, evidence.card
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
        packed=PACKED.format(unpack=_unpack_command(evidence)) if SHIP_FORM in files else "",
        module=MODULE if MODULE_FORM in files else "",
        program=PROGRAM_TEXT if PROGRAM in files else "",
        openvino=OPENVINO_TEXT if OPENVINO in files else "",
        front_matter=yaml.safe_dump(front_matter(evidence), sort_keys=False, allow_unicode=True),
        changed=f"Exported after a change: {evidence.changed}.\n\n" if evidence.changed else "",
        metric=card.get("metric", "score"),
        direction="higher" if evidence.maximize else "lower",
        outputs=f" Outputs: {evidence.outputs}." if evidence.outputs else "",
        preprocessing=card.get("preprocessing", "as the task's data do; not stated"),
        license=card.get("license", "not stated"),
        timed=_timed(evidence),
        limits="\n".join(_limits(evidence, model)),
        recipe=yaml.safe_dump(dict(evidence.recipe), sort_keys=False).strip(),
        versions=", ".join(f"{name} {value}" for name, value in versions.items()),
        batch_size=evidence.latency["batch_size"],
        threads=evidence.latency["threads"],
        shapes=_shapes(evidence, model),
    )


def summary(evidence: Evidence) -> str:
    """Return in a line what an exported model is."""
    outputs = f"; outputs: {evidence.outputs}" if evidence.outputs else ""
    return f"{evidence.study}, trial {evidence.trial}: {evidence.verdict}{outputs}"


def front_matter(evidence: Evidence) -> dict[str, Any]:
    """Return the metadata of the card, as the Hugging Face hub reads it."""
    steps = list(evidence.recipe.get("steps", {}))
    metric = evidence.card.get("metric", "score")
    kind = evidence.outputs.rpartition("], ")[2].partition(" ")[0]
    dataset = str(evidence.built_from["task"].get("_target_", evidence.study))
    splits = {"validation": evidence.validation, "test": evidence.test}
    results = [
        {
            "task": {"type": TASKS.get(kind, "other")},
            "dataset": {"name": f"{dataset}, {split}", "type": dataset, "split": split},
            "metrics": [{"type": metric, "name": metric, "value": found["score"]}],
        }
        for split, found in splits.items()
        if found
    ]
    model = {"name": f"{evidence.study}-{evidence.trial}", "results": results}
    named = {"license": evidence.card["license"]} if "license" in evidence.card else {}
    return {
        **named,
        "library_name": "onnx",
        "tags": ["paredown", "model-compression", *steps],
        "model-index": [model],
    }


def _timed(evidence: Evidence) -> str:
    """Return what a call takes on the CPU of the export."""
    if not evidence.timed:
        return ""
    base, found = evidence.timed["baseline_latency_ms"], evidence.timed["latency_ms"]
    return f" On {evidence.timed['cpu']} it is {found:.3g} ms; the baseline's {base:.3g} ms."


def _limits(evidence: Evidence, path: Path) -> Iterator[str]:
    graph = onnx.load(path, load_external_data=False).graph
    if any(node.op_type in BATCH_WIDE for node in graph.node):
        yield DYNAMIC
    if evidence.verdict == "simulated only":
        yield SIMULATED
    yield LIMITS


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
