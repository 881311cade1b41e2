"""`gitract-cv report` over a run of 10,000 finished trials: under 3 s and under 1 GiB.

Results are made up but have the size of real ones: 2,000 candidates, 5 folds, 85 cases. Also timed:
`gitract-cv --help` (under 0.4 s). Each command runs in a process of its own, median of five.

    python benchmarks/report.py --out benchmarks/results/report.md
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from gitract_core.results import TrialFiles, TrialResult
from gitract_core.spec import Candidate
from orchestrator.sweep_directory import SweepDirectory, SweepRecord

CANDIDATES, FOLDS, CASES = 2000, 5, 85


def write_run(path: Path) -> None:
    """A run directory of made-up results, without data."""
    candidates = tuple(
        Candidate.from_knobs({"optimizer.learning_rate": 1e-4 * (1 + place)})
        for place in range(CANDIDATES)
    )
    record = SweepRecord(candidates, FOLDS, "folds", 0, path, "data", (), ("made up",), ("",))
    directory = SweepDirectory(path)
    directory.write(record)
    random = np.random.default_rng(0)
    organs = {
        name: {"dice": 0.7, "hausdorff": 0.9, "score": 0.8}
        for name in ("large_bowel", "small_bowel", "stomach")
    }
    best = {"paper_dice": 0.7, "paper_iou": 0.6, "paper_accuracy": 0.9}
    for spec in record.specs():
        cases = [case for case in range(CASES) if case % FOLDS == spec.fold]
        per_case = {str(case): _sums(random) for case in cases}
        scores = {"dice": 0.7, "hausdorff": 0.9, "score": float(random.normal(0.8, 0.02))}
        TrialResult(
            spec=spec,
            scores={**scores, "per_class": organs, "rows": 1000, "volumes": 100},
            per_case=per_case,
            history={"best_epoch": 3, "epochs": 5, "at_best": best, "best": best},
            cost={"seconds": 100.0, "peak_memory_bytes": 10**9},
            environment={"parameters": 10**6},
        ).save(TrialFiles(directory.trials / spec.key).result)


def _sums(random: np.random.Generator) -> dict[str, list[float]]:
    dice, hausdorff = random.uniform(0.6, 0.8, (2, 3))
    return {
        "dice_sum": (60 * dice).tolist(),
        "dice_rows": [60.0] * 3,
        "hausdorff_sum": (3 * hausdorff).tolist(),
        "hausdorff_volumes": [3.0] * 3,
    }


def timed(arguments: list[str]) -> tuple[float, float]:
    """Seconds and peak memory (MiB) of a command."""
    code = "from orchestrator.cli import main; main()"
    seconds, peaks = [], []
    for _ in range(5):
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
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    os.fsync = lambda _: None  # made-up results need not survive a power cut
    with tempfile.TemporaryDirectory() as folder:
        write_run(Path(folder) / "run")
        rows = {
            "report over 10,000 trials": timed(["report", str(Path(folder) / "run")]),
            "--help": timed(["--help"]),
        }
    lines = ["| command | median of 5 | peak memory |", "|---|---:|---:|"]
    lines += [f"| {name} | {s:.2f} s | {m:.0f} MiB |" for name, (s, m) in rows.items()]
    text = "\n".join(lines) + f"\n\n{os.cpu_count()} cores.\n"
    print(text)
    if options.out:
        options.out.write_text("# Reading results\n\n" + text)


if __name__ == "__main__":
    main()
