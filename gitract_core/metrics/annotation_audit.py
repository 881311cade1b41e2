"""Where predictions and annotation disagree so that the annotation may be the one that is wrong.

Everything is measured in Dice. A scan's *deficit* is what its soft Dice lacks to that of the median
scan, organ by organ: hard scans have one, too. Its *gains* are what the Dice would win if the
annotation had one particular fault and it were mended: two organs swapped, all masks moved, slices
left out. An annotation that is right gains almost nothing from any of them, so a scan is suspected
for its deficit and, in the same unit, for the gain of the fault that explains it best.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import fft

from gitract_core.errors import DataError
from gitract_core.organs import Organs

_MOST_SHIFT = 0.35
"""Largest shift looked for, as a share of the image's side."""


@dataclass(frozen=True, slots=True)
class ScanEvidence:
    """One scan's agreement, and what mending each fault would win.

    Attributes:
        dice: soft Dice of each organ, (organs,); NaN where neither side has any.
        swap: the two organs whose exchange wins most, and the gain in mean Dice; 0 for one organ.
        shift_px: (rows, columns) by which the annotation best moves, and the gain.
        missing: first and last slice (from 0) of the predicted slices without annotation that
            would win most if left out, and the gain.
    """

    dice: np.ndarray
    swap: tuple[tuple[int, int], float]
    shift_px: tuple[tuple[int, int], float]
    missing: tuple[tuple[int, int], float]


def examine_scan(probabilities: np.ndarray, truth: np.ndarray) -> ScanEvidence:
    """Compare a scan's out-of-fold probabilities with its annotation.

    Args:
        probabilities: float 0 to 1, (organs, slices, height, width).
        truth: boolean, of the same shape. Where it is not known, both must be 0: that agrees with
            everything and explains nothing.

    Raises:
        DataError: shapes differ.
    """
    p, t = np.asarray(probabilities, np.float32), np.asarray(truth, np.float32)
    if p.shape != t.shape or p.ndim != 4:
        expected = "two equal shapes (organs, slices, height, width)"
        raise DataError("audit", expected, (p.shape, t.shape), "pass one scan's arrays")
    shared = np.einsum("oshw,oshw->os", p, t)  # (organs, slices)
    p_slices, t_slices = p.sum(axis=(2, 3)), t.sum(axis=(2, 3))
    dice = _dice(shared.sum(axis=1), (p_slices + t_slices).sum(axis=1))
    return ScanEvidence(
        dice,
        _best_swap(p, t, dice),
        _best_shift(p, t, float(_dice(shared.sum(), (p_slices + t_slices).sum()))),
        _missing_slices(shared, p_slices, t_slices),
    )


def _dice(shared: np.ndarray, total: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        dice: np.ndarray = np.where(total > 0.5, 2 * shared / total, np.nan)
    return dice


def _mean(values: np.ndarray) -> float:
    values = values[np.isfinite(values)]
    return float(values.mean()) if len(values) else 0.0


def _best_swap(p: np.ndarray, t: np.ndarray, dice: np.ndarray) -> tuple[tuple[int, int], float]:
    volumes_p, volumes_t = p.sum(axis=(1, 2, 3)), t.sum(axis=(1, 2, 3))
    cross = p.reshape(len(p), -1) @ t.reshape(len(t), -1).T  # (organs, organs)
    found = [((0, 0), 0.0)]
    for a, b in itertools.combinations(range(len(p)), 2):
        swapped = dice.copy()
        swapped[a] = _dice(cross[a, b], volumes_p[a] + volumes_t[b])
        swapped[b] = _dice(cross[b, a], volumes_p[b] + volumes_t[a])
        found.append(((a, b), max(_mean(swapped) - _mean(dice), 0.0)))
    return max(found, key=lambda item: item[1])


def _best_shift(p: np.ndarray, t: np.ndarray, dice: float) -> tuple[tuple[int, int], float]:
    """The move of all masks that makes them overlap most, by cross-correlation of all slices."""
    if not np.isfinite(dice):
        return (0, 0), 0.0
    shape = p.shape[2:]
    reach = [int(_MOST_SHIFT * side) for side in shape]
    padded = [side + far for side, far in zip(shape, reach, strict=True)]  # no wrapping round
    total: np.ndarray = np.zeros(1, np.complex64)
    for one_p, one_t in zip(p, t, strict=True):  # all organs at once would take their memory
        if one_p.any() and one_t.any():
            product = fft.rfft2(one_p, padded) * np.conj(fft.rfft2(one_t, padded))
            total = total + product.sum(axis=0)
    if total.size == 1:
        return (0, 0), 0.0
    overlap = fft.irfft2(total, padded)  # (rows, columns) of the move
    near = np.ix_(*([*range(-far, far + 1)] for far in reach))
    overlap = overlap[near]
    row, column = np.unravel_index(int(overlap.argmax()), overlap.shape)
    best = 2 * float(overlap[row, column]) / float(p.sum() + t.sum())
    return (int(row) - reach[0], int(column) - reach[1]), max(best - dice, 0.0)


def _missing_slices(
    shared: np.ndarray, p_slices: np.ndarray, t_slices: np.ndarray
) -> tuple[tuple[int, int], float]:
    """The run of slices without any annotation whose removal wins most.

    Slices between annotated ones count fully; those before the first and after the last only as far
    as they go beyond what predictions commonly add at an organ's ends, a tenth of the volume.
    """
    before = _mean(_dice(shared.sum(axis=1), (p_slices + t_slices).sum(axis=1)))
    blank: np.ndarray = t_slices.sum(axis=0) == 0
    best, run = 0.0, (0, -1)
    for is_blank, group in itertools.groupby(range(len(blank)), key=lambda s: bool(blank[s])):
        places = list(group)
        if not is_blank:
            continue
        kept = np.ones(len(blank), bool)
        kept[places] = False
        total = (p_slices + t_slices)[:, kept].sum(axis=1)
        gain = _mean(_dice(shared[:, kept].sum(axis=1), total)) - before
        at_an_end = places[0] == 0 or places[-1] == len(blank) - 1
        gain = gain - 0.05 if at_an_end else gain
        if gain > best:
            best, run = gain, (places[0], places[-1])
    return run, best


@dataclass(frozen=True, slots=True)
class Suspect:
    """A scan in the audit's list.

    Attributes:
        scan: its name.
        suspicion: deficit plus the best explanation's gain, in Dice.
        deficit: what its mean Dice lacks to the median scan's; 0 or more.
        gain: what mending the fault of ``reason`` would win.
        reason: the fault that explains most, in words; empty if none explains anything.
        dice: soft Dice by organ.
    """

    scan: str
    suspicion: float
    deficit: float
    gain: float
    reason: str
    dice: Mapping[str, float]


def rank_scans(
    evidence: Mapping[str, ScanEvidence], side_px: int, *, organs: Organs
) -> list[Suspect]:
    """Scans by suspicion, most suspected first.

    Args:
        evidence: by scan; at least a handful, since each is compared with the median.
        side_px: of the arrays examined, to give shifts as a share of the image.
        organs: in the order of the arrays.
    """
    table = np.array([e.dice for e in evidence.values()]).reshape(-1, len(organs))
    typical = np.array([_median(table[:, place]) for place in range(len(organs))])
    suspects = []
    for scan, found in evidence.items():
        deficit = max(_mean(typical - found.dice), 0.0)
        gain, reason = max(_explanations(found, side_px, organs), key=lambda item: item[0])
        dice = dict(zip(organs, found.dice.tolist(), strict=True))
        reason = reason if gain >= 0.02 else ""
        suspects.append(Suspect(scan, deficit + gain, deficit, gain, reason, dice))
    return sorted(suspects, key=lambda s: (-s.suspicion, s.scan))


def _explanations(found: ScanEvidence, side_px: int, organs: Organs) -> list[tuple[float, str]]:
    (a, b), swap = found.swap
    names = [organs.names[o].replace("_", " ") for o in (a, b)]
    (rows, columns), shift = found.shift_px
    down, right = (round(100 * move / side_px) for move in (rows, columns))
    (first, last), missing = found.missing
    return [
        (swap, f"{names[0]} and {names[1]} swapped?"),
        (shift, f"masks moved? they fit {down:+d} % down, {right:+d} % right"),
        (missing, f"slices {first + 1} to {last + 1} not annotated?"),
    ]


def _median(values: np.ndarray) -> float:
    values = values[np.isfinite(values)]
    return float(np.median(values)) if len(values) else float("nan")


def slice_disagreement_px(probabilities: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """How much of each slice is confidently contradicted.

    Args:
        probabilities: float 0 to 1, (organs, slices, height, width).
        truth: boolean, of the same shape.

    Returns:
        (organs, slices): sum over pixels of 2 |p - t| - 1 where it is positive, so that a pixel
        counts 1 if it is contradicted with certainty and 0 if the model is undecided.
    """
    wrong = 2 * np.abs(np.asarray(probabilities, np.float32) - truth) - 1
    total: np.ndarray = np.maximum(wrong, 0).sum(axis=(2, 3))
    return total
