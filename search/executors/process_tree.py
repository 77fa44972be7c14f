"""A worker together with all processes that it and its children start: one group of processes.

A user's data loader starts processes of its own. They are ended, paused and measured with their
worker. On POSIX the tree is a process group, which also holds processes whose parent is gone;
elsewhere it is what descends from the worker.
"""

import os
import signal
from contextlib import suppress

import psutil

GONE = (psutil.NoSuchProcess, psutil.AccessDenied, ProcessLookupError, PermissionError)
"""Errors for a process that has ended, or is about to."""
_GROUPS = hasattr(os, "setpgid")


def lead_tree() -> None:
    """Make this process the root of a tree; children started from now on belong to it."""
    if _GROUPS:
        os.setpgid(0, 0)


def kill_tree(root: int) -> None:
    """Kill a worker, if it still runs, and all processes of its tree.

    Args:
        root: Process id of the worker.
    """
    if _leads(root):
        with suppress(*GONE):
            os.killpg(root, signal.SIGKILL)
        return
    for process in members(root):
        with suppress(*GONE):
            process.kill()


def pause_tree(root: int) -> None:
    """Suspend a worker and its tree, by the worker's process id."""
    for process in members(root):
        with suppress(*GONE):
            process.suspend()


def resume_tree(root: int) -> None:
    """Let a suspended worker and its tree go on, by the worker's process id."""
    for process in members(root):
        with suppress(*GONE):
            process.resume()


def tree_memory_mb(root: int) -> float:
    """Return the memory of a tree in 2**20 bytes, by the worker's process id.

    It is the resident memory of the worker and, of all others, what they do not share: a forked
    process shares most of its memory with its parent.
    """
    return sum(_bytes(process, whole=process.pid == root) for process in members(root)) / 2**20


def members(root: int) -> list[psutil.Process]:
    """Return the running processes of a tree, the worker among them, by its process id."""
    if _leads(root):
        return [found for pid in psutil.pids() if _group(pid) == root for found in _process(pid)]
    worker = _process(root)
    with suppress(*GONE):
        return [process for each in worker for process in (*each.children(recursive=True), each)]
    return worker


def _leads(root: int) -> bool:
    """Return whether a tree is a group; a worker that has just been started leads none yet."""
    if not _GROUPS:
        return False
    try:
        os.killpg(root, 0)
    except GONE:
        return False
    return True


def _process(pid: int) -> list[psutil.Process]:
    """Return the process of an id; none if it has ended."""
    try:
        return [psutil.Process(pid)]
    except GONE:
        return []


def _group(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except GONE:
        return 0


def _bytes(process: psutil.Process, *, whole: bool) -> float:
    try:
        return float(process.memory_info().rss if whole else process.memory_full_info().uss)
    except GONE:
        return 0.0
