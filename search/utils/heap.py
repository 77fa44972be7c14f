"""Memory that was freed and is still the process's own."""

import ctypes
from contextlib import suppress


def return_free_memory() -> None:
    """Return what was freed to the system, where the C library can.

    Weights of some megabytes are allocated in glibc's heap, which keeps them for later allocations
    of the same size. Memory limits count them as in use.
    """
    with suppress(OSError, AttributeError, TypeError):  # no C library, or one without the call
        ctypes.CDLL(None).malloc_trim(0)
