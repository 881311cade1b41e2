"""What the tests on clusters share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest

from orchestrator.capacity.trial_slots import Node
from orchestrator.execution.ray.executor import connect, disconnect

Machines = Callable[..., AbstractContextManager[list[Node]]]


@pytest.fixture(scope="package")
def head() -> Iterator[Any]:
    """A cluster of which there is only the head, without a GPU."""
    from ray.cluster_utils import Cluster

    own = {"num_cpus": 2, "num_gpus": 0, "include_dashboard": False}
    own |= {"object_store_memory": 100 * 2**20}
    nodes = Cluster(initialize_head=True, head_node_args=own)
    yield nodes
    nodes.shutdown()


@pytest.fixture
def machines(head: Any) -> Machines:
    """Joins machines to the cluster, by the arguments of each, and connects; they leave again."""

    @contextmanager
    def joined(*machines: dict[str, Any]) -> Iterator[list[Node]]:
        common = {"object_store_memory": 100 * 2**20}
        added = [head.add_node(**common | machine) for machine in machines]
        try:
            head.wait_for_nodes()
            yield connect(head.address)
        finally:
            disconnect()
            for node in added:
                head.remove_node(node)
            head.wait_for_nodes()

    return joined
