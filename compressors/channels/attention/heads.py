"""The heads of a `HeadedAttention` as channels that can be cut."""

import torch

from compressors.channels.attention.headed_attention import HeadedAttention
from compressors.channels.group import ChannelGroup, Slice


def attention_heads(name: str, module: HeadedAttention) -> ChannelGroup:
    """Return the heads: rows of the layers inward, columns of the layer outward.

    Args:
        name: Path of the module in the model.
        module: The attention, not changed.
    """
    slices = [_slice(name, "out.weight", 1, module)]
    for position, layer in enumerate(module.inward):
        slices.append(_slice(name, f"inward.{position}.weight", 0, module))
        if layer.bias is not None:
            slices.append(_slice(name, f"inward.{position}.bias", 0, module))
    return ChannelGroup(
        name=name, size=module.num_heads, width=module.head_width, slices=tuple(slices)
    )


def _slice(name: str, tensor: str, axis: int, module: HeadedAttention) -> Slice:
    positions = torch.arange(module.get_parameter(tensor).shape[axis])
    return Slice(
        tensor=f"{name}.{tensor}".lstrip("."),
        axis=axis,
        indices=positions,
        channels=positions % module.out.in_features // module.head_width,
    )
