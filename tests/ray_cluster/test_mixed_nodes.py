"""A cluster of unlike machines: who takes trials, and how evenly. GPUs are logical, sizes told."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.capacity.trial_slots import Node, choose_slots, left_out
from orchestrator.execution.executor import Jobs, TrialEvent
from orchestrator.execution.ray.executor import RayExecutor
from orchestrator.storage.local_folder import LocalRun
from tests.ray_cluster.conftest import Machines
from tests.support.small_gpus import SmallGpuData
from tests.support.tiny_sweep import prepare_tiny

pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    # Ray's cluster for tests leaves pipes and sockets to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
GIB = 2**30


@pytest.fixture
def mixed(machines: Machines, tmp_path: Path) -> Iterator[list[Node]]:
    """Beside the head two machines with a GPU of 80 GiB each, one with one of 8 GiB."""
    sizes = (("A", 80), ("B", 80), ("small", 8))
    told = [
        {"num_cpus": 2, "num_gpus": 1, "env_vars": variables(tmp_path / name, name, size)}
        for name, size in sizes
    ]
    with machines(*told) as nodes:
        yield nodes


@pytest.fixture
def told_as_two(machines: Machines, tmp_path: Path) -> Iterator[list[Node]]:
    """A machine with a GPU of 24 GiB, and one with one of 80 GiB that says it has two."""
    small, large = (variables(tmp_path / n, n, size) for n, size in (("small", 24), ("large", 80)))
    large["CUDA_VISIBLE_DEVICES"] = "0,0"
    told = ({"num_gpus": 1, "env_vars": small}, {"num_gpus": 2, "env_vars": large})
    with machines(*({"num_cpus": 2, **machine} for machine in told)) as nodes:
        yield nodes


def test_a_large_gpu_that_is_told_as_two_takes_twice_the_trials(
    told_as_two: list[Node], tiny: Path, tmp_path: Path
) -> None:
    """docs/clusters.md, "Unlike machines"."""
    slots = choose_slots(told_as_two, 3, measured_packing=4)
    assert (slots.count, slots.gpus) == (3, 1.0)
    losses = [{"loss": loss, "training.epochs": 1} for loss in ("bce", "dice")]
    sweep = prepare_tiny(tiny, tmp_path / "run", *losses)
    data = SmallGpuData.of(sweep.data, tmp_path / "notes", holds=100, meeting=3)
    jobs = Jobs(sweep.pending[:3], data, LocalRun(sweep.directory.path), slots)
    events: list[TrialEvent] = []
    RayExecutor().run(jobs, events.append)
    assert sum(event.kind == "finished" for event in events) == 3
    where = {step.process: step.gpu for step in data.steps()}
    assert Counter(where.values()) == {"small0": 1, "large0": 2}


def variables(folder: Path, name: str, size_gib: int) -> dict[str, str]:
    """The environment of a machine whose driver tells of such a GPU."""
    folder.mkdir()
    driver = folder / "nvidia-smi"
    driver.write_text(f"#!/bin/sh\necho {size_gib * 1024}\n")
    driver.chmod(0o755)
    return {**os.environ, "NODE": name, "PATH": f"{folder}:{os.environ['PATH']}"}


def test_every_large_gpu_takes_its_share_and_the_others_none(
    mixed: list[Node], tiny: Path, tmp_path: Path
) -> None:
    sizes = sorted((node.gpus, node.gpu_memory_bytes) for node in mixed)
    assert sizes == [(0, 0), (1, 8 * GIB), (1, 80 * GIB), (1, 80 * GIB)]
    assert len(left_out(mixed, 10 * GIB)) == 2
    slots = choose_slots(mixed, 4, measured_packing=2, trial_bytes=10 * GIB)
    assert (slots.count, slots.gpus, len(slots.avoid)) == (4, 0.5, 1)
    sweep = prepare_tiny(tiny, tmp_path / "run", {"training.epochs": 1}, {"loss": "dice"})
    data = SmallGpuData.of(sweep.data, tmp_path / "notes", holds=100, meeting=4)
    events: list[TrialEvent] = []
    RayExecutor().run(
        Jobs(sweep.pending, data, LocalRun(sweep.directory.path), slots), events.append
    )
    assert sum(event.kind == "finished" for event in events) == 4
    where = {step.process: step.gpu for step in data.steps()}
    assert Counter(where.values()) == {"A0": 2, "B0": 2}
