"""Does the interval for patients to come hold the scores of hidden phantom patients?

    python -m benchmarks.studies.to_come --runs 20 --work DIR

Each run has a phantom of its own (11 patients, as the demo), four candidates of the demo's space
and an ensemble of the best three (and of the best one). It is scored on twenty hidden patients of
another phantom, in sets of two (as many as the demo's own test folder has), four and ten. Runs that
are done are kept in ``--work``, so that the command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

import orchestrator
from gitract_core.data.slices import SliceIndex, case_of_scan
from gitract_core.data.volumes import scan_masks
from gitract_core.device import Runtime
from gitract_core.metrics.scan_score import score_scan
from gitract_core.metrics.score import COMPETITION
from gitract_core.phantom import write_phantom
from gitract_core.prediction.members import Members, Predictor
from orchestrator.ensembles.to_come import interval_to_come

SPACE = {
    "description": "four candidates of the demo",
    "folds": 5,
    "network": {"family": "unet", "widths": "small", "depth": 4},
    "input": {"size": 32, "channels": 1},
    "loss": ["bce", "bce + dice", "soft_dice", "bce + 0.5*dice"],
    "augmentation": {"kinds": "elastic+noise+blur"},
    "optimizer": {"learning_rate": 0.01, "batch_size": 16},
    "training": {"epochs": 4, "patience": 4},
}
CASES, SLICES, HIDDEN = 11, 16, 20
TOPS, SETS = (3, 1), (2, 4, 10)


def train(directory: Path, seed: int) -> None:
    """One run, its ensembles and their sums on hidden patients, in ``hidden.json``."""
    write_phantom(directory / "data", cases=CASES, seed=1000 + seed, slices_per_scan=SLICES)
    run = orchestrator.sweep(
        directory / "data", SPACE, directory / "run", local=True, progress=False
    )
    write_phantom(directory / "hidden", cases=HIDDEN, seed=5000 + seed, slices_per_scan=SLICES)
    index, found = SliceIndex.from_directory(directory / "hidden"), {}
    for top in TOPS:
        manifest = run.ensemble(top=top).manifest
        announced = json.loads((manifest.parent / "oof_score.json").read_text())
        found[str(top)] = {"announced": announced, "hidden": by_scan(manifest, index)}
    (directory / "hidden.json").write_text(json.dumps(found))
    shutil.rmtree(directory / "hidden")


def by_scan(manifest: Path, index: SliceIndex) -> dict[str, Any]:
    """Scan -> its patient and the sums and counts of its score."""
    predictor = Predictor(Members.load(manifest), manifest.parent, Runtime("cpu", 1))
    cases, found = case_of_scan(index), {}
    for scan in index.scans:
        truth = scan_masks(index.rows_of_scan(scan), organs=index.organs)
        scored = score_scan(predictor.masks(index, scan), truth, "diagonal")
        found[scan] = {"case": cases[scan], "sums": COMPETITION.count(scored).sum(axis=0).tolist()}
    return found


def compare(found: list[dict[str, Any]], top: int, size: int) -> str:
    """A row of the table: all sets of so many patients of all runs."""
    inside, mean_inside, scores, widths = [], [], [], []
    for run in found:
        announced, of_case = run[str(top)]["announced"], defaultdict(list)
        for scan in run[str(top)]["hidden"].values():
            of_case[scan["case"]].append(scan["sums"])
        sums = np.array([np.sum(of_case[case], axis=0) for case in sorted(of_case)])
        low, high = interval_to_come(announced, size)
        widths.append(high - low)
        for start in range(0, len(sums) - size + 1, size):
            score = float(COMPETITION.of(sums[start : start + size].sum(axis=0)))
            scores.append(score - announced["score"])
            inside.append(low <= score <= high)
            ends = announced["interval"]
            mean_inside += [ends[0] <= score <= ends[1]] if ends[0] is not None else []
    shown = np.array(scores) + np.repeat(
        [run[str(top)]["announced"]["score"] for run in found], len(scores) // len(found)
    )
    spread = float(np.ptp(np.quantile(shown, [0.025, 0.975])))
    return (
        f"| best {top} | {size} | {len(inside)} | {100 * np.mean(inside):.1f} "
        f"| {100 * np.mean(mean_inside):.1f} | {np.mean(widths):.3f} | {spread:.3f} "
        f"| {np.mean(widths) / spread:.2f} | {np.mean(scores):+.3f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/to_come.md"))
    arguments = parser.parse_args()
    found = []
    for seed in range(arguments.runs):
        directory = arguments.work / f"run{seed:02}"
        if not (directory / "hidden.json").is_file():
            train(directory, seed)
        found.append(json.loads((directory / "hidden.json").read_text()))
    lines = [
        "# The interval for patients to come, on hidden phantom patients",
        "",
        f"{len(found)} trained runs of {CASES} phantom patients each, {HIDDEN} hidden patients a "
        "run, in sets. *held*: sets whose score lay in the interval for so many patients to come; "
        "*mean patient*: in the interval of the out-of-fold score itself, where there is one. "
        "*width*: mean width; *range*: of 95 % of all sets' scores. *above*: mean of the sets' "
        "scores less the announced ones: networks are averaged there.",
        "",
        "| ensemble | patients a set | sets | held, % | mean patient, % | width | range | ratio |"
        " above |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
        *(compare(found, top, size) for top in TOPS for size in SETS),
        "",
    ]
    arguments.out.write_text("\n".join(lines))


if __name__ == "__main__":
    main()
