"""Computing in the caller's process as a trial does in its own."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def as_in_a_trial(threads: int) -> Iterator[None]:
    """Compute with a trial's number of threads and with gradients; then restore torch's state.

    The caller's number of threads, its random generators and its grad mode are as before.

    Args:
        threads: Threads that torch computes with; the rounding of a result depends on them.
    """
    before = torch.get_num_threads()
    devices = list(range(torch.cuda.device_count()))
    with torch.random.fork_rng(devices), torch.inference_mode(False), torch.enable_grad():
        torch.set_num_threads(threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)
