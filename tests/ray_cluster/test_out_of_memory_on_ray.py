"""Trials that ran out of memory get a whole GPU of a Ray cluster: logical GPUs that pretend."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.capacity.trial_slots import Node, choose_slots
from orchestrator.execution.executor import Everything, Jobs, TrialEvent, Waiting
from orchestrator.execution.ray.executor import RayExecutor, _resources
from orchestrator.execution.ray.scheduling import InOrder
from orchestrator.storage.local_folder import LocalRun
from tests.ray_cluster.conftest import Machines
from tests.support.beyond_memory import check_ladder, is_exact, jobs_of, sweep_beyond_memory
from tests.support.small_gpus import SmallGpuData
from tests.support.tiny_sweep import prepare_tiny

pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    # Ray's cluster for tests leaves pipes and sockets to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture
def two_gpus(machines: Machines) -> Iterator[None]:
    """A node with two GPUs, says Ray."""
    with machines({"num_cpus": 4, "num_gpus": 2, "object_store_memory": 2**27}):
        yield


def test_memory_ladder_on_ray(two_gpus: None, tiny: Path, tmp_path: Path) -> None:
    sweep, data = sweep_beyond_memory(tiny, tmp_path)
    events: list[TrialEvent] = []
    RayExecutor().run(jobs_of(sweep, data), events.append)
    check_ladder(sweep, data, events)
    assert is_exact(sweep, tmp_path)


@pytest.fixture
def four_gpus(machines: Machines) -> Iterator[list[Node]]:
    """A node with four GPUs, says Ray."""
    with machines({"num_cpus": 6, "num_gpus": 4, "object_store_memory": 2**27}) as nodes:
        yield nodes


def test_fewer_trials_than_slots_leave_no_gpu_idle(
    four_gpus: list[Node], tiny: Path, tmp_path: Path
) -> None:
    """Six trials on four GPUs, two at most on each; Ray itself would take three GPUs."""
    losses = [{"loss": loss, "training.epochs": 1} for loss in ("bce", "dice", "focal")]
    sweep = prepare_tiny(tiny, tmp_path / "run", *losses)
    slots = choose_slots(four_gpus, len(sweep.pending), trials_per_gpu=2)
    assert (slots.count, slots.per_gpu) == (6, 2)
    data = SmallGpuData.of(sweep.data, tmp_path / "notes", holds=100, meeting=6)
    jobs = Jobs(sweep.pending, data, LocalRun(sweep.directory.path), slots)
    events: list[TrialEvent] = []
    RayExecutor().run(jobs, events.append)
    assert sum(event.kind == "finished" for event in events) == 6
    where = {step.process: step.gpu for step in data.steps()}
    assert Counter(Counter(where.values()).values()) == {1: 2, 2: 2}, where


def test_room_for_a_whole_gpu_is_made_by_starting_less(tiny: Path, tmp_path: Path) -> None:
    """Tune's questions and our answers, without a cluster: two GPUs of two slots each."""
    sweep, data = sweep_beyond_memory(tiny, tmp_path)
    jobs = jobs_of(sweep, data)
    order = InOrder(Waiting(jobs.specs, Everything()), jobs)
    expected = iter(jobs.specs)

    def shared(name: str) -> bool:
        answer = order.suggest(name)
        return bool(answer) and (answer["key"], answer["alone"]) == (next(expected).key, False)

    assert all(shared(name) for name in "abcd")
    assert order.suggest("e") is None, "four slots"
    for name in "abcd":
        order.on_trial_result(name, {})
    assert shared("e"), "one more waits, for a node that may join"
    assert order.suggest("f") is None
    heavy = jobs.specs[1]
    order.again_alone(TrialEvent(heavy.key, "error", fault="memory_shared"), heavy)
    order.on_trial_complete("b")
    order.on_trial_result("e", {})
    answer = order.suggest("f")
    assert (answer["key"], answer["alone"]) == (heavy.key, True)
    assert _resources(jobs.slots, answer).required_resources["GPU"] == 1.0
    for name in ("a", "c"):
        assert order.suggest("g") is None, f"{name} has to end first"
        order.on_trial_complete(name)
    assert order.suggest("g") is None, "two for the other GPU"
    order.on_trial_complete("d")
    assert shared("g"), "the other GPU goes on"
    order.on_trial_complete("f")
    order.on_trial_result("e", {})
    order.on_trial_result("g", {})
    assert all(shared(name) for name in ("h", "i")), "all slots again"
