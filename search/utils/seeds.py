"""Seeds derived from the study's seed and the number of a trial, never from the order of trials."""

import numpy as np


def derived_seed(study_seed: int, *path: int) -> int:
    """Return a seed in [0, 2**32).

    Args:
        study_seed: Seed of the study, or a seed that was derived from it.
        path: Numbers that identify a trial, a step of a trial, or an attempt to sample one.
    """
    return int(np.random.SeedSequence([study_seed, *path]).generate_state(1)[0])
