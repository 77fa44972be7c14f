import os
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest

from search.executors.base import Executor
from search.executors.local import LocalExecutor

LIMITS: dict[str, Any] = {"workers": 3, "trial_timeout": 6, "memory_mb": 1200}


@pytest.fixture(scope="session")
def cluster() -> Iterator[Any]:
    """A cluster of one machine with room for three jobs, which only who has its token can use."""
    own = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": uuid4().hex, "RAY_USAGE_STATS_ENABLED": "0"}
    os.environ |= own  # which Ray reads when it is imported
    pytest.importorskip("ray", reason="the optional engine of clusters")
    from ray.cluster_utils import Cluster

    built = Cluster()
    built.add_node(num_cpus=3, include_dashboard=False)
    yield built
    built.shutdown()


def _local(request: pytest.FixtureRequest) -> Executor:
    return LocalExecutor(**LIMITS)


def _ray(request: pytest.FixtureRequest) -> Executor:
    from search.executors.ray import RayExecutor

    return RayExecutor(address=request.getfixturevalue("cluster").address, **LIMITS)


@pytest.fixture(params=[_local, _ray], ids=["local", "ray"])
def executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    """Each executor, for the contract that all of them keep."""
    build: Callable[[pytest.FixtureRequest], Executor] = request.param
    built = build(request)
    yield built
    built.close()
