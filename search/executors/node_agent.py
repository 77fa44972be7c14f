"""What runs on each machine of a cluster: the local executor, for jobs that come from elsewhere.

A job there is isolated, limited and paused as on the driver's own machine, by the same code.
"""

import os
import platform
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from search.executors.base import Job
from search.executors.local import LocalExecutor
from search.executors.outcome import OUTCOME, Outcome
from search.executors.travelling_files import moved, named_paths, pack, stamps, unpack
from search.utils.cpu import cpu_name
from search.utils.files import cache_folder
from search.utils.provenance import methods_digest

_POLL_SECONDS = 0.2


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where the driver runs, so that jobs elsewhere import and read the same."""

    folder: str
    """Its working folder."""
    path: tuple[str, ...]
    """Its path of imports."""
    marker: str
    """A file in a study's folder that nobody else has: who sees it shares the file system."""


@dataclass(frozen=True, kw_only=True)
class NodeFacts:
    """What a machine is, as far as jobs depend on it."""

    name: str
    cpu: str
    """Name of its CPU."""
    shares_files: bool
    """Whether it sees the study's folder."""
    methods: str
    """Digest of its compressors' source."""
    torch: str
    """Version of torch."""


class NodeAgent:
    """Runs jobs on the machine where it lives; it ends, with all jobs, when its driver does."""

    def __init__(self, origin: Origin, limits: Mapping[str, Any]) -> None:
        """Start what jobs are forked from.

        Args:
            origin: Where the driver runs.
            limits: Arguments of `LocalExecutor`.
        """
        os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")  # Ray sets it where it gives any
        if Path(origin.folder).is_dir():
            os.chdir(origin.folder)
        sys.path.extend(one for one in origin.path if one not in sys.path)
        self._shares_files = Path(origin.marker).is_file()
        self._executor = LocalExecutor(**limits)
        self._executor.prepare()
        self._asked: SimpleQueue[tuple[Job, Future[Outcome]]] = SimpleQueue()
        threading.Thread(target=self._serve, daemon=True).start()

    def facts(self) -> NodeFacts:
        """Return what this machine is."""
        return NodeFacts(
            name=platform.node(),
            cpu=cpu_name(),
            shares_files=self._shares_files,
            methods=methods_digest(),
            torch=version("torch"),
        )

    def run(self, job: Job, files: bytes | None = None) -> tuple[Outcome, bytes | None]:
        """Run a job to its end; several threads may call this at once.

        Args:
            job: Its paths are absolute.
            files: Archive of what its payload names; None where the file system is shared.

        Returns:
            The outcome, and an archive of the files that the job wrote or None.
        """
        if self._shares_files:
            return self._run(job), None
        digest = sha256(str(job.root).encode()).hexdigest()[:16]
        here = cache_folder() / "nodes" / f"{job.root.name}-{digest}"
        if files is not None:
            unpack(files, here)
        payload = moved(job.payload, job.root, here)
        folder = here / job.folder.relative_to(job.root)
        named = [folder, *named_paths(payload, here)]
        before = stamps(named)
        outcome = self._run(replace(job, payload=payload, folder=folder, root=here))
        changed = [file for file, stamp in stamps(named).items() if before.get(file) != stamp]
        changed.sort(key=lambda file: file.name == OUTCOME)  # it says that all others are there
        return outcome, pack(changed, here)

    def _run(self, job: Job) -> Outcome:
        future: Future[Outcome] = Future()
        self._asked.put((job, future))
        return future.result()

    def _serve(self) -> None:
        """Give jobs to the executor, which belongs to this thread alone."""
        under_way: dict[int, Future[Outcome]] = {}
        try:
            while True:
                while not under_way or not self._asked.empty():
                    job, future = self._asked.get()
                    under_way[job.key] = future
                    self._executor.submit(job)
                for job, outcome in self._executor.wait(_POLL_SECONDS):
                    under_way.pop(job.key).set_result(outcome)
        except BaseException as error:
            for future in under_way.values():
                future.set_exception(error)
            raise
