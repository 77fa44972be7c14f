"""The memory of this machine, or of the container that this process is in."""

from pathlib import Path

import psutil

CGROUP = Path("/sys/fs/cgroup")
"""Where Linux says what a container may use (control groups, version 2)."""
LEAST_FREE = 0.04
"""Share of the memory below which a machine begins to stall or to kill processes at will."""


def lacks_memory(folder: Path = CGROUP) -> bool:
    """Return whether the machine or the container is about to run out of memory."""
    machine = psutil.virtual_memory()
    shares = [machine.available / machine.total, _free_in_container(folder)]
    return min(shares) < LEAST_FREE


def _free_in_container(folder: Path) -> float:
    """Return the free share of the container's memory, counting what it would give back; or 1."""
    try:
        most = (folder / "memory.max").read_text().strip()
        used = int((folder / "memory.current").read_text())
        lines = (folder / "memory.stat").read_text().splitlines()
        cached = sum(int(n) for name, n in map(str.split, lines) if name.endswith("active_file"))
        return 1.0 if most == "max" else 1 - (used - cached) / int(most)
    except (OSError, ValueError, ZeroDivisionError):
        return 1.0
