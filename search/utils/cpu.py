"""The CPU that measurements belong to."""

import platform
from pathlib import Path


def cpu_model() -> str:
    """Return the name by which the CPU is sold, or the machine's type where it is not known."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()


def cpu_name() -> str:
    """Return the CPU's name and features from Linux, or elsewhere what Python knows."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    known = {line.partition(":")[0].strip(): line.partition(":")[2].strip() for line in lines}
    parts = [known.get(name, "") for name in ("model name", "flags", "Features")]
    return " ".join([platform.machine(), platform.processor(), *parts])
