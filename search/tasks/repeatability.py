"""Whether the training batches are the same from run to run, tried before a study begins."""

from itertools import islice

import torch

from compressors.models.calibration import calibration_batches
from search.tasks.batches import batch_checksum
from search.tasks.task import EvaluatedTask

UNSEEDED = (
    "the training batches differ from run to run: augmentation is not seeded; "
    "recovery will not be repeatable"
)


def repeatability_notes(task: EvaluatedTask) -> tuple[str, ...]:
    """Read the first training batches a second time, and say so if they differ.

    The global generators of torch, Python and numpy are seeded for each epoch, so that what
    differs draws from the system's entropy or the clock.
    """
    known = [batch_checksum(inputs) for inputs in calibration_batches(task, torch.device("cpu"))]
    again = [batch_checksum(inputs) for inputs, _ in islice(task.train.unkept(), len(known))]
    return () if again == known else (UNSEEDED,)
