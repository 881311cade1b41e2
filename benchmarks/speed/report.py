"""Claim: `gitract-cv report` over a run of 10,000 finished trials takes under 3 s and 1 GiB.

Results are made up but have the size of real ones: 2,000 candidates, 5 folds, 85 cases. Also timed:
`gitract-cv --help` (under 0.4 s). Each command runs in a process of its own, median of five rounds.

    python -m benchmarks.speed.report --out benchmarks/results/report.md
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.measuring import at_most, machine, parser, publish, table
from gitract_core.results.trial_result import TrialFiles, TrialResult
from gitract_core.spec import Candidate, TrialSpec
from orchestrator.sweeps.run_directory import SweepDirectory, SweepRecord

CANDIDATES, FOLDS, CASES = 2000, 5, 85


def write_run(path: Path) -> None:
    """A run directory of made-up results, without data."""
    directory = write_record(path, CANDIDATES)
    random = np.random.default_rng(0)
    for spec in directory.record().specs():
        made_up(spec, random).save(TrialFiles(directory.trials / spec.key).result)


def write_record(path: Path, candidates: int) -> SweepDirectory:
    """A run directory of candidates that differ in their learning rate, without results."""
    made = tuple(
        Candidate.from_knobs({"optimizer.learning_rate": 1e-4 * (1 + place)})
        for place in range(candidates)
    )
    directory = SweepDirectory(path)
    directory.write(SweepRecord(made, FOLDS, "folds", 0, path, "data", (), ("made up",), ("",)))
    return directory


def made_up(spec: TrialSpec, random: np.random.Generator) -> TrialResult:
    """A result of the size of real ones."""
    organs = {
        name: {"dice": 0.7, "hausdorff": 0.9, "score": 0.8}
        for name in ("large_bowel", "small_bowel", "stomach")
    }
    best = {"paper_dice": 0.7, "paper_iou": 0.6, "paper_accuracy": 0.9}
    cases = [case for case in range(CASES) if case % FOLDS == spec.fold]
    per_case = {str(case): _sums(random) for case in cases}
    scores = {"dice": 0.7, "hausdorff": 0.9, "score": float(random.normal(0.8, 0.02))}
    return TrialResult(
        spec=spec,
        scores={**scores, "per_class": organs, "rows": 1000, "volumes": 100},
        per_case=per_case,
        history={"best_epoch": 3, "epochs": 5, "at_best": best, "best": best},
        cost={"seconds": 100.0, "peak_memory_bytes": 10**9},
        environment={"parameters": 10**6},
    )


def _sums(random: np.random.Generator) -> dict[str, list[float]]:
    dice, hausdorff = random.uniform(0.6, 0.8, (2, 3))
    return {
        "dice_sum": (60 * dice).tolist(),
        "dice_rows": [60.0] * 3,
        "hausdorff_sum": (3 * hausdorff).tolist(),
        "hausdorff_volumes": [3.0] * 3,
    }


def timed(arguments: list[str], rounds: int) -> tuple[float, float]:
    """Median seconds and most memory (MiB) of a command."""
    code = "from orchestrator.cli import main; main()"
    seconds, peaks = [], []
    for _ in range(rounds):
        start = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments], stdout=subprocess.DEVNULL
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0, arguments
        seconds.append(time.perf_counter() - start)
        peaks.append(usage.ru_maxrss / 1024)
    return statistics.median(seconds), max(peaks)


def main() -> None:
    options = parser(__doc__ or "", rounds=5).parse_args()
    os.fsync = lambda _: None  # made-up results need not survive a power cut
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        write_run(run)
        found = timed(["report", str(run)], options.rounds)
        brief = timed(["--help"], options.rounds)
    rows = [
        (name, f"{s:.2f} s", f"{m:.0f} MiB")
        for name, (s, m) in {"report over 10,000 trials": found, "--help": brief}.items()
    ]
    verdicts = [
        at_most("seconds of report", found[0], 3),
        at_most("MiB of report", found[1], 1024),
        at_most("seconds of --help", brief[0], 0.4),
    ]
    header = ["command", f"median of {options.rounds}", "peak memory"]
    parts = [table(header, rows), "\n".join(verdicts), machine("msgspec", "numpy", "scipy")]
    publish("Reading results", parts, options.out)


if __name__ == "__main__":
    main()
