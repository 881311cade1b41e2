"""Claim: scoring a fold takes under 10 s on two cores, a tenth of the usual loop with MONAI.

55 scans of three organs at native size, in the shares of the contest's sizes: phantom scans, each
met several times with other predictions, a third good, a third poor, a third noisy (as in
``hausdorff.py``). Ours is ``score_scan``, as trials call it, on masks in memory, and
``competition_score`` on tables of run-length text. The usual loop is MONAI's
``compute_hausdorff_distance`` and NumPy's Dice a slice, on some of the scans; times a scan are
compared.

    python -m benchmarks.speed.fold_scoring --out benchmarks/results/fold_scoring.md
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from benchmarks.measuring import at_least, at_most, machine, medians, parser, publish, table
from benchmarks.speed.hausdorff import (
    PREDICTIONS,
    Distance,
    compositions,
    monai,
    prediction,
    scan_plans,
    scan_truth,
)
from gitract_core.data import rle
from gitract_core.metrics import (
    CompetitionScore,
    ScanScore,
    competition_score,
    pool_scores,
    score_scan,
)
from gitract_core.organs import CONTEST

PLANS = {(266, 266): 4, (310, 360): 2, (276, 276): 1}  # size -> distinct scans
SCANS = {(266, 266): 36, (310, 360): 16, (276, 276): 3}  # size -> scans; 180, 78, 15 of 274 in all
MOST_SECONDS, TARGET = 10.0, 10.0
MONAI_TURNS = 2  # scans of each kind


@dataclass(frozen=True)
class FoldScan:
    """A scan of the fold: masks, boolean (organs, slices, height, width)."""

    kind: str
    predicted: np.ndarray
    truth: np.ndarray


def fold() -> list[FoldScan]:
    """All scans; those that share a truth share its memory."""
    kinds, scans = list(PREDICTIONS), []
    for size, number in SCANS.items():
        truths = [scan_truth(plan) for plan in scan_plans(size, PLANS[size])]
        for turn in range(number):
            kind, truth = kinds[len(scans) % len(kinds)], truths[turn % len(truths)]
            scans.append(FoldScan(kind, prediction(kind, truth, seed=turn), truth))
    return scans


def on_one_core(scans: list[FoldScan]) -> CompetitionScore:
    return pool_scores([score_scan(s.predicted, s.truth) for s in scans])


def on_two_cores(scans: list[FoldScan]) -> CompetitionScore:
    with ThreadPoolExecutor(2) as pool:
        return pool_scores(list(pool.map(lambda s: score_scan(s.predicted, s.truth), scans)))


def usual_loop(scans: list[FoldScan], distance: Distance) -> CompetitionScore:
    """A peer's distance by organ, and Dice by slice and organ."""
    scores = []
    for scan in scans:
        pairs = list(zip(scan.predicted, scan.truth, strict=True))
        diagonal = math.hypot(*scan.truth.shape[1:])
        found = np.array([distance(p, t) / diagonal for p, t in pairs])
        counts = [
            [((a & b).sum(), a.sum(), b.sum()) for a, b in zip(p, t, strict=True)] for p, t in pairs
        ]
        shared_px, predicted_px, truth_px = np.moveaxis(np.array(counts, np.int64), -1, 0)
        scores.append(ScanScore(shared_px, predicted_px, truth_px, found))
    return pool_scores(scores)


def tables(scans: list[FoldScan]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Submission and solution of the fold, as the contest writes them."""
    rows = []
    for case, scan in enumerate(scans, 1):
        height, width = scan.truth.shape[2:]
        for channel, organ in enumerate(CONTEST):
            given = rle.encode_many(scan.predicted[channel])
            texts = zip(given, rle.encode_many(scan.truth[channel]), strict=True)
            for number, (predicted, true) in enumerate(texts, 1):
                name = f"case{case}_day0_slice_{number:04d}"
                rows.append((name, organ, predicted, true, height, width))
    columns = ["id", "class", "predicted", "segmentation", "height", "width"]
    whole = pd.DataFrame(rows, columns=columns)
    return whole[columns[:3]], whole[["id", "class", "segmentation", "height", "width"]]


def check(score: CompetitionScore, other: CompetitionScore, what: str) -> None:
    found, expected = ((s.dice, s.hausdorff, s.score) for s in (score, other))
    if not np.allclose(found, expected, rtol=0, atol=1e-12):
        raise SystemExit(f"{what}: {found} is not {expected}; nothing is timed")


def sample(scans: list[FoldScan]) -> list[FoldScan]:
    """For each kind, scans of the two common sizes."""
    chosen = []
    for kind in PREDICTIONS:
        of_kind = [s for s in scans if s.kind == kind]
        places = np.linspace(0, len(of_kind) - 2, MONAI_TURNS).round().astype(int)
        chosen += [of_kind[place] for place in places]
    return chosen


def against_monai(scans: list[FoldScan], rounds: int) -> tuple[list[str], str]:
    """Parts of the page, and the verdict; one line that says so without MONAI."""
    chosen = sample(scans)
    score = on_one_core(chosen)
    check(score, usual_loop(chosen, compositions()["KD-tree"]), "an exact loop")
    try:
        distance = monai()["MONAI"]
    except ImportError as absent:
        return [f"Skipped the loop with MONAI: not installed here ({absent})."], ""
    rows, ours_all, usual_all = [], 0.0, 0.0
    for kind in PREDICTIONS:
        some = [s for s in chosen if s.kind == kind]
        runs: dict[str, Callable[[], object]] = {
            "ours": lambda some=some: on_one_core(some),
            "usual": lambda some=some: usual_loop(some, distance),
        }
        ours, usual = medians(runs, rounds, warm_up=0).values()
        ours_all, usual_all = ours_all + ours, usual_all + usual
        cells = (f"{value / len(some) * 1e3:.0f}" for value in (ours, usual))
        rows.append([kind, *cells, f"{usual / ours:.1f}"])
    text = f"Against the usual loop with MONAI, one core, on {len(chosen)} of the scans. "
    text += (
        f"Score of these: ours, as an exact loop gives it, {score.score:.6f}; MONAI, which looks "
    )
    text += f"at surfaces alone, {usual_loop(chosen, distance).score:.6f}."
    header = ["ms a scan", "ours", "usual loop", "ratio"]
    verdict = at_least("usual loop over ours, all kinds", usual_all / ours_all, TARGET)
    return [text, table(header, rows)], verdict


def main() -> None:
    options = parser(__doc__ or "", rounds=3).parse_args()
    torch.set_num_threads(1)
    scans = fold()
    submission, solution = tables(scans)
    score = on_one_core(scans)
    check(score, on_two_cores(scans), "two cores")
    check(score, competition_score(submission, solution), "tables")
    parts, verdict = against_monai(scans, options.rounds)
    runs: dict[str, Callable[[], object]] = {
        "masks in memory, one core": lambda: on_one_core(scans),
        "masks in memory, two threads": lambda: on_two_cores(scans),
        "tables of run-length text, one core": lambda: competition_score(submission, solution),
    }
    times = medians(runs, options.rounds, warm_up=0)
    rows = [[name, f"{v:.2f}", f"{v / len(scans) * 1e3:.0f}"] for name, v in times.items()]
    lines = [at_most(f"seconds a fold, {name}", v, MOST_SECONDS) for name, v in times.items()]
    lines.append(verdict)
    text = f"{len(scans)} scans, {3 * len(scans)} volumes; medians of {options.rounds} in turns."
    whole = table(["a fold", "seconds", "ms a scan"], rows)
    packages = ("numpy", "scipy", "monai")
    page = [machine(*packages), text, whole, *parts, "\n".join(filter(None, lines))]
    publish("Scoring a fold", page, options.out)


if __name__ == "__main__":
    main()
