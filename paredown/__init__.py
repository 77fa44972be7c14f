"""Paredown from Python: run and load studies, take compressed models out, apply recipes.

This is the package to import; what it names lives in `search` and `compressors`, whose own paths
may change. A name is imported when it is first used, so that `import paredown` takes no time.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from paredown.shadowing import check_packages

if TYPE_CHECKING:
    from compressors.channel_pruning import ChannelPruning
    from compressors.distillation import Distillation
    from compressors.errors import InfeasibleError, ParedownError
    from compressors.layer_removal import LayerRemoval
    from compressors.low_rank import LowRank
    from compressors.quantization import Quantization
    from compressors.weight_pruning import WeightPruning
    from compressors.weight_sharing import WeightSharing
    from paredown.compressed import load_compressed
    from paredown.recipes import apply_recipe
    from paredown.studies import export, load_study, run_study, verify
    from paredown.study import Study
    from paredown.trial import Trial
    from search.errors import (
        ArtefactError,
        ConfigError,
        MeasurementError,
        SelectionError,
        StudyError,
        TrackingError,
    )
    from search.recipe.recipe import Recipe

    __version__: str

__all__ = [
    "ArtefactError",
    "ChannelPruning",
    "ConfigError",
    "Distillation",
    "InfeasibleError",
    "LayerRemoval",
    "LowRank",
    "MeasurementError",
    "ParedownError",
    "Quantization",
    "Recipe",
    "SelectionError",
    "Study",
    "StudyError",
    "TrackingError",
    "Trial",
    "WeightPruning",
    "WeightSharing",
    "__version__",
    "apply_recipe",
    "export",
    "load_compressed",
    "load_study",
    "run_study",
    "verify",
]

_MODULES = {
    "compressors.channel_pruning": ("ChannelPruning",),
    "compressors.distillation": ("Distillation",),
    "compressors.errors": ("InfeasibleError", "ParedownError"),
    "compressors.layer_removal": ("LayerRemoval",),
    "compressors.low_rank": ("LowRank",),
    "compressors.quantization": ("Quantization",),
    "compressors.weight_pruning": ("WeightPruning",),
    "compressors.weight_sharing": ("WeightSharing",),
    "paredown.compressed": ("load_compressed",),
    "paredown.recipes": ("apply_recipe",),
    "paredown.studies": ("export", "load_study", "run_study", "verify"),
    "paredown.study": ("Study",),
    "paredown.trial": ("Trial",),
    "search.errors": (
        "ArtefactError",
        "ConfigError",
        "MeasurementError",
        "SelectionError",
        "StudyError",
        "TrackingError",
    ),
    "search.recipe.recipe": ("Recipe",),
}
"""The public names by the module that defines them."""
_HOMES = {name: module for module, names in _MODULES.items() for name in names}

check_packages()


def __getattr__(name: str) -> Any:
    """Import a public name on its first use (PEP 562)."""
    if name == "__version__":
        value: Any = import_module("importlib.metadata").version("paredown")
    elif name in _HOMES:
        value = getattr(import_module(_HOMES[name]), name)
    else:
        raise AttributeError(f"module 'paredown' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names, imported or not."""
    return sorted({*globals(), *__all__})
