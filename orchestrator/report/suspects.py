"""Pictures of the audit: annotation beside prediction, of a scan and of single slices."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from gitract_core.files.atomic import write_bytes
from gitract_core.metrics.annotation_audit import Suspect
from orchestrator.out_of_fold.annotation_audit import Audit, truth_at
from orchestrator.out_of_fold.masks import OofAverage, OofScan
from orchestrator.report.overlay import overlay, png_bytes
from orchestrator.report.run_slices import gray_scan, scan_of_slice
from orchestrator.report.style import new_figure, organ_legend, picture_axes, save_figure

_SLICES_A_SCAN = 6


def write_gallery(audit: Audit, average: OofAverage, directory: Path, count: int) -> list[Path]:
    """Overlays of the ``count`` most suspected scans and slices; returns the files."""
    files = []
    for rank, suspect in enumerate(audit.scans[:count], 1):
        path = directory / f"scan_{rank:02d}_{suspect.scan}.png"
        files.append(save_figure(scan_figure(average, suspect), path))
    ids = list(dict.fromkeys(audit.slices["id"]))[:count]
    for rank, name in enumerate(ids, 1):
        path = directory / f"slice_{rank:02d}_{name}.png"
        write_bytes(path, png_bytes(slice_picture(average, name)))
        files.append(path)
    return files


def scan_figure(average: OofAverage, suspect: Suspect) -> Figure:
    """Slices across the scan: annotation above, prediction below."""
    scan = average.scan(suspect.scan)
    known, organs = scan.known, average.organs
    truth, prediction = truth_at(average, scan), scan.probabilities >= 127.5
    prediction &= known[:, :, None, None]  # unknown annotation cannot be contradicted
    images = _images(average, scan)
    held = np.flatnonzero((truth | prediction).any(axis=(0, 2, 3)))
    held = held if len(held) else np.arange(len(images))
    places = np.unique(np.linspace(held[0], held[-1], _SLICES_A_SCAN).round().astype(int))
    figure, axes = new_figure(2, len(places), width=1.9, height=2.05)
    numbers = scan.rows["slice"].to_numpy()
    for column, place in enumerate(places):
        for row, masks in enumerate((truth, prediction)):
            title = f"slice {numbers[place]}" if row == 0 else ""
            panel = picture_axes(axes[row * len(places) + column], title)
            panel.imshow(overlay(images[place], masks[:, place], organs, scale=4))
    for row, name in enumerate(("annotation", "prediction")):
        panel = axes[row * len(places)]
        panel.text(-0.06, 0.5, name, rotation=90, va="center", transform=panel.transAxes)
    title = f"{suspect.scan}: {suspect.reason or 'unlike the prediction'}"
    figure.suptitle(f"{title}  (deficit {suspect.deficit:.2f}, gain {suspect.gain:.2f} Dice)")
    drawn = (truth | prediction)[:, places]
    organ_legend(figure, organs, shown=(o for o, m in zip(organs, drawn, strict=True) if m.any()))
    return figure


def slice_picture(average: OofAverage, name: str) -> np.ndarray:
    """Image, annotation and prediction of one slice side by side, RGB."""
    scan_name, place = scan_of_slice(average.index, name)
    scan, organs = average.scan(scan_name), average.organs
    image = _images(average, scan)[place]
    truth, prediction = truth_at(average, scan)[:, place], scan.probabilities[:, place] >= 127.5
    prediction &= scan.known[:, place, None, None]
    shown = (np.zeros_like(truth), truth, prediction)
    return side_by_side([overlay(image, masks, organs, scale=4) for masks in shown])


def _images(average: OofAverage, scan: OofScan) -> np.ndarray:
    """The first channel as the probabilities lie, (slices, height, width)."""
    if scan.mixed:
        return scan.on_its_plane(gray_scan(average.index, scan.scan))
    images: np.ndarray = average.cache.images[scan.rows.index.to_numpy()]
    return images if images.ndim == 3 else images[:, 0]


def side_by_side(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Equal pictures in a row, RGB, with white between them."""
    framed = [np.pad(p, ((4, 4), (4, 4), (0, 0)), constant_values=255) for p in pictures]
    row: np.ndarray = np.concatenate(framed, axis=1)
    return row
