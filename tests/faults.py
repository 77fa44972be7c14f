"""Jobs that end in every way a job can end; run by the executors' tests in worker processes."""

import ctypes
import errno
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compressors.errors import InfeasibleError

if TYPE_CHECKING:
    from search.trial.evaluate import HoldMachine

FAMILY = 5
"""Processes of `reads_for_ever`: the job's own, two that read, and a child of each of those."""


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


def full_disk(payload: Mapping[str, Any], hold_machine: "HoldMachine") -> dict[str, Any]:
    try:
        raise OSError(errno.ENOSPC, "No space left on device", "model.onnx")
    except OSError as reason:
        raise RuntimeError("the model cannot be written") from reason


def no_room(payload: Mapping[str, Any], hold_machine: "HoldMachine") -> dict[str, Any]:
    """Use up what may be written, so that the outcome cannot be."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    return {}


def no_memory(payload: Mapping[str, Any], hold_machine: "HoldMachine") -> dict[str, Any]:
    raise MemoryError


def refused_by_torch(payload: Mapping[str, Any], hold_machine: "HoldMachine") -> dict[str, Any]:
    import torch

    return {"numbers": len(torch.empty(10**15))}


def leaves_python(payload: Mapping[str, Any], hold_machine: "HoldMachine") -> dict[str, Any]:
    sys.exit(3)


def leaves_at_once(payload: Mapping[str, Any], hold_machine: "HoldMachine") -> dict[str, Any]:
    os._exit(3)


class NoException(BaseException):
    """What `except Exception` does not catch."""


def no_exception(payload: Mapping[str, Any], hold_machine: "HoldMachine") -> dict[str, Any]:
    raise NoException("first line\nsecond line\n\nlast line")


class UnprintableError(RuntimeError):
    """An error whose message cannot be made."""

    def __str__(self) -> str:
        raise ValueError("no message")


def unprintable(payload: Mapping[str, Any], hold_machine: "HoldMachine") -> dict[str, Any]:
    raise UnprintableError


def undecodable(payload: Mapping[str, Any], hold_machine: "HoldMachine") -> dict[str, Any]:
    raise RuntimeError(b"caf\xe9".decode(errors="surrogateescape"))


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


def trains(payload: Mapping[str, Any], hold_machine: "HoldMachine") -> dict[str, Any]:
    """Train a small network and hold the machine in between; return all that came of it."""
    import torch

    torch.manual_seed(payload["seed"])
    model = torch.nn.Sequential(torch.nn.Linear(8, 64), torch.nn.ReLU(), torch.nn.Linear(64, 1))
    optimizer = torch.optim.Adam(model.parameters())
    losses = []
    for step in range(400):
        inputs = torch.randn(32, 8)
        loss = (model(inputs) - inputs.prod(1, keepdim=True)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
        if step == 200:
            with hold_machine():
                losses.append(float(model(inputs).sum()))
    return {"losses": losses, "weights": [w.tolist() for w in model.parameters()]}


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


class _Slow:
    """Samples that never end; each process that reads some notes its process id in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started = False

    def __len__(self) -> int:
        return 10**9

    def __getitem__(self, index: int) -> int:
        if not self.started:
            self.started = True
            (self.folder / f"{os.getpid()}.pid").touch()
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
            (self.folder / f"{child.pid}.pid").touch()
        time.sleep(0.05)
        return index


def reads_for_ever(payload: Mapping[str, Any], hold_machine: "HoldMachine") -> dict[str, Any]:
    """Read through two processes of a data loader, each with a child of its own."""
    for _ in _reading(Path(payload["folder"])):
        pass
    return {}


def dies_while_reading(payload: Mapping[str, Any], hold_machine: "HoldMachine") -> dict[str, Any]:
    """Be killed, as for want of memory, while processes of a data loader run."""
    for batch in _reading(Path(payload["folder"])):
        if int(batch[0]) > 20:
            os.kill(os.getpid(), signal.SIGKILL)
    return {}


def _reading(folder: Path) -> Any:
    import torch

    (folder / f"{os.getpid()}.pid").touch()
    return torch.utils.data.DataLoader(_Slow(folder), num_workers=2, persistent_workers=True)


def leaves_a_child(payload: Mapping[str, Any], hold_machine: "HoldMachine") -> dict[str, Any]:
    """Start a process and end without waiting for it."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    return {"child": child.pid}


def child_eats_memory(payload: Mapping[str, Any], hold_machine: "HoldMachine") -> dict[str, Any]:
    """Wait for a child that takes ever more memory."""
    eat = "import time\nkept = []\nwhile True: kept.append(b'x' * 2**26); time.sleep(0.05)"
    subprocess.run([sys.executable, "-c", eat], check=False)
    return {}


def start_method(payload: Mapping[str, Any], hold_machine: "HoldMachine") -> dict[str, Any]:
    """Return how processes of a data loader are started by default."""
    return {"method": multiprocessing.get_start_method()}


def holds_for_ever(payload: Mapping[str, Any], hold_machine: "HoldMachine") -> dict[str, Any]:
    """Hold the machine once `reads_for_ever` with the same folder has all its processes."""
    folder = Path(payload["folder"])
    while len(list(folder.glob("*.pid"))) < FAMILY:
        time.sleep(0.05)
    with hold_machine():
        (folder / "held").touch()
        time.sleep(600)
    return {}


def writes_its_process_and_hangs(
    payload: Mapping[str, Any], hold_machine: "HoldMachine"
) -> dict[str, Any]:
    Path(payload["folder"], "pid").write_text(str(os.getpid()))
    time.sleep(600)
    return {}


def copies(payload: Mapping[str, Any], hold_machine: "HoldMachine") -> dict[str, Any]:
    """Copy a file from one folder of the study to another."""
    text = Path(payload["from"], "model").read_text()
    Path(payload["to"], "model").write_text(text)
    return {"read": text}
