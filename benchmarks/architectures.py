"""What each compressor does to unchanged classes of the library transformers, as a table.

`python -m benchmarks.architectures` prints the page docs/transformers.md. The models are tiny and
random: the table says what acts where, not how well.
"""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from torch import nn

from benchmarks.transformers_models import ARCHITECTURES, ArchitectureTask
from compressors.base import Compressor, output_tensors, run
from compressors.channel_pruning import ChannelPruning
from compressors.distillation import Distillation
from compressors.errors import InfeasibleError
from compressors.kinds import CompressorKind
from compressors.layer_removal import LayerRemoval
from compressors.low_rank import LowRank
from compressors.quantization import Quantization
from compressors.weight_pruning import WeightPruning
from compressors.weight_sharing import WeightSharing
from compressors.weights.compressible import compressible_weights
from compressors.weights.encoded import coded_weights

COMPRESSORS: Mapping[str, Compressor] = {
    "layer removal": LayerRemoval(ratio=0.34),
    "channel pruning": ChannelPruning(ratio=0.5),
    "low rank": LowRank(lost_energy=0.5),
    "weight pruning": WeightPruning(ratio=0.5, importance="wanda"),
    "weight sharing": WeightSharing(clusters=8),
    "8 bits": Quantization(bits=8),
    "4 bits": Quantization(bits=4, granularity="group", group_size=16),
    "distillation": Distillation(epochs=1, soft_weight=0),
}
"""Each with values at which it acts, by the name in the table."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a compressor did to a model."""

    text: str
    """What was removed, held at zero, encoded or trained; or the reason why nothing was."""
    acted: bool
    """False if the compressor refused."""
    wrong: str | None = None
    """What is wrong with the result, None if nothing is."""


def outcome(task: ArchitectureTask, compressor: Compressor) -> Outcome:
    """Return what a compressor does to a task's baseline; only a refusal is caught."""
    torch.manual_seed(0)
    before = {name: tensor.clone() for name, tensor in task.baseline.state_dict().items()}
    try:
        model = compressor(task.baseline, task)
    except InfeasibleError as reason:
        return Outcome(text=str(reason), acted=False)
    text, acted = _claim(task.baseline, model, compressor)
    wrong = None if acted else f"it claims to have acted and has not: {text}"
    after = task.baseline.state_dict()
    if any(not torch.equal(tensor, after[name]) for name, tensor in before.items()):
        wrong = "the baseline has changed"
    return Outcome(text=text, acted=True, wrong=wrong or _wrong_outputs(task, model))


def _claim(before: nn.Module, after: nn.Module, compressor: Compressor) -> tuple[str, bool]:
    """Return what a compressor has done, in words, and whether it is anything."""
    if compressor.kind is CompressorKind.REMOVES_STRUCTURE:
        gone = 1 - _parameters(after) / _parameters(before)
        return f"{gone:.0%} of parameters gone", gone > 0
    if compressor.kind is CompressorKind.MASKS_WEIGHTS:
        weights = [weight.value() for weight in compressible_weights(after)]
        zeros = sum(int((w == 0).sum()) for w in weights) / sum(w.numel() for w in weights)
        return f"{zeros:.0%} of weights zero", zeros > 0.45
    if compressor.kind is CompressorKind.ENCODES_WEIGHTS:
        coded = len(coded_weights(after))
        return f"{len(compressible_weights(after))} weights coded", coded > 0
    known = dict(before.named_parameters())
    moved = sum(
        known[name].shape != tensor.shape or not torch.equal(known[name], tensor)
        for name, tensor in after.named_parameters()
    )
    return "trained", moved > 0


def _parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _wrong_outputs(task: ArchitectureTask, model: nn.Module) -> str | None:
    with torch.no_grad():
        outputs: Any = run(model, task.inputs)
    if type(outputs) is not type(task.outputs):
        return f"it returns {type(outputs).__name__}, not {type(task.outputs).__name__}"
    expected = [tensor.shape for tensor in output_tensors(task.outputs)]
    found = output_tensors(outputs)
    if [tensor.shape for tensor in found] != expected:
        return "its outputs have other shapes"
    if not all(bool(tensor.isfinite().all()) for tensor in found):
        return "its outputs are not finite"
    return None


def page() -> str:
    """Return the page docs/transformers.md."""
    lines = [HEAD.format(transformers=transformers.__version__, torch=torch.__version__)]
    lines.append(f"| model | {' | '.join(COMPRESSORS)} |")
    lines.append("|---" * (len(COMPRESSORS) + 1) + "|")
    reasons: list[str] = []
    for name, architecture in ARCHITECTURES.items():
        cells = []
        task = architecture.task()
        for compressor in COMPRESSORS.values():
            found = outcome(task, compressor)
            if not found.acted and found.text not in reasons:
                reasons.append(found.text)
            cells.append(found.text if found.acted else f"no ({reasons.index(found.text) + 1})")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += ["", *(f"{number}. {reason}" for number, reason in enumerate(reasons, 1))]
    return "\n".join([*lines, TAIL])


HEAD = """# Models of the library transformers

Unchanged classes of transformers {transformers} with tiny random configurations, on torch {torch}:
what each compressor does to them. `python -m benchmarks.architectures` prints this page.
"""
TAIL = """
## What to know

- A layer that is removed leaves a stand-in, which returns what the layer was given in the structure
  that the layer returned, so that code which numbers the layers goes on working. `layer_idx` of the
  layers behind it is lowered, so that the cache of a causal model has no empty slot.
- `Conv1D`, as in GPT-2, is a linear layer with a transposed weight. It becomes `torch.nn.Linear`,
  under the same name.
- Attention loses heads, or groups of heads that share keys and values. Where layers share one
  position bias, as in T5, all lose the same heads. A configuration (`model.config`) is not changed:
  it still states the numbers of the baseline, and `from_pretrained` cannot read the smaller model.
- Weights that are tied stay tied. They are encoded or pruned once, and the file holds them once;
  only with one scale a row and at most 4 bits does it hold a packed table and bytes for the head.
- Embeddings are gathered from their integers of 2 to 8 bits. Products run at 2 bits in groups of 64
  and 128, and at 4 bits in smaller groups.
- Channels of the residual stream stay in models whose norm is a class of their own
  (`LlamaRMSNorm`), whose encoder is the whole model, or whose embedding is tied to an output behind
  another layer (RoBERTa's language head); heads and the widths of the feed-forward layers go.
- `use_cache` is set to False for a study. Set `model.config.use_cache = True` to generate text with
  the compressed model."""


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    torch.set_num_threads(1)  # the models are tiny
    print(page())


if __name__ == "__main__":
    transformers.logging.set_verbosity_error()
    main()
