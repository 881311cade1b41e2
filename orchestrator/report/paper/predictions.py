"""Figure 11: image, truth and out-of-fold prediction of a few slices of the best candidate.

The slices are not picked by eye: of all slices that hold an organ they are those at fixed places of
the ranking by Dice, the worst among them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from gitract_core.data.slices import SliceIndex
from gitract_core.data.volumes import scan_masks
from gitract_core.errors import RunError
from gitract_core.prediction.postprocess import NativeGrid, native_masks
from gitract_core.results.score_table import read_scores
from gitract_core.results.trial_result import TrialResult
from orchestrator.report.overlay import overlay
from orchestrator.report.run_slices import gray_scan, scan_of_slice
from orchestrator.report.style import new_figure, organ_legend, picture_axes
from orchestrator.results.candidate_scores import CandidateScores
from orchestrator.sweeps.run_directory import SweepDirectory

PLACES = (("best", 1.0), ("upper quarter", 0.75), ("median", 0.5), ("lower quarter", 0.25))
"""Names and places in the ranking by Dice, 0 to 1; the worst slice is added to them."""


@dataclass(frozen=True)
class ChosenSlice:
    """A slice to be shown.

    Attributes:
        why: its place in the ranking, in words.
        id: of the slice.
        dice: mean over the organs that truth or prediction holds.
    """

    why: str
    id: str
    dice: float


def choose_slices(scores: pd.DataFrame) -> list[ChosenSlice]:
    """The slices at ``PLACES`` and the worst one, best first.

    Slices without any organ are left out: their Dice only shows whether there is a false positive.
    Of equal Dice, the slice with more organ pixels comes first for the best and last for the worst,
    so that the worst error shown is not a missed small spot.

    Args:
        scores: rows of ``scores.parquet`` of one or more folds.

    Raises:
        RunError: no slice holds an organ.
    """
    slices = scores[scores["level"] == "slice"]
    by_id = slices.groupby("id").agg(dice=("dice", "mean"), truth_px=("truth_px", "sum"))
    by_id = by_id[by_id["truth_px"] > 0]
    if by_id.empty:
        raise RunError("figure 11", "a held-out slice with an organ", "none", "use other data")
    ranked = by_id.reset_index().sort_values(["dice", "truth_px", "id"])
    worst = ranked[ranked["dice"] == ranked["dice"].iloc[0]].iloc[-1]
    rows = [(why, ranked.iloc[round(share * (len(ranked) - 1))]) for why, share in PLACES]
    chosen = [
        ChosenSlice(why, str(r["id"]), float(r["dice"])) for why, r in (*rows, ("worst", worst))
    ]
    return list({one.id: one for one in reversed(chosen)}.values())[::-1]


def draw_predictions(directory: SweepDirectory, line: CandidateScores, index: SliceIndex) -> Figure:
    """Figure 11 of one candidate, from the folds that are finished.

    Raises:
        RunError: a trial's scores or out-of-fold probabilities are missing or damaged.
        DataError: an image or mask of the data set is.
    """
    fold_of = {}
    tables = []
    for result in line.finished:
        file = directory.trial(result.spec).scores
        table = read_scores(file, organs=index.organs, stamp=result.stamp(file))
        fold_of.update(dict.fromkeys(table["id"], result))
        tables.append(table)
    chosen = choose_slices(pd.concat(tables, ignore_index=True))
    figure, axes = new_figure(len(chosen), 3, width=2.5, height=2.6)
    shown: set[str] = set()
    for row, one in enumerate(chosen):
        image, *masks = _slices(directory, one, fold_of[one.id], index)
        shown |= {
            o for o, mask in zip(index.organs, np.logical_or(*masks), strict=True) if mask.any()
        }
        layers = (np.zeros_like(masks[0]), *masks)
        pictures = [overlay(image, layer, index.organs) for layer in layers]
        heading = f"{one.why}: Dice {one.dice:.2f}\n{one.id}"
        titles = (heading, "truth", "prediction")
        for axis, picture, title in zip(axes[3 * row :], pictures, titles, strict=False):
            picture_axes(axis).imshow(picture)
            axis.set_title(title, loc="left", fontsize=8)
    figure.suptitle(
        f"Out-of-fold predictions of {line.label}",
        x=0.01,
        ha="left",
        fontsize=11,
        fontweight="bold",
    )
    organ_legend(figure, index.organs, shown=shown)
    return figure


def _slices(
    directory: SweepDirectory, one: ChosenSlice, result: TrialResult, index: SliceIndex
) -> Sequence[np.ndarray]:
    """A slice in gray, (height, width); truth and prediction, (organs, height, width)."""
    from gitract_core.trial.held_out_prediction import open_oof

    scan, place = scan_of_slice(index, one.id)
    rows = index.rows_of_scan(scan)
    gray = gray_scan(index, scan)[place]
    data = directory.data(directory.record())
    probabilities = open_oof(result.spec, directory.trial(result.spec), data, result=result)[scan]
    candidate = result.spec.candidate
    grid = NativeGrid.of_scan(rows, candidate.input.view)
    predicted = native_masks(probabilities, grid, candidate.postprocess)[:, place]
    truth = scan_masks(rows.iloc[[place]], organs=index.organs)[:, 0]
    return gray, truth, predicted
