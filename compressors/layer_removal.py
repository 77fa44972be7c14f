"""Layer removal: the blocks that change the representation least are taken out."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from compressors.base import Inputs, Task, check_range, run
from compressors.errors import InfeasibleError
from compressors.kinds import CompressorKind
from compressors.layers.removable import is_torch_stack, parent_of, removable_blocks
from compressors.models.batch_norm import renew_batch_norm
from compressors.models.calibration import calibration_batches, device_of, to_device
from compressors.models.copying import copy_model
from compressors.models.fused_attention import plain_attention


class PassThrough(nn.Module):
    """Stands where a block was and returns its first input."""

    def forward(self, x: Tensor, *_args: Any, **_kwargs: Any) -> Tensor:
        """Return `x` itself."""
        return x


@dataclass(frozen=True, kw_only=True)
class LayerRemoval:
    """Remove whole blocks whose input and output have the same shape.

    The block of least influence goes first, and influence is measured again after each removal
    (Men et al., 2024, arXiv:2403.03853). Batch-norm statistics are measured anew at the end.
    """

    kind: ClassVar[CompressorKind] = CompressorKind.REMOVES_STRUCTURE

    ratio: float = 0.0
    """The share of removable blocks that go, in [0, 1): at least one unless 0."""

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
        blocks = removable_blocks(smaller, to_device(task.example, device))
        if not _free(smaller, blocks):
            raise InfeasibleError(_reason(smaller))
        batches = list(calibration_batches(task, device))
        for _ in range(max(1, round(self.ratio * len(blocks)))):
            free = _free(smaller, blocks)
            if not free:
                break
            influence = block_influence(smaller, free, batches)
            least = free[influence.index(min(influence))]
            _remove(smaller, least)
            blocks.remove(least)
        renew_batch_norm(smaller, task)
        return smaller


def block_influence(
    model: nn.Module, blocks: list[nn.Module], batches: Iterable[Inputs]
) -> list[float]:
    """Return for each block one minus the cosine of its input and output.

    The cosine is taken over all the values of a sample, so that one definition serves feature
    maps and sequences, and averaged over samples.
    """
    sums = dict.fromkeys(blocks, 0.0)
    counts = dict.fromkeys(blocks, 0)

    def record(block: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        cosine = F.cosine_similarity(args[0].flatten(1), output.flatten(1), dim=1)
        sums[block] += float((1 - cosine.double()).sum())
        counts[block] += cosine.numel()

    handles = [block.register_forward_hook(record) for block in blocks]
    try:
        with plain_attention(), torch.no_grad():
            for inputs in batches:
                run(model, inputs)
    finally:
        for handle in handles:
            handle.remove()
    return [sums[block] / counts[block] for block in blocks]


def _free(model: nn.Module, blocks: list[nn.Module]) -> list[nn.Module]:
    """Leave out the last layer of each of torch's own stacks, which cannot run empty."""
    return [b for b in blocks if not (_in_stack(model, b) and len(parent_of(model, b)[0]) == 1)]


def _in_stack(model: nn.Module, block: nn.Module) -> bool:
    parent, _ = parent_of(model, block)
    return any(is_torch_stack(module) and module.layers is parent for module in model.modules())


def _remove(model: nn.Module, block: nn.Module) -> None:
    parent, name = parent_of(model, block)
    if not _in_stack(model, block):
        setattr(parent, name, PassThrough().eval())
        return
    del parent[int(name)]
    for module in model.modules():
        if is_torch_stack(module) and module.layers is parent:
            cast(Any, module).num_layers = len(parent)


def _reason(model: nn.Module) -> str:
    reason = "layer removal: no block returns one tensor of the shape of its input"
    if any(isinstance(module, nn.RNNBase) for module in model.modules()):
        reason += "; recurrent layers return their state beside the output and cannot be skipped"
    return reason
