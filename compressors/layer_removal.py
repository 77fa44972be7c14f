"""Layer removal: the blocks that change the representation least are removed."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch.nn.functional as F  # noqa: N812
from torch import nn

from compressors.base import Inputs, Task, check_range
from compressors.errors import InfeasibleError
from compressors.kinds import CompressorKind
from compressors.layers.cache_slots import close_cache_slot
from compressors.layers.pass_through import PassThrough
from compressors.layers.removable import is_torch_stack, removable_blocks, shape_changes
from compressors.models.batch_norm import renew_batch_norm
from compressors.models.calibration import calibration_batches, device_of, first_samples, to_device
from compressors.models.copying import copy_model
from compressors.models.fused_attention import run_unfused
from compressors.models.hooks import forward_hooks
from compressors.models.replacing import replace_module

MAX_NAMED_BLOCKS = 3
"""Number of blocks that a message names."""
TRACED_SAMPLES = 2
"""Samples of the task's example that suffice to find the blocks."""


@dataclass(frozen=True, kw_only=True)
class LayerRemoval:
    """Remove whole blocks whose input and output have the same shape.

    The block of least influence goes first, and influence is measured again after each removal
    (Men et al., 2024, arXiv:2403.03853). Batch-norm statistics behind what goes are measured anew.
    """

    kind: ClassVar[CompressorKind] = CompressorKind.REMOVES_STRUCTURE

    ratio: float = 0.0
    """The share of removable blocks that go, in [0, 1); at least one block goes unless it is 0."""

    def __post_init__(self) -> None:
        check_range("ratio", self.ratio, 0, 1, closed=False)

    @property
    def active(self) -> bool:
        """True when any block is to go."""
        return self.ratio > 0

    def __call__(self, model: nn.Module, task: Task) -> nn.Module:
        """Return a copy with fewer blocks.

        Raises:
            InfeasibleError: no block keeps the shape of its input, as in a plain recurrent net.
        """
        smaller = copy_model(model)
        if not self.active:
            return smaller
        device = device_of(smaller)
        example = first_samples(to_device(task.example, device), TRACED_SAMPLES)
        blocks = removable_blocks(smaller, example)
        if not _remaining(smaller, blocks):
            raise InfeasibleError(_no_block_reason(smaller, example))
        batches = list(calibration_batches(task, device))
        for _ in range(max(1, round(self.ratio * len(blocks)))):
            remaining = _remaining(smaller, blocks)
            if not remaining:
                break
            influence = block_influence(smaller, remaining, batches)
            least = min(influence, key=lambda block: influence[block])
            _remove(smaller, least, blocks.pop(least))
        renew_batch_norm(smaller, task, model)
        return smaller


def block_influence(
    model: nn.Module, blocks: Mapping[nn.Module, PassThrough], batches: Iterable[Inputs]
) -> dict[nn.Module, float]:
    """Return for each block one minus the cosine similarity of its input and output.

    The similarity is taken over all values of a sample, so that one definition serves feature maps
    and sequences, and averaged over samples.

    Args:
        model: The model, unchanged afterwards.
        blocks: Modules of the model that keep the shape of their input, with their stand-ins.
        batches: Batches of inputs `[B, ...]`, on the model's device.
    """
    sums = dict.fromkeys(blocks, 0.0)
    counts = dict.fromkeys(blocks, 0)

    def record(
        block: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], outputs: Any
    ) -> None:
        before, after = blocks[block].pair(args, kwargs, outputs)
        cosine = F.cosine_similarity(before.flatten(1), after.flatten(1), dim=1)
        sums[block] += float((1 - cosine.double()).sum())
        counts[block] += cosine.numel()

    with forward_hooks(blocks, record, with_kwargs=True):
        for inputs in batches:
            run_unfused(model, inputs)
    return {block: sums[block] / counts[block] for block in blocks}


def _remaining(
    model: nn.Module, blocks: Mapping[nn.Module, PassThrough]
) -> dict[nn.Module, PassThrough]:
    """Leave out the last layer of each of torch's own stacks, which cannot run empty."""
    last = [stack.layers[0] for stack in _torch_stacks(model) if len(stack.layers) == 1]
    return {block: stand_in for block, stand_in in blocks.items() if block not in last}


def _torch_stacks(model: nn.Module) -> list[nn.TransformerEncoder | nn.TransformerDecoder]:
    return [module for module in model.modules() if is_torch_stack(module)]


def _remove(model: nn.Module, block: nn.Module, stand_in: PassThrough) -> None:
    """Delete a block from one of torch's stacks, or put its stand-in in its place."""
    stacks = [stack for stack in _torch_stacks(model) if block in stack.layers]
    if not stacks:
        close_cache_slot(model, block)
        replace_module(model, block, stand_in)
        return
    layers = stacks[0].layers
    del layers[list(layers).index(block)]
    for stack in stacks:
        stack.num_layers = len(stack.layers)


def _no_block_reason(model: nn.Module, example: Inputs) -> str:
    reason = (
        "layer removal: no block returns a tensor of the shape of its first input, alone or beside "
        "what it is given"
    )
    changes = list(shape_changes(model, example).items())[:MAX_NAMED_BLOCKS]
    if changes:
        named = ", ".join(f"{name} turns {first} into {last}" for name, (first, last) in changes)
        reason += f", and so none can be left out: {named}"
    if any(isinstance(module, nn.RNNBase) for module in model.modules()):
        reason += "; recurrent layers return their state beside the output and cannot be skipped"
    return reason
