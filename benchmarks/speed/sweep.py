"""Claim: a sweep beats a bare loop over its trials 1.15 times, and its slots do nothing but train.

Twelve trials (3 losses x 4 folds, one small network, a phantom) are run twice on the CPU: by
``RayExecutor`` with a trial a core, and by a plain loop in a process of its own, one trial after
another with all cores each. Half of the loop comes before the sweep and half after it, so that a
machine that becomes busier is so for both. Also: which share of the time that a slot holds a trial
goes into epochs, and how long the next trial takes to begin, beside a new process that imports
torch and our trainer.

    python -m benchmarks.speed.sweep --epochs 6 --out benchmarks/results/sweep.md
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.measuring import at_least, at_most, machine, parser, publish, table
from gitract_core.device import Runtime
from gitract_core.phantom import write_phantom
from gitract_core.results.trial_result import TrialFiles, TrialResult
from gitract_core.spec import TrialSpec
from gitract_core.trial.data import TrialData
from gitract_core.trial.run import run_trial
from orchestrator.capacity.trial_slots import choose_slots
from orchestrator.execution.executor import Jobs, TrialEvent
from orchestrator.storage.local_folder import LocalRun
from orchestrator.sweeps.preparation import PreparedSweep, SweepRequest, prepare
from search_spaces.loader import load_space

SPACE = """
folds: 4
network: {widths: "8,16,32,64,128", depth: 4}
input: {size: 64, channels: 1}
augmentation: {kinds: elastic+noise+blur}
optimizer: {learning_rate: 0.003, batch_size: 16}
training: {epochs: EPOCHS, patience: EPOCHS}
loss: [bce, dice, bce + dice]
"""


def prepared(folder: Path, epochs: int, name: str) -> PreparedSweep:
    """A sweep of twelve trials, ready to run."""
    space = folder / "space.yaml"
    space.write_text(SPACE.replace("EPOCHS", str(epochs)))
    return prepare(SweepRequest(folder / "data", load_space(str(space)), folder / name))


def loop(specs: Sequence[TrialSpec], data: TrialData, folder: Path, threads: int) -> float:
    """Seconds of a plain loop in a new process, imports not counted."""
    code = (
        "import pickle, sys, time\n"
        "from gitract_core.device import Runtime\n"
        "from gitract_core.trial.run import run_trial\n"
        "specs, data, folder, threads = pickle.load(sys.stdin.buffer)\n"
        "start = time.perf_counter()\n"
        "for spec in specs:\n"
        "    run_trial(spec, data, folder / spec.key, runtime=Runtime('cpu', threads))\n"
        "print(time.perf_counter() - start)\n"
    )
    import pickle

    given = pickle.dumps((list(specs), data, folder, threads))
    done = subprocess.run(
        [sys.executable, "-c", code], input=given, capture_output=True, check=True
    )
    return float(done.stdout)


def swept(sweep: PreparedSweep) -> tuple[float, float, list[float]]:
    """Seconds of the sweep, the share of slots' time in epochs, seconds before each next trial."""
    from orchestrator.execution.ray.executor import RayExecutor, connect, disconnect

    nodes = connect()
    slots = choose_slots(nodes, len(sweep.specs))
    trials = sweep.directory.trials.resolve()
    events: list[tuple[float, TrialEvent]] = []
    try:
        start = time.perf_counter()
        RayExecutor().run(
            Jobs(sweep.specs, sweep.data, LocalRun(sweep.directory.path), slots),
            lambda event: events.append((time.perf_counter(), event)),
        )
        seconds = time.perf_counter() - start
    finally:
        disconnect()
    results = [TrialResult.load(TrialFiles(trials / spec.key).result) for spec in sweep.specs]
    held = sum(result.cost["last_attempt_seconds"] for result in results)
    epochs = sum(result.cost["seconds"] for result in results)
    return seconds, epochs / held, starts(events)


def starts(events: list[tuple[float, TrialEvent]]) -> list[float]:
    """From the end of a trial to the first step of the next one, each but the first of a slot.

    A slot's next trial is the one whose first epoch is told next; that epoch's time is taken off.
    """
    ended: list[float] = []
    waits = []
    for at, event in events:
        if event.kind == "finished":
            ended.append(at)
        elif event.record and event.record.epoch == 1 and ended:
            waits.append(at - event.record.seconds - ended.pop(0))
    return waits


def new_process() -> float:
    """Seconds of a process that imports what a trial needs."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import torch, gitract_core.trial.run"], check=True)
    return time.perf_counter() - start


def main() -> None:
    made = parser(__doc__ or "", rounds=3)
    made.add_argument("--epochs", type=int, default=2)
    options = made.parse_args()
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["GITRACT_CACHE"] = str(folder / "cache")
        write_phantom(folder / "data", cases=16, slices_per_scan=48)
        sweep = prepared(folder, options.epochs, "run")
        half = len(sweep.specs) // 2
        warm = prepared(folder, 1, "warm")
        run_trial(warm.specs[0], warm.data, folder / "once", runtime=Runtime("cpu", cores))
        alone = loop(sweep.specs[:half], sweep.data, folder / "loop", cores)
        together, share, waits = swept(sweep)
        alone += loop(sweep.specs[half:], sweep.data, folder / "loop", cores)
        for spec in sweep.specs:  # equal work: the same epochs
            pair = [
                TrialFiles(d / spec.key).result for d in (folder / "loop", folder / "run/trials")
            ]
            one, other = (TrialResult.load(file) for file in pair)
            assert one.history["epochs"] == other.history["epochs"]
        imports = statistics.median(new_process() for _ in range(options.rounds))
    wait = statistics.median(waits)
    rows = [
        ("bare loop, all cores each", f"{alone:.0f}", f"{alone / len(sweep.specs):.1f}", "1.00"),
        ("sweep through Ray", f"{together:.0f}", f"{together / len(sweep.specs):.1f}",
         f"{alone / together:.2f}"),
    ]  # fmt: skip
    verdicts = [
        at_least("throughput of the sweep over the loop", alone / together, 1.15),
        at_least("share of the slots' time spent in epochs", share, 0.95),
        at_most("seconds from the end of a trial to the first step of the next", wait, 0.5),
    ]
    header = ["12 trials", "seconds", "seconds a trial", "throughput"]
    facts = f"A new process that imports torch and the trainer takes {imports:.1f} s instead."
    parts = [table(header, rows), "\n".join(verdicts), facts, machine("torch", "ray")]
    publish("A sweep against a bare loop", parts, options.out)


if __name__ == "__main__":
    main()
