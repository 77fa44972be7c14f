"""The attributes in which torch's modules state the widths of their tensors."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.instancenorm import _InstanceNorm

from compressors.base import Inputs, run
from compressors.channels.layer_axes import GATES
from compressors.models.hooks import forward_pre_hooks


def update_width_attributes(module: nn.Module) -> None:
    """Set the width attributes of one of torch's modules to the shapes of its tensors, in place.

    A module of another type is left as it is.
    """
    attributes = cast(Any, module)
    if isinstance(module, nn.Linear):
        attributes.out_features, attributes.in_features = module.weight.shape
    elif isinstance(module, _ConvNd):
        _update_convolution(module)
    elif isinstance(module, _NormBase):
        held = module.weight if module.weight is not None else module.running_mean
        attributes.num_features = len(cast(Tensor, held))
    elif isinstance(module, nn.LayerNorm | nn.RMSNorm):
        attributes.normalized_shape = tuple(module.weight.shape)
    elif isinstance(module, nn.GroupNorm):
        attributes.num_channels = len(module.weight)
    elif isinstance(module, nn.Embedding):
        attributes.embedding_dim = module.weight.shape[1]
    elif isinstance(module, nn.PReLU):
        attributes.num_parameters = len(module.weight)
    elif isinstance(module, nn.RNNBase):
        attributes.hidden_size = len(attributes.weight_hh_l0) // GATES[module.mode]
        attributes.input_size = attributes.weight_ih_l0.shape[1]


def _update_convolution(module: _ConvNd) -> None:
    if module.transposed:
        if module.groups == module.in_channels > 1:
            module.groups = module.weight.shape[0]
        module.in_channels, module.out_channels = module.weight.shape[:2]
        module.out_channels *= module.groups
    elif module.groups == module.in_channels > 1:  # depthwise, with one or more rows an input
        rows = module.out_channels // module.groups
        module.out_channels = module.weight.shape[0]
        module.groups = module.in_channels = module.out_channels // rows
    else:
        module.out_channels = module.weight.shape[0]
        module.in_channels = module.weight.shape[1] * module.groups


@contextmanager
def following_norms(model: nn.Module) -> Iterator[None]:
    """Set the width of instance norms without tensors to that of each input, inside the block.

    Only what they are given tells the width of such norms, and they warn where it is another one.
    """

    def follow(norm: nn.Module, args: tuple[Any, ...]) -> None:
        cast(Any, norm).num_features = args[0].shape[1]

    with forward_pre_hooks(_norms_without_tensors(model), follow):
        yield


def follow_norms(model: nn.Module, example: Inputs) -> None:
    """Set the widths of instance norms without tensors to those of a run, in place.

    Args:
        model: The model, in eval mode; it runs only if it has such norms.
        example: One batch of inputs `[B, ...]`, on the model's device.
    """
    if _norms_without_tensors(model):
        with torch.no_grad(), following_norms(model):
            run(model, example)


def _norms_without_tensors(model: nn.Module) -> list[nn.Module]:
    norms = (module for module in model.modules() if isinstance(module, _InstanceNorm))
    return [norm for norm in norms if not norm.state_dict()]
