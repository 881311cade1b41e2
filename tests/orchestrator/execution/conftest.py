"""What the tests of executors share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from orchestrator.execution.executor import Executor


@pytest.fixture(scope="package")
def ray_session() -> Iterator[Executor]:
    """A Ray session on this machine, started with the first test that asks for it."""
    from orchestrator.execution.ray.executor import RayExecutor, connect, disconnect

    nodes = connect()
    assert sum(node.cpus for node in nodes) >= 1
    yield RayExecutor()
    disconnect()
