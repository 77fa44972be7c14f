"""The kinds of compressors, and which kind may follow which in a recipe."""

from collections.abc import Mapping
from enum import Enum


class CompressorKind(Enum):
    """What a compressor does to a model; the order rules are stated over kinds."""

    REMOVES_STRUCTURE = "removes structure"
    MASKS_WEIGHTS = "masks weights"
    ENCODES_WEIGHTS = "encodes weights"
    RECOVERS = "recovers"


MAY_FOLLOW: Mapping[CompressorKind, frozenset[CompressorKind]] = {
    CompressorKind.REMOVES_STRUCTURE: frozenset(CompressorKind),
    CompressorKind.MASKS_WEIGHTS: frozenset(
        {CompressorKind.MASKS_WEIGHTS, CompressorKind.ENCODES_WEIGHTS, CompressorKind.RECOVERS}
    ),
    CompressorKind.ENCODES_WEIGHTS: frozenset({CompressorKind.RECOVERS}),
    CompressorKind.RECOVERS: frozenset(CompressorKind),
}
"""For each kind, the kinds that may stand anywhere after it in a recipe.

Structure cannot be cut from weights that already carry a mask or a code, and a weight is encoded
once. Recovery may stand anywhere, since masks and codes survive training.
"""
