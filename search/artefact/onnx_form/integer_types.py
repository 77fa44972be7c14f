"""The 8-bit types that a machine computes with fastest."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import onnxruntime

from search.artefact.onnx_form.type_measurement import TYPES, Types, measure_types
from search.utils.array_cache import ArrayCache
from search.utils.cpu import cpu_name
from search.utils.files import cache_folder

MIN_HEADROOM_GAIN = 1.15
"""Least gain in speed for which half of the activations' steps are given up."""


@dataclass(frozen=True, kw_only=True)
class IntegerTypes:
    """The 8-bit types of activations and weights, with their speed and exactness on a machine.

    A CPU without VNNI adds products of unsigned and signed integers in pairs, in 16 bits, which
    saturate where both are large: such types are not exact.
    """

    convolution_seconds: Mapping[Types, float]
    product_seconds: Mapping[Types, float]
    """Seconds of a matrix product; without S8S8, since activations that are rounded at run time
    are unsigned."""
    exact: Mapping[Types, bool]

    def convolution(self, *, narrow: bool) -> Types:
        """Return the fastest types for a convolution.

        U8S8 may be returned where it is not exact: the activations then need headroom.

        Args:
            narrow: Whether its weights are narrow, see `IntegerWeight.narrow`.
        """
        seconds = {t: s for t, s in self.convolution_seconds.items() if self.exact[t] or narrow}
        best = min(seconds, key=lambda t: seconds[t]) if seconds else "U8S8"
        gain = self.convolution_seconds[best] / self.convolution_seconds["U8S8"]
        return "U8S8" if gain > MIN_HEADROOM_GAIN else best

    def product(self, *, narrow: bool) -> Types:
        """Return the fastest types for a product whose activations are rounded at run time."""
        if not (narrow or self.exact["U8S8"]):
            return "U8U8"
        return min(self.product_seconds, key=lambda t: self.product_seconds[t])

    def needs_headroom(self, types: Types, *, narrow: bool) -> bool:
        """Return whether activations may use only half of their steps with these types."""
        return not (narrow or self.exact[types])


@cache
def integer_types() -> IntegerTypes:
    """Return the types as measured on this machine, now or earlier by any process of the user.

    The measurement is in the user's cache folder, by the CPU's name and features and the version
    of ONNX Runtime, so that a model always gives the same file on one machine. A file written
    where nothing saturates may lose accuracy on a CPU without VNNI: export on the machine, or one
    like it, that will run the model.
    """
    key = f"integer types {cpu_name()} {onnxruntime.__version__}"
    found = ArrayCache(folder=cache_folder() / "machine").get(key, measure_types)
    seconds, exact = found["seconds"], found["exact"]
    return IntegerTypes(
        convolution_seconds={t: float(s) for t, s in zip(TYPES, seconds[0], strict=True)},
        product_seconds={t: float(s) for t, s in zip(TYPES[:2], seconds[1], strict=False)},
        exact={t: bool(e) for t, e in zip(TYPES, exact, strict=True)},
    )
