"""Claim: a net trained on the phantom alone beats, on real scans, one trained on another patient.

Two tables in Markdown. The first puts statistics of the phantom's masks and images beside those
published of the contest's scans. The second trains one small network on the phantom alone and,
with the same settings and as many steps, on the other of two real patients, and scores both on
the two real scans. The last weights count: nothing is chosen on the real scans.

    GITRACT_REAL_DATA=DIR python -m benchmarks.studies.phantom_realism --seeds 0 1 2

DIR holds ``mini``, a contest folder with two annotated scans of two patients. The contest's data
are not part of this project; without them the second table is skipped, and the script says so.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import torch
from scipy import ndimage

from gitract_core.data.cache import SliceCache, build_cache
from gitract_core.data.slices import SliceIndex
from gitract_core.data.volumes import scan_masks
from gitract_core.knobs import PostprocessKnobs
from gitract_core.metrics import CompetitionScore, pool_scores, score_scan
from gitract_core.organs import CONTEST
from gitract_core.phantom import PhantomSpec, make_plan, write_phantom
from gitract_core.phantom.scan import Scan
from gitract_core.prediction.device_slices import slices_on
from gitract_core.prediction.inference import predict_scan
from gitract_core.prediction.postprocess import NativeGrid, native_masks
from gitract_core.spec import Candidate, TrialSpec
from gitract_core.training.loop import FoldSlices, Training

# Medians over 22 real scans, in the order of CONTEST, unless the name says otherwise.
PUBLISHED: dict[str, tuple[str, str, str]] = {
    "area, 5 % (px)": ("451", "273", "192"),
    "area, median (px)": ("1390", "1836", "1132"),
    "area, 95 % (px)": ("3591", "3984", "4671"),
    "components, mean": ("2.34", "3.36", "1.10"),
    "box height, median (px)": ("62", "54", "43"),
    "box width, median (px)": ("140", "121", "48"),
    "centroid y, mean": (".389", ".397", ".391"),
    "centroid y, sd": (".081", ".069", ".086"),
    "centroid x, mean": (".572", ".589", ".591"),
    "centroid x, sd": (".159", ".081", ".089"),
    "Dice of adjacent slices, median": (".908", ".870", ".913"),
    "slices a scan, median": ("63", "45.5", "32.5"),
    "gray value, mean (0 to 255)": ("31-47", "38-53", "27-47"),
    "gray value, sd inside": ("13-29", "13-29", "13-29"),
}
PUBLISHED_PAIRS = {
    "stomach & large": (20 / 551, 17),
    "stomach & small": (80 / 268, 283),
    "large & small": (347 / 1020, 659),
}
PAIRS = {"stomach & large": (2, 0), "stomach & small": (2, 1), "large & small": (0, 1)}
SOURCES = ["phantom", "other patient"]
KNOBS = {
    "loss": "bce + dice",
    "network.widths": "8,16,32,64,96",
    "network.depth": 4,
    "input.size": 64,
    "input.channels": 1,
    "augmentation.kinds": "elastic+noise+blur+affine+intensity",
    "optimizer.learning_rate": 0.003,
    "optimizer.schedule": "cosine",
    "optimizer.batch_size": 8,
    "training.precision": "auto",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--real", type=Path, default=os.environ.get("GITRACT_REAL_DATA"))
    parser.add_argument("--scans", type=int, default=24, help="scans behind the first table")
    parser.add_argument("--cases", type=int, default=24, help="cases of the phantom to train on")
    parser.add_argument("--slices", type=int, default=72, help="slices a scan of that phantom")
    parser.add_argument("--steps", type=int, default=3000, help="optimizer steps of each net")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--context", type=int, default=1, help="slices seen at once: 1, 3 or 5")
    parser.add_argument("--train-on", nargs="+", choices=SOURCES, default=SOURCES)
    parser.add_argument("--work", type=Path, help="keep phantom and cache here for another run")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    if options.scans:
        print_statistics(options.scans)
    real = Path(options.real) / "mini" if options.real else None
    if real is None or not (real / "train.csv").is_file():
        print("no real scans: name their folder in GITRACT_REAL_DATA", file=sys.stderr)
        return
    with tempfile.TemporaryDirectory() as folder:
        work = options.work or Path(folder)
        os.environ["GITRACT_CACHE"] = str(work / "cache")
        print_transfer(real, work / "phantom", options)


def print_statistics(n_scans: int) -> None:
    """The first table."""
    plan = make_plan(PhantomSpec.small(max(2, n_scans // 2), 5)).train
    scans = [s for s in plan if s.n_slices == 144][:n_scans]
    drawn = [[*Scan.drawn(s, 5).slices()] for s in scans]
    found = [organ_statistics(drawn, organ) for organ in range(3)]
    print("| statistic |" + "".join(f" {o} real | phantom |" for o in CONTEST))
    print("|---|" + "---:|" * 6)
    for row, values in PUBLISHED.items():
        cells = (f" {real} | {f[row]:.3g} |" for real, f in zip(values, found, strict=True))
        print(f"| {row} |" + "".join(cells))
    print(
        "\n| overlap | real: share of slices with both | largest (px) | phantom: share | largest |"
    )
    print("|---|---:|---:|---:|---:|")
    for name, (one, other) in PAIRS.items():
        both = [m for scan in drawn for _, m in scan if m[one].any() and m[other].any()]
        shared = np.array([int((m[one] & m[other]).sum()) for m in both])
        share, most = PUBLISHED_PAIRS[name]
        print(f"| {name} | {share:.3f} | {most} | {(shared > 0).mean():.3f} | {shared.max()} |")
    print(flush=True)


def organ_statistics(
    scans: Sequence[Sequence[tuple[np.ndarray, np.ndarray]]], organ: int
) -> dict[str, float]:
    """The rows of the first table for one organ of drawn scans."""
    held = [(i, m[organ]) for scan in scans for i, m in scan if m[organ].any()]
    areas = [m.sum() for _, m in held]
    boxes = [ndimage.find_objects(m.astype(np.uint8))[0] for _, m in held]
    centers = np.array([np.divide(ndimage.center_of_mass(m), m.shape) for _, m in held])
    grays = [255 * (i.astype(float) - i.min())[m] / np.ptp(i) for i, m in held]
    agreement = []
    for scan in scans:
        for (_, one), (_, two) in pairwise(scan):
            if one[organ].any() and two[organ].any():
                total = one[organ].sum() + two[organ].sum()
                agreement.append(2 * (one[organ] & two[organ]).sum() / total)
    return {
        "area, 5 % (px)": float(np.quantile(areas, 0.05)),
        "area, median (px)": float(np.median(areas)),
        "area, 95 % (px)": float(np.quantile(areas, 0.95)),
        "components, mean": float(np.mean([ndimage.label(m, np.ones((3, 3)))[1] for _, m in held])),
        "box height, median (px)": float(np.median([b[0].stop - b[0].start for b in boxes])),
        "box width, median (px)": float(np.median([b[1].stop - b[1].start for b in boxes])),
        "centroid y, mean": float(centers[:, 0].mean()),
        "centroid y, sd": float(centers[:, 0].std()),
        "centroid x, mean": float(centers[:, 1].mean()),
        "centroid x, sd": float(centers[:, 1].std()),
        "Dice of adjacent slices, median": float(np.median(agreement)),
        "slices a scan, median": float(
            np.median([sum(m[organ].any() for _, m in scan) for scan in scans])
        ),
        "gray value, mean (0 to 255)": float(np.mean([g.mean() for g in grays])),
        "gray value, sd inside": float(np.mean([g.std() for g in grays])),
    }


def print_transfer(real: Path, phantom: Path, options: argparse.Namespace) -> None:
    """The second table."""
    candidate = Candidate.from_knobs({**KNOBS, "input.context": options.context})
    size, batch = candidate.input.size, candidate.optimizer.batch_size
    scans = build_cache(SliceIndex.from_directory(real), size)
    names = list(dict.fromkeys(scans.index.table["scan"]))
    print(
        f"{size} px, {options.steps} steps of {batch}, {options.context} slices seen, last weights;"
    )
    print(f"phantom of {options.cases} cases, {options.slices} slices a scan\n")
    print("| trained on | seed |" + "".join(f" {n}: Dice | score |" for n in names) + " seconds |")
    print("|---|---:|" + "---:|---:|" * len(names) + "---:|", flush=True)
    for source in options.train_on:
        rows_of = []
        for seed in options.seeds:
            start, run = time.perf_counter(), (seed, options.steps)
            if source == "phantom":
                drawn = drawn_phantom(phantom, options, size)
                network = trained(drawn, np.arange(len(drawn.index.table)), candidate, run)
                scores = [scored(network, scans, name) for name in names]
            else:
                others = [np.flatnonzero(scans.index.table["scan"] != name) for name in names]
                networks = [trained(scans, rows, candidate, run) for rows in others]
                scores = [scored(n, scans, s) for n, s in zip(networks, names, strict=True)]
            rows_of.append(printed(source, seed, scores, start))
        if len(rows_of) > 1:
            columns = zip(*rows_of, strict=True)
            cells = [f"{statistics.mean(c):.3f} (sd {statistics.stdev(c):.3f})" for c in columns]
            print(f"| {source} | mean | " + " | ".join(cells) + " | |", flush=True)


def drawn_phantom(phantom: Path, options: argparse.Namespace, size: int) -> SliceCache:
    """The phantom to train on, drawn unless it is there."""
    write_phantom(phantom, cases=options.cases, seed=1, slices_per_scan=options.slices)
    return build_cache(SliceIndex.from_directory(phantom), size)


def printed(
    source: str, seed: int, scores: Sequence[CompetitionScore], start: float
) -> list[float]:
    """Print a row of the second table and return its figures."""
    figures = [value for s in scores for value in (s.dice, s.score)]
    cells = "".join(f" {value:.3f} |" for value in figures)
    print(f"| {source} | {seed} |{cells} {time.perf_counter() - start:.0f} |", flush=True)
    return figures


def trained(
    cache: SliceCache, rows: np.ndarray, candidate: Candidate, run: tuple[int, int]
) -> Training:
    """A network after so many steps on some rows of a cache; ``run`` is seed and steps."""
    seed, steps = run
    per_epoch = -(-len(rows) // candidate.optimizer.batch_size)
    knobs = {**candidate.knobs(), "training.epochs": max(1, round(steps / per_epoch))}
    knobs["training.patience"] = knobs["training.epochs"]
    spec = TrialSpec(Candidate.from_knobs(knobs), 0, 2, seed, "", "")
    device = torch.device("cpu")
    # one row "validates": nothing is chosen by it
    data = FoldSlices(slices_on(cache, device), torch.from_numpy(rows), torch.tensor([rows[0]]))
    training = Training(spec, data, device)
    while not training.finished:
        training.run_epoch()
    training.network.eval()
    return training


def scored(training: Training, cache: SliceCache, scan: str) -> CompetitionScore:
    """The contest's score of one scan at its native size."""
    rows = cache.index.rows_of_scan(scan)
    images = slices_on(cache, training.device).images[int(rows.index[0]) : int(rows.index[-1]) + 1]
    found = predict_scan(training.network, images, training.candidate, training.precision)
    masks = native_masks(found, NativeGrid.of_scan(rows), PostprocessKnobs())
    truth = scan_masks(rows, organs=cache.organs)
    return pool_scores([score_scan(masks, truth, "diagonal")])


if __name__ == "__main__":
    main()
