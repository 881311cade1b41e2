"""What the tests of executors share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from orchestrator.execution.executor import Executor


@pytest.fixture(scope="package")
def ray_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Executor]:
    """A Ray session on this machine, started with the first test that asks for it.

    Its ``TMPDIR`` is as long as those of batch jobs, too long for the sockets of Ray.
    """
    from orchestrator.execution.ray.executor import RayExecutor, connect, disconnect

    with pytest.MonkeyPatch.context() as patch:
        long = tmp_path_factory.mktemp("t" * 90)
        patch.setenv("TMPDIR", str(long))
        nodes = connect()
    assert not list(long.iterdir())
    assert sum(node.cpus for node in nodes) >= 1
    yield RayExecutor()
    disconnect()
