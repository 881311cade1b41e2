"""Claim: what the orchestration costs a trial stays under 0.6 s from 100 to 1,000 trials.

Trials of a stub run over four simulated nodes (``ray.cluster_utils.Cluster``: logical processors
and GPUs, all on this machine) through our own ``RayExecutor`` and ``SweepDirectory``. The stub
takes the place of ``iterate_trial`` in the worker processes: two epochs that take no time, then a
made-up result. All that is left is what a trial costs beside its training. Each size has a driver
of its own, whose memory is measured, and ``gitract-cv report`` reads what it leaves.

    python -m benchmarks.speed.scale --out benchmarks/results/scale.md
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import gitract_core.trial.run
from benchmarks.measuring import at_most, machine, parser, publish, table
from benchmarks.speed.report import FOLDS, made_up, timed, write_record
from gitract_core.data.folds import FoldPlan
from gitract_core.device import Runtime
from gitract_core.results.trial_result import EpochRecord, TrialFiles
from gitract_core.spec import TrialSpec
from gitract_core.trial.data import TrialData
from orchestrator.capacity.trial_slots import choose_slots
from orchestrator.execution.executor import Jobs, TrialEvent
from orchestrator.storage.local_folder import LocalRun

SIZES = (100, 1000)
NODES, CPUS, GPUS = 4, 2, 1


class StubData(TrialData):
    """Data of no trial; where it is unpickled, in a worker process, trials are stubs."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        gitract_core.trial.run.iterate_trial = stub


def stub(
    spec: TrialSpec, data: TrialData, directory: Path, runtime: Runtime | None = None
) -> Iterator[EpochRecord]:
    """Two epochs and a made-up result."""
    for epoch in (1, 2):
        yield EpochRecord(epoch, *[0.5] * 10, 1e-3, 0.0)
    made_up(spec, np.random.default_rng()).save(TrialFiles(directory).result)


def driven(trials: int, folder: Path) -> dict[str, float]:
    """Run a sweep of stubs in this process: seconds from call to end, after the first, MiB."""
    from ray.cluster_utils import Cluster

    from orchestrator.execution.ray.executor import RayExecutor, connect, disconnect

    directory = write_record(folder, trials // FOLDS)
    plan = FoldPlan({str(case): case for case in range(FOLDS)}, FOLDS)
    data = StubData(folder, "data", plan)
    node = {"num_cpus": CPUS, "num_gpus": GPUS, "object_store_memory": 2**27}
    cluster = Cluster(initialize_head=True, head_node_args=node)
    for _ in range(NODES - 1):
        cluster.add_node(**node)
    slots = choose_slots(connect(cluster.address), trials)
    ended: list[float] = []

    def note(event: TrialEvent) -> None:
        assert event.kind in ("epoch", "finished"), event
        if event.kind == "finished":
            ended.append(time.perf_counter())

    start = time.perf_counter()
    try:
        specs = directory.record().specs()
        RayExecutor().run(Jobs(specs, data, LocalRun(directory.path), slots), note)
        end = time.perf_counter()
    finally:
        disconnect()
        cluster.shutdown()
    assert len(ended) == trials
    assert all(directory.trial(spec).is_finished() for spec in specs)
    return {
        "slots": slots.count,
        "seconds": end - start,
        "after_first": (end - ended[0]) / (trials - 1),
        "mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def measured(trials: int, folder: Path) -> dict[str, float]:
    """``driven`` in a process of its own, and the seconds of ``report``."""
    command = [sys.executable, "-m", "benchmarks.speed.scale", "--drive", str(trials), str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return {**found, "report": timed(["report", str(folder)], 1)[0]}


def main() -> None:
    made = parser(__doc__ or "", rounds=1)
    made.add_argument("--drive", nargs=2, help=argparse.SUPPRESS)
    options = made.parse_args()
    if options.drive:
        print(json.dumps(driven(int(options.drive[0]), Path(options.drive[1]))))
        return
    with tempfile.TemporaryDirectory() as name:
        found = {size: measured(size, Path(name) / str(size)) for size in SIZES}
    rows = [
        (
            f"{size:,}",
            f"{one['seconds']:.0f} s",
            f"{one['seconds'] / size:.3f} s",
            f"{one['after_first']:.3f} s",
            f"{one['mib']:.0f} MiB",
            f"{one['report']:.1f} s",
        )
        for size, one in found.items()
    ]
    few, many = (found[size] for size in SIZES)
    most = max(one["seconds"] / size for size, one in found.items())
    verdicts = [
        at_most("seconds that a trial costs beside its training", most, 0.6),
        at_most(
            "growth of the time a trial after the first",
            many["after_first"] / few["after_first"],
            1.3,
        ),
        at_most("MiB of the driver", max(few["mib"], many["mib"]), 1536),
        at_most("seconds of report", many["report"], 3),
    ]
    header = ["trials", "all", "a trial", "a trial after the first", "driver", "report"]
    facts = f"{NODES} simulated nodes, {many['slots']:.0f} trials at once, all on this machine."
    parts = [facts, table(header, rows), "\n".join(verdicts), machine("ray")]
    publish("A thousand trials", parts, options.out)


if __name__ == "__main__":
    main()
