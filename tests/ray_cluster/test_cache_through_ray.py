"""Nodes without the data get the cache through Ray's object store, once each."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gitract_core.data.cache import cache_directory, open_cache
from gitract_core.errors import GitractError
from orchestrator.capacity.trial_slots import Node, Slots, choose_slots
from orchestrator.execution.executor import Jobs, TrialEvent
from orchestrator.execution.ray import cache as ray_cache
from orchestrator.execution.ray import executor as ray_executor
from orchestrator.execution.ray.cache import RayCacheSource
from orchestrator.execution.ray.executor import RayExecutor, connect, disconnect
from orchestrator.storage.local_folder import LocalRun
from tests.support.tiny_contest import write_tiny_contest
from tests.support.tiny_sweep import prepare_tiny

pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    # Ray's cluster for tests leaves pipes and sockets to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
STORE_BYTES = 100 * 2**20


@pytest.fixture
def two_nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A head without processors, where the driver is, and a node with a cache of its own."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("GITRACT_CACHE", str(tmp_path / "cache of the driver"))
    far = tmp_path / "cache of the node"
    head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": STORE_BYTES}
    nodes = Cluster(initialize_head=True, head_node_args=head)
    with pytest.raises(GitractError, match="a machine that runs trials, got no processors"):
        connect(nodes.address)
    disconnect()
    variables = {**os.environ, "GITRACT_CACHE": str(far)}
    nodes.add_node(num_cpus=2, object_store_memory=STORE_BYTES, env_vars=variables)
    nodes.wait_for_nodes()
    assert connect(nodes.address) == [Node(2)], "the head, without a processor, is left out"
    yield far
    disconnect()
    nodes.shutdown()


def test_trials_of_a_node_without_data_share_one_cache(two_nodes: Path, tmp_path: Path) -> None:
    data = write_tiny_contest(tmp_path / "data")
    sweep = prepare_tiny(data, tmp_path / "run", {"training.epochs": 1}, {"loss": "dice"})
    shutil.rmtree(data)  # nobody sees it any more
    asked: list[dict[str, int]] = []
    feeds: list[Any] = []

    def on_event(event: TrialEvent) -> None:
        events.append(event)
        if event.kind == "finished":
            asked.append(ray_executor.ray.get(feeds[0].asked.remote()))

    def start() -> Any:
        feeds.append(begin())
        return feeds[0]

    events: list[TrialEvent] = []
    begin = ray_cache.start_feed
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ray_executor, "start_feed", start)
        slots = choose_slots([Node(2)], len(sweep.pending))
        assert slots == Slots(2)
        RayExecutor().run(
            Jobs(sweep.pending, sweep.data, LocalRun(sweep.directory.path), slots), on_event
        )
    finished = sorted(event.key for event in events if event.kind == "finished")
    assert finished == sorted(spec.key for spec in sweep.specs), events
    here = cache_directory(sweep.record.data_fingerprint, 32)
    assert asked[-1] == {here.name: 1}, "four trials, two at a time, one transfer"
    there = two_nodes / here.name
    assert {p.name: p.read_bytes() for p in there.iterdir()} == {
        p.name: p.read_bytes() for p in here.iterdir()
    }
    assert [p for p in two_nodes.iterdir() if p.suffix == ".part"] == []


def test_a_cache_larger_than_the_object_store_arrives_whole(
    two_nodes: Path, tmp_path: Path
) -> None:
    """In pieces: the object store has 100 MiB, the cache 160."""
    here = cache_directory("f" * 16, 32)
    here.mkdir(parents=True)
    content = np.random.default_rng(0).bytes(160 * 2**20 + 17)
    (here / "images.npy").write_bytes(content)
    (here / "masks.npy").write_bytes(b"")
    feed, arrived = ray_cache.start_feed(), tmp_path / "third"
    arrived.mkdir()
    RayCacheSource(feed).fetch(here.name, arrived)
    assert (arrived / "images.npy").read_bytes() == content
    assert (arrived / "masks.npy").read_bytes() == b""
    ray_executor.ray.kill(feed)


def test_lost_source_leaves_no_half_cache(two_nodes: Path, tmp_path: Path) -> None:
    feed = ray_cache.start_feed()
    with pytest.raises(Exception, match="No such file"):
        open_cache(tmp_path / "nowhere", "0" * 16, 32, source=RayCacheSource(feed))
    assert not cache_directory("0" * 16, 32).exists()
    ray_executor.ray.kill(feed)
