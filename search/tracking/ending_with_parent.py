"""`python -m search.tracking.ending_with_parent COMMAND ...`: a command that outlives no parent.

The parent keeps the other end of this process's standard input open and writes nothing. However
the parent ends, even by SIGKILL, the input then ends too, and with it the command and all that it
started.
"""

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from types import FrameType

STOP_TIMEOUT_S = 2.0
"""Time that the command has to end by itself."""


def main(command: list[str]) -> int:
    """Run a command in a session of its own, while the input is open; return its exit code."""
    os.setsid()
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)

    def end_group(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.killpg(0, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            child.wait(STOP_TIMEOUT_S)
        os.killpg(0, signal.SIGKILL)  # its own children, too, and this process

    signal.signal(signal.SIGTERM, end_group)
    threading.Thread(target=_ask_to_end_with_input, daemon=True).start()
    return child.wait()


def _ask_to_end_with_input() -> None:
    os.read(0, 1)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
