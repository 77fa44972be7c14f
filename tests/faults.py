"""Jobs that end in every way a job can end; run by the executors' tests in worker processes."""

import ctypes
import os
import signal
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from compressors.errors import InfeasibleError

if TYPE_CHECKING:
    from search.trial.evaluate import HoldMachine


def ok(payload: Mapping[str, Any], hold_machine: "HoldMachine") -> dict[str, Any]:
    print("a line of the user's own")
    return {"pid": os.getpid(), "echo": payload["value"]}


def infeasible(payload: Mapping[str, Any], hold_machine: "HoldMachine") -> dict[str, Any]:
    raise InfeasibleError("no block to remove")


def error(payload: Mapping[str, Any], hold_machine: "HoldMachine") -> dict[str, Any]:
    raise RuntimeError("the trial is broken")


def not_a_number(payload: Mapping[str, Any], hold_machine: "HoldMachine") -> dict[str, Any]:
    return {"value": object()}


def segfault(payload: Mapping[str, Any], hold_machine: "HoldMachine") -> dict[str, Any]:
    ctypes.string_at(0)
    return {}


def killed(payload: Mapping[str, Any], hold_machine: "HoldMachine") -> dict[str, Any]:
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def hang(payload: Mapping[str, Any], hold_machine: "HoldMachine") -> dict[str, Any]:
    time.sleep(600)
    return {}


def memory_eater(payload: Mapping[str, Any], hold_machine: "HoldMachine") -> dict[str, Any]:
    kept = []
    while True:
        kept.append(bytearray(os.urandom(1)) * (64 * 2**20))
        time.sleep(0.05)


def dies_holding(payload: Mapping[str, Any], hold_machine: "HoldMachine") -> dict[str, Any]:
    with hold_machine():
        os.kill(os.getpid(), signal.SIGKILL)
    return {}


def loads_data(payload: Mapping[str, Any], hold_machine: "HoldMachine") -> dict[str, Any]:
    """Read through a data loader with a process of its own, as a user's task may."""
    import torch

    rows = torch.utils.data.TensorDataset(torch.arange(6))
    loader = torch.utils.data.DataLoader(rows, batch_size=2, num_workers=1)
    return {"sum": int(sum(batch.sum() for (batch,) in loader)), "pid": os.getpid()}


def ticks(payload: Mapping[str, Any], hold_machine: "HoldMachine") -> dict[str, Any]:
    """Note the time in short steps, so that a pause shows as a gap."""
    seen = []
    end = time.monotonic() + payload["seconds"]
    while time.monotonic() < end:
        seen.append(time.time())
        time.sleep(0.01)
    return {"seen": seen}


def holds(payload: Mapping[str, Any], hold_machine: "HoldMachine") -> dict[str, Any]:
    """Hold the machine for a while and tell from when to when."""
    time.sleep(payload["before"])
    with hold_machine():
        began = time.time()
        time.sleep(payload["seconds"])
        ended = time.time()
    return {"began": began, "ended": ended}
