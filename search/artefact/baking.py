"""Turn a model with masks, codebooks and quantisers into one with plain weights."""

import torch
from torch import nn
from torch.nn.utils.parametrize import remove_parametrizations

from compressors.models.copying import readable_copy
from compressors.weights.encoded import CodedWeight, coded_weights


def bake(model: nn.Module) -> tuple[nn.Module, dict[str, CodedWeight]]:
    """Return a copy on the CPU with plain weights, and the codes of the encoded weights by name.

    An encoded weight gets exactly the value that its code decodes to. Zeros are positive zeros.
    """
    plain = readable_copy(model)
    codes = coded_weights(plain)
    with torch.no_grad():
        for path, module in plain.named_modules():
            for name in list(getattr(module, "parametrizations", {})):
                remove_parametrizations(module, name)
                full = f"{path}.{name}".lstrip(".")
                weight = getattr(module, name)
                exact = torch.from_numpy(codes[full].decode()) if full in codes else weight + 0.0
                weight.copy_(exact)
    return plain, codes
