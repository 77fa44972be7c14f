"""Where every seed comes from: the study's seed and the number of the trial, never the order."""

import numpy as np


def derived_seed(study_seed: int, *path: int) -> int:
    """Return a seed in [0, 2**32) for a trial, a step of a trial, or an attempt to sample one."""
    return int(np.random.SeedSequence([study_seed, *path]).generate_state(1)[0])
