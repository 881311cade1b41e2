"""Faults on a Ray cluster of several nodes, all of them processes of this machine."""

from __future__ import annotations

import dataclasses
import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitract_core.files.atomic import read_json
from orchestrator.capacity.trial_slots import Slots
from orchestrator.execution.executor import Jobs, TrialEvent
from orchestrator.execution.ray.executor import RayExecutor, connect, disconnect
from orchestrator.storage.local_folder import LocalRun
from orchestrator.sweeps.preparation import PreparedSweep
from tests.support.faulty_sweep import half_written
from tests.support.faulty_trials import lock_holder
from tests.support.tiny_sweep import prepare_tiny

pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    # Ray's cluster for tests leaves pipes and sockets to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
EPOCHS = 60


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    """A head of one processor; the only session of this module."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GITRACT_CACHE", str(tmp_path_factory.getbasetemp() / "gitract-cache"))
        head = {"num_cpus": 1, "num_gpus": 0, "include_dashboard": False}
        head |= {"object_store_memory": 100 * 2**20}
        nodes = Cluster(initialize_head=True, head_node_args=head)
        connect(nodes.address)
        yield nodes
        disconnect()
        nodes.shutdown()


def jobs_of(sweep: PreparedSweep) -> Jobs:
    return Jobs(sweep.pending, sweep.data, LocalRun(sweep.directory.path), Slots(2), retries=1)


def no_epoch_twice(events: list[TrialEvent]) -> bool:
    """At most the epoch during which the process was lost, if its end was not told."""
    epochs = Counter((e.key, e.record.epoch) for e in events if e.record)
    return max(epochs.values()) == 1


def test_killed_worker_costs_one_attempt(cluster: object, tiny: Path, tmp_path: Path) -> None:
    sweep = prepare_tiny(tiny, tmp_path / "run", {"training.epochs": EPOCHS})
    sweep = dataclasses.replace(sweep, pending=sweep.pending[:1])
    events: list[TrialEvent] = []
    killed: list[int] = []

    def on_event(event: TrialEvent) -> None:
        events.append(event)
        if not killed:
            holder = lock_holder(sweep.directory.trial(sweep.pending[0]).lock)
            assert holder
            assert holder != os.getpid()
            killed.append(holder)
            os.kill(holder, signal.SIGKILL)

    RayExecutor().run(jobs_of(sweep), on_event)
    errors = [e for e in events if e.kind == "error"]
    assert [(e.fault, e.may_pass) for e in errors] == [("lost", True)]
    assert events[-1].kind == "finished"
    assert no_epoch_twice(events)
    assert not half_written(tmp_path)


def test_lost_node_costs_one_attempt_and_a_new_node_takes_over(
    cluster: object, tiny: Path, tmp_path: Path
) -> None:
    from ray.cluster_utils import Cluster

    assert isinstance(cluster, Cluster)
    sweep = prepare_tiny(tiny, tmp_path / "run", {"training.epochs": EPOCHS})
    assert len(sweep.pending) == 2
    extra = [cluster.add_node(num_cpus=1, object_store_memory=100 * 2**20)]
    cluster.wait_for_nodes()
    events: list[TrialEvent] = []

    def on_event(event: TrialEvent) -> None:
        events.append(event)
        both_run = len({e.key for e in events if e.kind == "epoch"}) == 2
        if both_run and len(extra) == 1:
            cluster.remove_node(extra[0], allow_graceful=False)
            extra.append(cluster.add_node(num_cpus=1, object_store_memory=100 * 2**20))

    RayExecutor().run(jobs_of(sweep), on_event)
    assert len(extra) == 2, "both trials ran at once"
    errors = [e for e in events if e.kind == "error"]
    assert [(e.fault, e.may_pass) for e in errors] == [("lost", True)]
    finished = [e.key for e in events if e.kind == "finished"]
    assert sorted(finished) == sorted(spec.key for spec in sweep.specs)
    assert no_epoch_twice(events)
    assert not half_written(tmp_path)
    for spec in sweep.specs:
        assert read_json(sweep.directory.trial(spec).result)["history"]["epochs"] <= EPOCHS
    cluster.remove_node(extra[1])
