"""Does `gitract-cv audit` find faulty annotations? Faults are planted, models trained on them too.

A phantom of at least 50 scans gets faults in 4 % of its scans (organs swapped, masks moved, slices
dropped). One candidate is trained on all folds of the faulty data, as a user would have it, and the
audit ranks the scans. Then other faults are planted in the same data again and again and ranked
against the same out-of-fold predictions, which gives more draws than one training could.

    python -m benchmarks.studies.audit --out benchmarks/results/audit.md

Claim: at least 90 % of the planted faults are among the first 8 % of the list.
"""

from __future__ import annotations

import argparse
import csv
import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from gitract_core.data.slices import SliceIndex
from gitract_core.metrics.annotation_audit import Suspect, examine_scan, rank_scans
from gitract_core.phantom import PhantomSpec, write_phantom_of
from gitract_core.phantom.faults import plant_faults
from gitract_core.spec import Candidate
from orchestrator.capacity.trial_slots import choose_slots
from orchestrator.execution.executor import Jobs
from orchestrator.execution.local.executor import LocalExecutor, this_machine
from orchestrator.out_of_fold.annotation_audit import audit_run, truth_at
from orchestrator.out_of_fold.masks import OofAverage
from orchestrator.results.leaderboard import build_leaderboard
from orchestrator.storage.local_folder import LocalRun
from orchestrator.sweeps.preparation import SweepRequest, prepare
from search_spaces import SearchSpace

HEAD = "| faults | swapped | moved | dropped | all | share |"
SHARE, FIRST = 0.04, 0.08
KNOBS = {
    "loss": "bce + dice",
    "network.widths": "8,16,32,64",
    "network.depth": 3,
    "input.size": 48,
    "input.channels": 1,
    "augmentation.kinds": "elastic+noise",
    "optimizer.learning_rate": 0.004,
    "optimizer.schedule": "cosine",
    "training.monitor": "loss",
}


def first(ranked: Sequence[Suspect]) -> list[str]:
    """Names of the first ``FIRST`` of the list, at least one."""
    return [s.scan for s in ranked[: max(1, round(FIRST * len(ranked)))]]


def train(data: Path, run: Path, epochs: int) -> None:
    candidate = Candidate.from_knobs({**KNOBS, "training.epochs": epochs})
    space = SearchSpace("audit", "", (candidate,), 5, 0)
    sweep = prepare(SweepRequest(data, space, run))
    slots = choose_slots([this_machine()], len(sweep.pending))
    jobs = Jobs(sweep.pending, sweep.data, LocalRun(sweep.directory.path), slots, retries=0)
    LocalExecutor().run(jobs, lambda event: None)


def again(clean: Path, average: OofAverage, seed: int) -> tuple[Counter[str], Counter[str]]:
    """Other faults in the same annotation, against the same predictions."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "data"
        copy.mkdir()
        shutil.copy(clean / "train.csv", copy)
        (copy / "train").symlink_to((clean / "train").resolve())
        planted = {f.scan: f.kind for f in plant_faults(copy, SHARE, seed)}
        spoiled = SliceIndex.from_directory(copy)
    from gitract_core.data.cache import mask_bits, organs_in_bits

    evidence = {}
    for name in average.scans:
        scan = average.scan(name)
        truth = truth_at(average, scan)
        if name in planted:
            bits = mask_bits(spoiled.rows_of_scan(name), average.cache.view, organs=average.organs)
            truth = organs_in_bits(bits, average.organs).swapaxes(0, 1)
        evidence[name] = examine_scan(scan.probabilities / 255, truth)
    return count(planted, first(rank_scans(evidence, average.size, organs=average.organs)))


def count(planted: dict[str, str], first: list[str]) -> tuple[Counter[str], Counter[str]]:
    found = Counter(kind for scan, kind in planted.items() if scan in first)
    return found, Counter(planted.values())


def line(name: str, found: Counter[str], planted: Counter[str]) -> str:
    kinds = [f"{found[k]}/{planted[k]}" for k in ("swapped", "moved", "dropped")]
    total = f"{sum(found.values())}/{sum(planted.values())}"
    share = f"{100 * sum(found.values()) / sum(planted.values()):.0f} %"
    return f"| {name} | {' | '.join(kinds)} | {total} | {share} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=40)
    parser.add_argument("--slices", type=int, default=24)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--out", type=Path)
    parser.add_argument(
        "--work", type=Path, default=Path(tempfile.gettempdir()) / "audit-benchmark"
    )
    options = parser.parse_args()
    start = time.perf_counter()
    faulty, clean = options.work / "faulty", options.work / "clean"
    for folder in (faulty, clean):
        write_phantom_of(folder, PhantomSpec.small(options.cases, 7, options.slices))
    if not (faulty / "faults.csv").exists():
        plant_faults(faulty, SHARE, seed=0)
    lines = [HEAD, "|---|---:|---:|---:|---:|---:|"]
    for data in (faulty, clean):
        train(data, options.work / f"run-{data.name}", options.epochs)
    from orchestrator.sweeps.run_directory import SweepDirectory

    directory = SweepDirectory(options.work / "run-faulty")
    board = build_leaderboard(directory)
    audit = audit_run(directory, board, 1)
    with (faulty / "faults.csv").open(newline="") as file:
        planted = {row["scan"]: row["kind"] for row in csv.DictReader(file)}
    lines.append(line("in the training data too", *count(planted, first(audit.scans))))
    score = board.ranked[0].mean()
    directory = SweepDirectory(options.work / "run-clean")
    average = OofAverage(directory, build_leaderboard(directory).top(1))
    found, total = Counter[str](), Counter[str]()
    for seed in range(options.draws):
        some, of = again(clean, average, 100 + seed)
        found, total = found + some, total + of
    lines.append(line(f"planted afterwards, {options.draws} draws", found, total))
    scans = len(average.scans)
    lines += [
        "",
        f"{scans} phantom scans of {options.slices} slices, faults in {100 * SHARE:.0f} % of them; "
        f"found: among the first {100 * FIRST:.0f} % of the audit's list. Network score "
        f"{score:.3f} (faulty data). {os.cpu_count()} cores, no GPU, "
        f"{time.perf_counter() - start:.0f} s.",
    ]
    text = "\n".join(lines) + "\n"
    print(text)
    if options.out:
        options.out.write_text("# Planted annotation faults found\n\n" + text)


if __name__ == "__main__":
    main()
