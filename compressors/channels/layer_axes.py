"""Which axes of a layer's tensors run over its input channels, and which over its outputs."""

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from compressors.channels.group import UntraceableError

Axis = tuple[str, int]
"""Name of a tensor of a module, and one of the tensor's axes."""

RECURRENT = (nn.RNNBase, nn.RNNCellBase)

GATES = {"LSTM": 4, "GRU": 3, "RNN_TANH": 1, "RNN_RELU": 1}
"""Rows of a recurrent layer's weights for each hidden unit, by the layer's `mode`."""


def input_axes(module: nn.Module) -> list[Axis]:
    """Return the tensors of a weight layer or norm that have an axis for its inputs.

    Raises:
        UntraceableError: the module is a norm without weights.
    """
    if isinstance(module, nn.RNNBase):
        suffixes = ["_l0", "_l0_reverse"] if module.bidirectional else ["_l0"]
        return [(f"weight_ih{suffix}", 1) for suffix in suffixes]
    if isinstance(module, nn.Linear | _ConvNd):
        return [("weight", 1 - output_axis(module))]
    names = ("weight", "bias", "running_mean", "running_var")
    held = [name for name in names if getattr(module, name, None) is not None]
    if not held:
        raise UntraceableError(f"a {_kind(module)} without weights has its width in code")
    return [(name, 0) for name in held]


def output_axis(module: nn.Module) -> int:
    """Return the axis of a layer's weight that runs over its outputs."""
    transposed = isinstance(module, _ConvNd) and module.transposed
    return int(transposed or isinstance(module, nn.Embedding))


def is_depthwise(module: nn.Module) -> bool:
    """Tell whether a layer is a convolution of each channel alone, which no dense one is."""
    return isinstance(module, _ConvNd) and (
        1 < module.groups == module.out_channels == module.in_channels
    )


def channel_axes(module: nn.Module, channels: Tensor, *, inward: bool) -> tuple[list[Axis], Tensor]:
    """Return the axes of a module that some of its channels stand on, and their positions there.

    Args:
        module: Any module that channels pass through.
        channels: Numbers of the channels, `[N]`.
        inward: The channels are the module's inputs, else its outputs.

    Returns:
        The axes, none for a module without weights, and the positions `[N]` on each of them.

    Raises:
        UntraceableError: the module is of a kind whose channels cannot be cut.
    """
    if isinstance(module, _ConvNd):
        return _convolution_axes(module, channels, inward=inward)
    if isinstance(module, nn.Linear):
        return input_axes(module) if inward else _output_axes(module), channels
    if isinstance(module, nn.Embedding):
        return [("weight", 1)], channels
    if isinstance(module, nn.PReLU):
        return [("weight", 0)] if module.num_parameters > 1 else [], channels
    if isinstance(module, nn.RNNBase) and inward:
        return input_axes(module), channels
    if isinstance(module, _NormBase | nn.LayerNorm | nn.RMSNorm | nn.GroupNorm):
        if isinstance(module, nn.LayerNorm | nn.RMSNorm) and len(module.normalized_shape) > 1:
            raise UntraceableError("its channels are normalised together with other axes")
        return input_axes(module), channels
    if isinstance(module, RECURRENT):
        raise UntraceableError(f"its channels are coupled to the states of an {_kind(module)}")
    if any(True for _ in module.parameters(recurse=False)):
        raise UntraceableError(f"its channels run through an {_kind(module)}")
    return [], channels


def _convolution_axes(
    module: _ConvNd, channels: Tensor, *, inward: bool
) -> tuple[list[Axis], Tensor]:
    if module.transposed and module.groups > 1:
        raise UntraceableError("its channels run through a grouped transposed convolution")
    if inward and not is_depthwise(module):
        # A grouped convolution has one column for the same channel of every group.
        return input_axes(module), channels % (module.in_channels // module.groups)
    return _output_axes(module), channels


def _output_axes(module: nn.Linear | _ConvNd) -> list[Axis]:
    biases = [] if module.bias is None else [("bias", 0)]
    return [("weight", output_axis(module)), *biases]


def _kind(module: nn.Module) -> str:
    return type(module).__name__
