"""Jobs on the machines of a Ray cluster, each in a fresh process with limits on time and memory.

The driver alone knows the study. On each machine of the cluster one actor of Ray carries a
`NodeAgent`, which runs jobs as the local executor does: isolated, paused while another measures
latency, and ended with the driver. Ray repeats nothing; machines may join and leave.
"""

import importlib
import math
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from uuid import uuid4

from search.errors import ConfigError
from search.executors.base import Job
from search.executors.node_agent import NodeAgent, NodeFacts, Origin
from search.executors.outcome import Outcome
from search.executors.travelling_files import moved, named_paths, pack, stamps, unpack
from search.utils.provenance import methods_digest

_LOOK_SECONDS = 5.0
"""Between two looks at which machines there are."""
_PATIENCE_SECONDS = 120.0
"""After which a machine that does not answer is given up."""
_RAY_NAMES = {"cpu": "CPU", "gpu": "GPU", "memory_mb": "memory"}
_BYTES = {"memory": 2**20}


@dataclass(kw_only=True, eq=False)
class _Node:
    """A machine of the cluster."""

    agent: Any
    """Handle of the actor."""
    slots: int
    asked: Any
    """Reference to its answer to the last question that is no job."""
    asked_at: float
    """On the monotonic clock in seconds."""
    facts: NodeFacts | None = None
    """None before it has answered."""
    jobs: dict[Any, tuple[Job, float]] = field(default_factory=dict)
    """By reference to the answer, the jobs under way, with the Unix time when they began."""


@dataclass(kw_only=True)
class RayExecutor:
    """One fresh child process per job, on the machines of a Ray cluster."""

    address: str | None = None
    """Address of a cluster, `auto` for the one that this machine belongs to; None to start one on
    this machine, which nobody else can reach."""
    workers: int | None = None
    """Jobs at once at most; None for as many as the cluster has room for."""
    resources: Mapping[str, float] = field(default_factory=lambda: {"cpu": 1})
    """What one job takes of a machine: `cpu`, `gpu`, `memory_mb` and resources of the cluster's
    own by their names."""
    cpu: str | None = None
    """Part of the name of the CPU of machines that are used; None for that of the first machine,
    since latencies on several kinds cannot be compared; an empty text for any."""
    working_dir: str | None = None
    """Folder that is shipped to the cluster, where machines do not see the driver's folders."""
    trial_timeout: float | None = None
    """Time limit of one job in seconds without pauses; None for no limit."""
    memory_mb: float | None = None
    """Memory of one job and its child processes in 2**20 bytes; None for no limit but the
    machine's."""
    ordered: bool = False
    threads: int = 1
    """Torch threads of one job."""
    _ray: Any = field(default=None, init=False)
    _origin: Origin = field(init=False)
    _nodes: dict[str, _Node] = field(default_factory=dict, init=False)
    """By Ray's id, the machines that are used."""
    _refused: dict[str, str] = field(default_factory=dict, init=False)
    """By Ray's id, why a machine is not used."""
    _lost: list[tuple[Job, Outcome]] = field(default_factory=list, init=False)
    _waiting: list[Job] = field(default_factory=list, init=False)
    _looked: float = field(default=-math.inf, init=False)
    """When the machines were looked at, on the monotonic clock in seconds."""
    _had_machines: float = field(default=0.0, init=False)
    """When there last was a machine that can be used, on the same clock."""

    def __post_init__(self) -> None:
        """Check the arguments; raise `ConfigError` if one is out of range."""
        for name in ("trial_timeout", "memory_mb"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(f"executor.{name} must be above 0 or null, got {value!r}")
        if self.workers is not None and self.workers < 1:
            raise ConfigError(f"executor.workers must be from 1 or null, got {self.workers!r}")
        if self.ordered and self.workers is None:
            raise ConfigError(
                "executor.ordered needs executor.workers: proposals depend on the number of jobs "
                "at once, and a cluster may grow"
            )
        for name, amount in self.resources.items():
            if not amount >= 0:
                raise ConfigError(f"executor.resources.{name} must be at least 0, got {amount!r}")
        if not any(self.resources.values()):
            raise ConfigError("executor.resources must name what a job takes, such as {cpu: 1}")

    def prepare(self) -> None:
        """Check that Ray is installed; the cluster is joined when there is a job.

        Raises:
            ConfigError: It is not.
        """
        if find_spec("ray") is None:
            raise ConfigError("executor=ray needs Ray: pip install 'paredown[ray]'")

    @property
    def slots(self) -> int:
        """The number of jobs that may run at once, at least 1; it changes with the cluster."""
        if self.ordered and self.workers is not None:
            return self.workers
        found = sum(node.slots for node in self._nodes.values() if node.facts)
        return max(1, found if self.workers is None else min(self.workers, found))

    def submit(self, job: Job) -> None:
        """Start a job on the machine with the most free slots, as soon as one has any.

        Raises:
            ConfigError: There is no cluster at the address.
        """
        if self._ray is None:
            self._join(job.root)
        self._waiting.append(job)
        self._start_waiting()

    def wait(self, seconds: float) -> list[tuple[Job, Outcome]]:
        """Return the jobs that ended, maybe none.

        Args:
            seconds: The longest time to wait for the first of them.

        Raises:
            ConfigError: The cluster has machines, and none of them can be used.
        """
        until = time.monotonic() + seconds
        while self._ray is not None:
            self._look_at_cluster()
            self._start_waiting()
            ended = self._ended()
            left = until - time.monotonic()
            if ended or left <= 0:
                return ended
            awaited = [*self._running(), *(n.asked for n in self._nodes.values() if not n.facts)]
            if awaited:
                self._ray.wait(awaited, timeout=min(left, _LOOK_SECONDS), fetch_local=False)
            else:
                time.sleep(min(left, _LOOK_SECONDS))
        return []

    def close(self) -> None:
        """End all running jobs and leave the cluster, which ends if it was started here."""
        self._waiting.clear()
        if self._ray is None:
            return
        for node in self._nodes.values():
            self._ray.kill(node.agent, no_restart=True)
        self._nodes.clear()
        Path(self._origin.marker).unlink(missing_ok=True)
        self._ray.shutdown()
        self._ray = None

    def _join(self, folder: Path) -> None:
        """Join the cluster, or start one that only this machine reaches."""
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        if self.address is None:
            os.environ.setdefault("RAY_AUTH_MODE", "token")
        given: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        if self.working_dir is not None:
            given["runtime_env"] = {"working_dir": self.working_dir}
        if self.address is None:
            given |= {"include_dashboard": False, "_node_ip_address": "127.0.0.1"}
        ray = importlib.import_module("ray")
        try:
            ray.init(address=self.address or "local", **given)
        except (OSError, RuntimeError, ValueError) as error:
            reason = " ".join(str(error).split())[:300]
            raise ConfigError(f"executor.address={self.address}: {reason}") from error
        folder.mkdir(parents=True, exist_ok=True)
        marker = folder.resolve() / f".{uuid4().hex}.marker"
        marker.touch()
        self._ray, self._had_machines = ray, time.monotonic()
        self._origin = Origin(folder=str(Path.cwd()), path=tuple(sys.path), marker=str(marker))

    def _look_at_cluster(self) -> None:
        """Take in machines that joined, give up those that left, hear what they answer."""
        now = time.monotonic()
        if now - self._looked >= _LOOK_SECONDS:
            self._looked = now
            alive = {
                node["NodeID"]: node["Resources"] for node in self._ray.nodes() if node["Alive"]
            }
            for name in alive.keys() - self._nodes.keys() - self._refused.keys():
                self._take_in(name, alive[name])
            for name in self._nodes.keys() - alive.keys():
                self._give_up(name, "it left the cluster")
        for name, node in list(self._nodes.items()):
            self._hear(name, node, now)
        if self._refused and not self._nodes:
            raise ConfigError(
                f"no machine of the cluster can be used: {self._refused.popitem()[1]}"
            )

    def _take_in(self, name: str, available: Mapping[str, float]) -> None:
        """Start an agent on a machine that has room for a job."""
        needed = {_RAY_NAMES.get(key, key): value for key, value in self.resources.items() if value}
        needed = {key: value * _BYTES.get(key, 1) for key, value in needed.items()}
        slots = min(int(available.get(key, 0) // value) for key, value in needed.items())
        if slots < 1:
            has = {key: available.get(key, 0) for key in needed}
            self._refused[name] = f"a job needs {needed} and a machine has {has}"
            return
        strategies = importlib.import_module("ray.util.scheduling_strategies")
        whole = {key: value * slots for key, value in needed.items()}
        limits = {
            "workers": slots,
            "trial_timeout": self.trial_timeout,
            "memory_mb": self.memory_mb,
            "threads": self.threads,
        }
        agent = (
            self._ray.remote(NodeAgent)
            .options(
                num_cpus=whole.pop("CPU", 0),
                num_gpus=whole.pop("GPU", 0),
                memory=whole.pop("memory", None),
                resources=whole,
                max_restarts=0,
                max_task_retries=0,
                max_concurrency=slots + 1,
                scheduling_strategy=strategies.NodeAffinitySchedulingStrategy(name, soft=False),
            )
            .remote(self._origin, limits)
        )
        self._nodes[name] = _Node(
            agent=agent, slots=slots, asked=agent.facts.remote(), asked_at=time.monotonic()
        )

    def _hear(self, name: str, node: _Node, now: float) -> None:
        """Take in what a machine answered, and ask again from time to time."""
        silent = now - node.asked_at
        if self._ray.wait([node.asked], timeout=0, fetch_local=False)[0]:
            try:
                node.facts = node.facts or self._ray.get(node.asked)
            except self._ray.exceptions.RayError as error:
                self._give_up(name, _in_short(error))
                return
            unfit = self._unfit(node.facts)
            if unfit:
                self._ray.kill(node.agent, no_restart=True)
                del self._nodes[name]
                self._refused[name] = unfit
            elif silent > _PATIENCE_SECONDS / 4:
                node.asked, node.asked_at = node.agent.facts.remote(), now
        elif node.facts and silent > _PATIENCE_SECONDS:
            self._give_up(name, f"it did not answer for {_PATIENCE_SECONDS:g} s")

    def _unfit(self, facts: NodeFacts) -> str:
        """Return why a machine cannot be used; empty if it can."""
        used = [node.facts for node in self._nodes.values() if node.facts]
        wanted = used[0].cpu if self.cpu is None else self.cpu
        if wanted not in facts.cpu:
            return f"{facts.name} has another CPU, not to be compared with: {facts.cpu[:80]}"
        if facts.methods != methods_digest():
            return f"{facts.name} has another version of Paredown"
        if facts.torch != version("torch"):
            return f"{facts.name} has torch {facts.torch}, not {version('torch')}"
        return ""

    def _give_up(self, name: str, reason: str) -> None:
        """Forget a machine; its jobs are lost, and end where they still run: others repeat them."""
        node = self._nodes.pop(name)
        self._ray.kill(node.agent, no_restart=True)
        where = node.facts.name if node.facts else name
        self._lost += [
            (job, _lost(job, began, f"the machine {where} was lost: {reason}"))
            for job, began in node.jobs.values()
        ]
        self._looked = -math.inf

    def _running(self) -> dict[Any, str]:
        """Return by reference to its answer the machine of each job under way."""
        return {ref: name for name, node in self._nodes.items() for ref in node.jobs}

    def _start_waiting(self) -> None:
        free = self.slots - len(self._running())
        while self._waiting and free > 0:
            ready = [n for n in self._nodes.values() if n.facts and len(n.jobs) < n.slots]
            if not ready:
                return
            node = max(ready, key=lambda one: one.slots - len(one.jobs))
            job = self._waiting.pop(0)
            free -= 1
            node.jobs[self._start(job, node)] = (job, time.time())

    def _start(self, job: Job, node: _Node) -> Any:
        """Start a job on a machine; return the reference to its answer."""
        assert node.facts is not None
        root = job.root.resolve()
        payload = moved(job.payload, job.root, root)
        there = replace(
            job, payload=payload, root=root, folder=root / job.folder.relative_to(job.root)
        )
        if node.facts.shares_files:
            return node.agent.run.remote(there)
        named = stamps(named_paths(payload, root))
        return node.agent.run.remote(there, pack(named, root))

    def _ended(self) -> list[tuple[Job, Outcome]]:
        """Return the jobs that ended, with those that were lost."""
        running = self._running()
        done: Sequence[Any] = ()
        if running:
            refs = list(running)
            done, _ = self._ray.wait(refs, num_returns=len(refs), timeout=0, fetch_local=False)
        ended = []
        for ref in done:
            if running[ref] not in self._nodes:
                continue  # given up, and so among the lost
            try:
                outcome, files = self._ray.get(ref)
            except self._ray.exceptions.RayError as error:
                self._give_up(running[ref], _in_short(error))
                continue
            job, _ = self._nodes[running[ref]].jobs.pop(ref)
            if files is not None:
                unpack(files, job.root.resolve())
            ended.append((job, outcome))
        lost, self._lost = self._lost, []
        return ended + lost


def _lost(job: Job, began: float, reason: str) -> Outcome:
    return Outcome(
        status="crashed",
        error=reason,
        repeatable=True,
        subject=job.subject,
        started=began,
        finished=time.time(),
    )


def _in_short(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
