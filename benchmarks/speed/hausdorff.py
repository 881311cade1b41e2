"""Claim: the exact 3D Hausdorff distance is at least 10 times as fast as the fastest exact peer.

Three organs of a phantom scan at 144 x 266 x 266 and 144 x 310 x 360 against three kinds of
predictions: good (borders off by a voxel or two), poor (parts missing, islands far away) and noisy
(one voxel in a thousand flipped). Peers are SciPy, MONAI, surface-distance, MedPy, distance maps
and KD-trees, each on one thread; those that are not installed are skipped.

    python -m benchmarks.speed.hausdorff --out benchmarks/results/hausdorff.md

Values are compared before the timing, on two small shapes as well that tell methods that look at
surfaces alone. A peer that is far from the fastest is timed once, the others in turns.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import numpy as np
import torch
from scipy import ndimage
from scipy.spatial import KDTree
from scipy.spatial.distance import directed_hausdorff

from benchmarks.measuring import Run, at_least, machine, medians, parser, publish, seconds, table
from gitract_core.metrics import hausdorff_distance
from gitract_core.phantom import PhantomSpec, make_plan
from gitract_core.phantom.planning.scan_plan import ScanPlan
from gitract_core.phantom.scan import Scan

Distance = Callable[[np.ndarray, np.ndarray], float]
Pair = tuple[np.ndarray, np.ndarray]  # prediction and truth, boolean (slices, height, width)
Case = tuple[str, tuple[int, int]]  # kind of prediction; height and width

OURS = "ours"
SIZES = ((266, 266), (310, 360))
TARGET = 10.0
FAR_BEHIND = 3.0  # times the fastest peer: timed once
SLOW = ("distance map", "MedPy", "surface-distance")  # seconds a scan: timed on one kind alone


def scan_plans(size: tuple[int, int], number: int) -> list[ScanPlan]:
    """The first plans of a size in a phantom with the paper's counts."""
    train = make_plan(PhantomSpec.like_paper()).train
    return [plan for plan in train if (plan.height, plan.width) == size][:number]


def scan_truth(plan: ScanPlan) -> np.ndarray:
    """Masks of a scan, boolean (organs, slices, height, width)."""
    return np.stack([masks for _, masks in Scan.drawn(plan, 0).slices()], axis=1)


def smooth_noise(random: np.random.Generator, shape: tuple[int, ...], scale: float) -> np.ndarray:
    """Noise of unit strength that changes over ``scale`` voxels, float32 of a shape."""
    coarse = [max(2, round(n / scale)) for n in shape]
    noise = random.standard_normal(coarse, dtype=np.float32)
    return ndimage.zoom(noise, np.divide(shape, coarse), order=1)


def good(truth: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Smoothed, moved by a voxel, with a border that wavers; Dice above .9."""
    found = np.zeros_like(truth)
    (held,) = ndimage.find_objects(truth.astype(np.uint8))
    box = tuple(slice(max(s.start - 6, 0), s.stop + 6) for s in held)
    inside = truth[box]
    soft = ndimage.gaussian_filter(inside.astype(np.float32), (0.5, 1.5, 1.5))
    wavering = np.roll(soft + 0.15 * smooth_noise(random, inside.shape, 8) > 0.45, 1, axis=2)
    found[box] = wavering & ndimage.binary_dilation(inside, iterations=5)
    return found


def poor(truth: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Without the first quarter of its slices and other parts, and with four islands."""
    found = good(truth, random)
    slices = np.flatnonzero(found.any(axis=(1, 2)))
    found[: slices[len(slices) // 4]] = False
    found &= smooth_noise(random, truth.shape, 30) < 1
    for _ in range(4):
        radius = int(random.integers(4, 9))
        z, y, x = (int(random.integers(n // 6, n - n // 6)) for n in truth.shape)
        ball = (np.indices((2 * radius + 1,) * 3) - radius).astype(np.float32)
        corner = (z - radius, y - radius, x - radius)
        place = tuple(slice(c, c + 2 * radius + 1) for c in corner)
        found[place] |= (ball**2).sum(axis=0) <= radius**2
    return found


def noisy(truth: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A good one with one voxel in a thousand flipped, all over the volume."""
    return good(truth, random) ^ (random.random(truth.shape, dtype=np.float32) < 1e-3)


PREDICTIONS = {"good": good, "poor": poor, "noisy": noisy}


def shapes() -> list[Pair]:
    """A ball within a hollow shell, and a ball with a hole: surfaces do not tell the distance."""
    squared = ((np.indices((41,) * 3) - 20) ** 2).sum(axis=0)
    ball, shell = squared <= 81, (squared <= 225) & (squared > 196)
    return [(ball, shell), (ball, ball & (squared > 0))]


def surface(mask: np.ndarray) -> np.ndarray:
    return mask & ~ndimage.binary_erosion(mask)


def in_box(p: np.ndarray, t: np.ndarray) -> Pair:
    """Both cropped to the box that holds both."""
    (box,) = ndimage.find_objects((p | t).astype(np.uint8))
    return p[box], t[box]


def both_ways(directed: Distance, p: np.ndarray, t: np.ndarray) -> float:
    return float(max(directed(p, t), directed(t, p)))


def scipy_directed(a: np.ndarray, b: np.ndarray) -> float:
    return directed_hausdorff(a, b)[0]


def tree_directed(a: np.ndarray, b: np.ndarray) -> float:
    return KDTree(b).query(a)[0].max()


def map_directed(a: np.ndarray, b: np.ndarray) -> float:
    return ndimage.distance_transform_edt(~b)[a].max()


def compositions() -> dict[str, Distance]:
    """What is put together from SciPy's parts."""
    voxels = np.argwhere

    def on_surfaces(directed: Distance, p: np.ndarray, t: np.ndarray) -> float:
        p, t = in_box(p, t)
        return both_ways(directed, voxels(surface(p)), voxels(surface(t)))

    return {
        "SciPy directed_hausdorff": lambda p, t: both_ways(scipy_directed, voxels(p), voxels(t)),
        "SciPy directed_hausdorff, surfaces": lambda p, t: on_surfaces(scipy_directed, p, t),
        "KD-tree": lambda p, t: both_ways(tree_directed, voxels(p), voxels(t)),
        "KD-tree, surfaces": lambda p, t: on_surfaces(tree_directed, p, t),
        "distance map": lambda p, t: both_ways(map_directed, p, t),
        "distance map in the common box": lambda p, t: both_ways(map_directed, *in_box(p, t)),
    }


def monai() -> dict[str, Distance]:
    from monai.metrics import compute_hausdorff_distance

    def of(directed: bool) -> Distance:
        def distance(p: np.ndarray, t: np.ndarray) -> float:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tensors = (torch.from_numpy(mask)[None, None] for mask in (p, t))
                found = compute_hausdorff_distance(
                    *tensors, include_background=True, directed=directed
                )
            return float(found)

        return distance

    return {"MONAI": of(False), "MONAI, directed": of(True)}


def surface_distance() -> dict[str, Distance]:
    import surface_distance as peer

    def distance(p: np.ndarray, t: np.ndarray) -> float:
        found = peer.compute_surface_distances(t, p, (1, 1, 1))
        return float(peer.compute_robust_hausdorff(found, 100))

    return {"surface-distance": distance}


def medpy() -> dict[str, Distance]:
    from medpy.metric.binary import hd

    return {"MedPy": lambda p, t: float(hd(p, t))}


def methods() -> tuple[dict[str, Distance], list[str]]:
    """Ours, the peers, and a line on each peer that is not installed."""
    found: dict[str, Distance] = {OURS: hausdorff_distance, **compositions()}
    lines = []
    for peer in (monai, surface_distance, medpy):
        try:
            found.update(peer())
        except ImportError as absent:
            lines.append(f"Skipped {peer.__name__}: not installed here ({absent}).")
    return found, lines


def exact_distances(pairs: list[Pair]) -> list[float]:
    """By SciPy's definition, over all voxels."""
    return [both_ways(scipy_directed, *map(np.argwhere, pair)) for pair in pairs]


class Measured:
    """Seconds and values of every method in every case."""

    def __init__(self, distances: dict[str, Distance]) -> None:
        self.distances = distances
        self.seconds: dict[tuple[str, Case], float] = {}
        self.others = dict.fromkeys(distances, 0)
        self.compared = dict.fromkeys(distances, 0)
        self.crashes: list[str] = []

    def compare(self, name: str, pairs: list[Pair], expected: list[float]) -> float:
        """Count values that are not the exact ones; seconds for all, inf after a crash."""
        values: list[float] = []
        try:
            once = seconds(lambda: values.extend(self.distances[name](p, t) for p, t in pairs))
        except Exception as error:
            self.crashes.append(f"{name} crashed: {error!r}.")
            return math.inf
        if name == OURS and values != expected:
            raise SystemExit(f"ours {values}, exact {expected}: nothing is timed")
        same = np.isclose(values, expected, rtol=1e-6, atol=0)  # MONAI's are float32
        self.others[name] += int(np.count_nonzero(~same))
        self.compared[name] += len(same)
        return once

    def time(self, case: Case, pairs: list[Pair], rounds: int) -> None:
        """Compare all values, then time those that may be the fastest, in turns."""
        names = [n for n in self.distances if case[0] == "good" or n not in SLOW]
        expected = exact_distances(pairs)
        once = {name: self.compare(name, pairs, expected) for name in names}
        self.seconds |= {(n, case): value for n, value in once.items() if math.isfinite(value)}
        limit = FAR_BEHIND * min(value for name, value in once.items() if name != OURS)
        near = {n: self.on(n, pairs) for n, value in once.items() if value <= limit}
        self.seconds |= {(n, case): s for n, s in medians(near, rounds, warm_up=0).items()}

    def on(self, name: str, pairs: list[Pair]) -> Run:
        return lambda: [self.distances[name](p, t) for p, t in pairs]

    def fastest(self, case: Case, exact: bool) -> tuple[str, float]:
        """The fastest peer, and how many times our time it takes."""
        peers = {n: s for (n, c), s in self.seconds.items() if c == case and n != OURS}
        if exact:
            peers = {n: s for n, s in peers.items() if not self.others[n]}
        name = min(peers, key=peers.__getitem__)
        return name, peers[name] / self.seconds[OURS, case]

    def times(self, cases: list[Case]) -> str:
        """Milliseconds a scan, and how often a method gives another value."""
        rows = []
        for name in self.distances:
            values = [self.seconds.get((name, case)) for case in cases]
            cells = ["-" if value is None else f"{value * 1e3:.0f}" for value in values]
            rows.append([name, *cells, f"{self.others[name]} of {self.compared[name]}"])
        return table(["ms a scan", *map(title, cases), "other values"], rows)

    def ratios(self, cases: list[Case]) -> str:
        rows = []
        for case in cases:
            found = (self.fastest(case, exact) for exact in (True, False))
            rows.append([title(case), *(f"{name}: {ratio:.1f}" for name, ratio in found)])
        return table(["fastest peer over ours", "exact", "any"], rows)


def title(case: Case) -> str:
    return f"{case[0]} {case[1][0]}x{case[1][1]}"


def prediction(kind: str, truth: np.ndarray, seed: int = 0) -> np.ndarray:
    """A kind of prediction of each organ, boolean (organs, slices, height, width)."""
    random = np.random.default_rng(seed)
    return np.stack([PREDICTIONS[kind](mask, random) for mask in truth])


NOTES = """Milliseconds for the three organs of a scan, medians of {rounds} rounds in turns; peers \
that took over {far:g} times as long as the fastest were timed once. "Other values": values, over \
all organs and two small shapes, that are not those of `directed_hausdorff` over all voxels, taken \
both ways; a method with any is not exact. Surfaces were sought, and the KD-tree of them built, in \
the box that holds both masks. {slow} were timed on one kind of prediction only."""


def verdicts(measured: Measured, cases: list[Case]) -> str:
    """The target for each case, and for the whole of them."""
    lines = []
    for exact, peers in ((True, "exact peer"), (False, "peer of any value")):
        for case in cases:
            ratio = measured.fastest(case, exact)[1]
            lines.append(at_least(f"{title(case)}, fastest {peers} over ours", ratio, TARGET))
    return "\n".join(lines)


def main() -> None:
    options = parser(__doc__ or "", rounds=3).parse_args()
    torch.set_num_threads(1)
    distances, skipped = methods()
    measured = Measured(distances)
    for name in distances:
        measured.compare(name, shapes(), exact_distances(shapes()))
    cases: list[Case] = [(kind, size) for size in SIZES for kind in PREDICTIONS]
    for size in SIZES:
        truth = scan_truth(scan_plans(size, 1)[0])
        for kind in PREDICTIONS:
            pairs = list(zip(prediction(kind, truth), truth, strict=True))
            measured.time((kind, size), pairs, options.rounds)
    notes = NOTES.format(rounds=options.rounds, far=FAR_BEHIND, slow=", ".join(SLOW))
    packages = ("numpy", "scipy", "monai", "surface-distance", "medpy")
    parts = [machine(*packages), notes, measured.times(cases), measured.ratios(cases)]
    lines = [*skipped, *dict.fromkeys(measured.crashes)]
    publish("Hausdorff distance", [*parts, *lines, verdicts(measured, cases)], options.out)


if __name__ == "__main__":
    main()
