"""Trials that ran out of memory get a whole GPU of a Ray cluster: logical GPUs that pretend."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.executor import TrialEvent
from orchestrator.ray_executor import RayExecutor, connect, disconnect
from tests.test_crowding import check_ladder, crowded_sweep, is_exact, jobs_of

pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    # Ray's cluster for tests leaves pipes and sockets to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture
def two_gpus() -> Iterator[None]:
    """A node with two GPUs, says Ray."""
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 4, "num_gpus": 2, "include_dashboard": False}
    nodes = Cluster(initialize_head=True, head_node_args=head | {"object_store_memory": 2**27})
    connect(nodes.address)
    yield
    disconnect()
    nodes.shutdown()


def test_memory_ladder_on_ray(two_gpus: None, tiny: Path, tmp_path: Path) -> None:
    sweep, data = crowded_sweep(tiny, tmp_path)
    events: list[TrialEvent] = []
    RayExecutor().run(jobs_of(sweep, data), events.append)
    check_ladder(sweep, data, events)
    assert is_exact(sweep, tmp_path)
