"""Out-of-fold probabilities from weights: when a trial ends, and again when they were not kept."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from gitract_core.data.cache import SliceCache
from gitract_core.device import Runtime, resolve_precision
from gitract_core.plugins import execute_of
from gitract_core.prediction.device_slices import DeviceSlices, slices_on
from gitract_core.prediction.inference import InParts, load_network, predict_scan
from gitract_core.prediction.probabilities import OofStore, Origin, write_oof
from gitract_core.results.trial_result import TrialFiles, TrialResult
from gitract_core.spec import TrialSpec
from gitract_core.trial.data import TrialData

if TYPE_CHECKING:
    from torch import nn


def held_out_scans(cache: SliceCache, validation: np.ndarray) -> list[str]:
    """Names of the scans that some rows of a cache belong to, in order."""
    return list(dict.fromkeys(cache.index.table.iloc[validation]["scan"]))


def predict_held_out(
    network: nn.Module,
    spec: TrialSpec,
    *,
    cache: SliceCache,
    slices: DeviceSlices,
    scans: Sequence[str],
    flip: bool = False,
    in_parts: InParts | None = None,
) -> dict[str, np.ndarray]:
    """Quantized probabilities of each held-out scan.

    Args:
        network: the trial's, with its best weights, in evaluation mode.
        spec: the trial.
        cache: of the data set, at the network's size.
        slices: the cache on the network's device.
        scans: names of the scans to predict.
        flip: see ``predict_scan``.
        in_parts: remembers how many slices fit the device.
    """
    precision = resolve_precision(spec.candidate.training.precision, slices.images.device)
    mirrored = cache.organs.mirrored if cache.organs.pairs else None
    predict = partial(predict_scan, flip=flip, mirrored=mirrored, in_parts=in_parts or InParts())
    predictions = {}
    for scan in scans:
        rows = cache.index.rows_of_scan(scan)
        images = slices.images[int(rows.index[0]) : int(rows.index[-1]) + 1]
        numbers = rows["slice"].to_numpy()
        predictions[scan] = predict(network, images, spec.candidate, precision, numbers=numbers)
    return predictions


def open_oof(
    spec: TrialSpec,
    files: TrialFiles,
    data: TrialData,
    runtime: Runtime | None = None,
    *,
    flip: bool = False,
    result: TrialResult | None = None,
) -> OofStore:
    """A finished trial's out-of-fold probabilities, predicted anew if they were not kept.

    What is predicted anew is kept. With ``flip`` it lies beside the plain ones.

    Args:
        spec: the trial.
        files: its files.
        data: its data.
        runtime: where to predict.
        flip: see ``predict_scan``.
        result: what says how its files must be; by default its own.

    Raises:
        RunError: probabilities or weights are damaged or another trial's, or weights are missing.
    """
    path = files.oof_flip if flip else files.oof
    if result is None and files.result.is_file():
        result = TrialResult.load(files.result, spec)
    origin = Origin.of(files, result, flip=flip)
    if not path.is_file():
        execute_of(spec.candidate.plugin, data.plugins)
        device = (runtime or Runtime()).torch_device()
        cache = data.cache(spec.candidate.input.view, checked=True)
        stamp = result.stamp(files.best) if result else None
        network = load_network(
            spec.candidate,
            files.best,
            device,
            organs=cache.organs,
            channels=len(cache.channels),
            stamp=stamp,
        )
        rows = data.plan_of(spec).rows(
            cache.index.table["case"].to_numpy(), spec.fold, held_out=True
        )
        scans = held_out_scans(cache, rows)
        with torch.inference_mode():
            found = predict_held_out(
                network, spec, cache=cache, slices=slices_on(cache, device), scans=scans, flip=flip
            )
        write_oof(path, found, origin if origin.weights else None)
    return OofStore(path, origin)
