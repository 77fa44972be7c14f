"""What each compressor does to foreign architectures, as tables.

`python -m benchmarks.architectures NAME` prints the page docs/NAME.md. The models are tiny and
random: the tables say what acts where, not how well.
"""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from torch import nn

from benchmarks import convolutional_families, transformers_models
from benchmarks.architecture_task import Architecture, ArchitectureTask
from compressors.base import Compressor, output_tensors, run
from compressors.channel_pruning import ChannelPruning
from compressors.distillation import Distillation
from compressors.errors import InfeasibleError
from compressors.kinds import CompressorKind
from compressors.layer_removal import LayerRemoval
from compressors.low_rank import LowRank
from compressors.models.copying import copy_model
from compressors.quantization import Quantization
from compressors.weight_pruning import WeightPruning
from compressors.weight_sharing import WeightSharing
from compressors.weights.compressible import compressible_weights
from compressors.weights.encoded import coded_weights

NOISE = 0.3
"""Noise on the weights of a model that is to recover, in deviations of each tensor."""
COMPRESSORS: Mapping[str, Compressor] = {
    "layer removal": LayerRemoval(ratio=0.34),
    "channel pruning": ChannelPruning(ratio=0.5),
    "low rank": LowRank(lost_energy=0.5),
    "weight pruning": WeightPruning(ratio=0.5, importance="wanda"),
    "weight sharing": WeightSharing(clusters=8),
    "8 bits": Quantization(bits=8),
    "4 bits": Quantization(bits=4, granularity="group", group_size=16),
    "distillation": Distillation(epochs=2, soft_weight=0, learning_rate=1e-4),
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
        start = (
            _disturbed(task.baseline)
            if compressor.kind is CompressorKind.RECOVERS
            else task.baseline
        )
        model = compressor(start, task)
    except InfeasibleError as reason:
        return Outcome(text=str(reason), acted=False)
    text, acted = _claim(start, model, compressor)
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


def _disturbed(model: nn.Module) -> nn.Module:
    """Return a copy with noise on its weights, for a recovery to remove."""
    copy = copy_model(model)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in copy.parameters():
            if weight.is_floating_point():
                noise = torch.randn(weight.shape, generator=generator)
                weight += NOISE * weight.std(correction=0) * noise
    return copy


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


@dataclass(frozen=True, kw_only=True)
class Page:
    """A page of the documentation: what each compressor does to some architectures."""

    head: str
    architectures: Mapping[str, Architecture]
    """By the name in the table."""
    tail: str

    def text(self) -> str:
        """Return the page; every compressor is tried on every model."""
        lines = [f"| model | {' | '.join(COMPRESSORS)} |", "|---" * (len(COMPRESSORS) + 1) + "|"]
        reasons: list[str] = []
        for name, architecture in self.architectures.items():
            task = architecture.task()
            found = [outcome(task, compressor) for compressor in COMPRESSORS.values()]
            lines.append(f"| {name} | {' | '.join(_cell(one, reasons) for one in found)} |")
        numbered = [f"{number}. {reason}" for number, reason in enumerate(reasons, 1)]
        return "\n".join([self.head, *lines, "", *numbered, self.tail])


def _cell(found: Outcome, reasons: list[str]) -> str:
    """Return a cell of the table; a reason that is not among `reasons` is added to them."""
    if found.acted:
        return found.text
    if found.text not in reasons:
        reasons.append(found.text)
    return f"no ({reasons.index(found.text) + 1})"


PAGES = {
    "transformers": Page(
        head=f"""# Models of the library transformers

Unchanged classes of transformers {transformers.__version__} with tiny random configurations, on
torch {torch.__version__}: what each compressor does to them.
`python -m benchmarks.architectures transformers` prints this page.
""",
        architectures=transformers_models.ARCHITECTURES,
        tail="""
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
  the compressed model.""",
    ),
    "convolutional": Page(
        head=f"""# Convolutional families

Tiny networks of the structures of well-known families, built here and drawn at random, on torch
{torch.__version__}: what each compressor does to them.
`python -m benchmarks.architectures convolutional` prints this page.
""",
        architectures=convolutional_families.ARCHITECTURES,
        tail="""
## What to know

- Channels are followed through splits, shuffles, concatenations and gates; the layers that make the
  outputs keep theirs.
- A block can be left out where it returns what it is given, in shape: not where every block widens
  its input or joins it to its own output.""",
    ),
}
"""By the name on the command line, which is the page's file in docs/."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", choices=PAGES)
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # the models are tiny
    print(PAGES[arguments.page].text())


if __name__ == "__main__":
    transformers.logging.set_verbosity_error()
    main()
