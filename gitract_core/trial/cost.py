"""Measures what training costs in seconds: a few steps at the real shapes.

A *shape* is a candidate without the knobs that cost nothing (learning rate, epochs, patience,
post-processing): candidates of one shape are measured once. The measured code is the training loop
itself, run on the slices of one scan over and over.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch

from gitract_core.data.cache import mask_bits, network_images, organs_in_bits
from gitract_core.data.native import native_scan
from gitract_core.device import (
    Runtime,
    captures,
    peak_memory_bytes,
    resolve_precision,
    start_measuring,
)
from gitract_core.knobs import OptimizerKnobs, PostprocessKnobs, TrainingKnobs
from gitract_core.organs import Organs
from gitract_core.prediction.device_slices import DeviceSlices
from gitract_core.prediction.inference import BATCH_SLICES, predict_scan
from gitract_core.prediction.probabilities import write_oof
from gitract_core.results.trial_result import TrialFiles
from gitract_core.spec import Candidate, TrialSpec
from gitract_core.training.checkpoint import Checkpoints
from gitract_core.training.loop import FoldSlices, Training

if TYPE_CHECKING:
    import pandas as pd

_ENOUGH_SECONDS = 1.0  # of measuring a shape, if three rounds fit
_ROUNDS = (1, 7)  # fewest and most
_STEPS = 4  # training steps a round, where they are quick
_STEPS_A_VALIDATION_BATCH = 8  # as in an epoch of five folds with the usual batches
_SAFE_RATE = 1e-6  # a measurement must not diverge
_SOFT_EDGE = 0.03  # of the side: how blurred the borders of typical probabilities are


@dataclass(frozen=True, eq=False)
class SampleScan:
    """A scan of the data set to measure on, on a machine without the data too.

    Attributes:
        images: as they were taken, uint16 (slices, height, width).
        rows: the scan's rows of the slice index, with masks.
        organs: of the data set.
    """

    images: np.ndarray
    rows: pd.DataFrame
    organs: Organs

    @classmethod
    def read(cls, root: Path, rows: pd.DataFrame, *, organs: Organs) -> SampleScan:
        """Of a data set's folder.

        Raises:
            DataError: an image cannot be read.
        """
        return cls(native_scan(root, rows), rows, organs)

    @property
    def native_pixels(self) -> int:
        """Pixels of all its slices."""
        return self.images.size


@dataclass(frozen=True, slots=True)
class StepCost:
    """What a shape costs where it was measured.

    Attributes:
        setup_seconds: building network and optimizer, once a trial.
        step_seconds: a training step of a whole batch, augmentation included.
        validation_seconds: a validation batch of ``inference.BATCH_SLICES`` slices with metrics.
        save_seconds: weights and checkpoint after an epoch.
        predict_seconds: out-of-fold prediction of a slice.
        oof_seconds, oof_bytes: writing the probabilities of a slice, and what they take.
        weights_bytes, checkpoint_bytes: of the files.
        peak_memory_bytes: of the GPU, or of the whole process on a CPU.
    """

    setup_seconds: float
    step_seconds: float
    validation_seconds: float
    save_seconds: float
    predict_seconds: float
    oof_seconds: float
    oof_bytes: float
    weights_bytes: int
    checkpoint_bytes: int
    peak_memory_bytes: int

    def epoch_seconds(self, training_slices: int, validation_slices: int, batch_size: int) -> float:
        """An epoch: training, validation and saving. A part of a batch costs its part."""
        steps, batches = training_slices / batch_size, validation_slices / BATCH_SLICES
        return steps * self.step_seconds + batches * self.validation_seconds + self.save_seconds


def shape_of(candidate: Candidate) -> Candidate:
    """The candidate without the knobs that do not change what a step costs.

    >>> a, b = Candidate(), Candidate(training=TrainingKnobs(epochs=3))
    >>> shape_of(a) == shape_of(b)
    True
    """
    optimizer, training = OptimizerKnobs(), TrainingKnobs()
    return replace(
        candidate,
        input=replace(candidate.input, spacing_mm=0.0),
        optimizer=replace(
            candidate.optimizer,
            learning_rate=_SAFE_RATE,
            schedule=optimizer.schedule,
            weight_decay=optimizer.weight_decay,
        ),
        training=replace(
            candidate.training,
            epochs=training.epochs,
            patience=training.patience,
            monitor=training.monitor,
            keep=training.keep,
        ),
        postprocess=PostprocessKnobs(),
    )


def measure_step(candidate: Candidate, runtime: Runtime, scan: SampleScan) -> StepCost:
    """Measure a candidate's shape: the median of a few rounds after a warm-up.

    Steps are captured where trials' are, but never fused: compiling takes longer than measuring, so
    a long trial on a GPU is quicker than this says.

    Args:
        candidate: only its shape matters.
        runtime: device and threads that a trial will have.
        scan: any annotated scan of the data set.

    Raises:
        GitractError: no such device.
        DataError: the scan's masks cannot be read.
    """
    device = runtime.torch_device()
    start_measuring(device)
    shape = shape_of(candidate)
    slices = _small_scan(scan, shape.input.size, device)
    start = time.perf_counter()
    training = _training(shape, slices, device)
    setup = time.perf_counter() - start
    rounds = _timed_rounds(training, slices, shape.optimizer.batch_size)
    writing = _writing(training, soft_masks(scan, shape.input.size))
    network = training.network.eval()
    precision = resolve_precision(shape.training.precision, device)
    predict = _seconds(lambda: predict_scan(network, slices.images, shape, precision))
    n_slices = len(slices.images)
    return StepCost(
        setup_seconds=setup,
        step_seconds=median(step for step, _ in rounds),
        validation_seconds=median(batch for _, batch in rounds),
        save_seconds=writing.save_seconds,
        predict_seconds=predict / n_slices,
        oof_seconds=writing.oof_seconds / n_slices,
        oof_bytes=writing.oof_bytes / n_slices,
        weights_bytes=writing.weights_bytes,
        checkpoint_bytes=writing.checkpoint_bytes,
        peak_memory_bytes=peak_memory_bytes(device),
    )


def begin_process(candidate: Candidate, runtime: Runtime, scan: SampleScan) -> None:
    """Do what only a process's first trial waits for: modules that load late, a device's start.

    Without it the first shape that a process measures would seem to pay that in every trial.
    """
    device, shape = runtime.torch_device(), shape_of(candidate)
    slices = _small_scan(scan, shape.input.size, device)
    _writing(_training(shape, slices, device), soft_masks(scan, shape.input.size))


def measure_rate(
    candidate: Candidate,
    runtime: Runtime,
    scan: SampleScan,
    *,
    cache_bytes: int,
    meet: Callable[[], object],
    seconds: float,
) -> float:
    """Slices a second that a trial trains on while others do the same.

    The process keeps the memory that this took until it measures again, so that it can be seen
    from outside.

    Args:
        candidate: only its shape matters.
        runtime: device and threads that a trial will have.
        scan: any annotated scan of the data set.
        cache_bytes: of images and masks, which each process holds once.
        meet: called when ready; waits for the others.
        seconds: how long to train from then on, one short epoch at least.
    """
    device = runtime.torch_device()
    start_measuring(device)
    shape = shape_of(candidate)
    cache = torch.empty(cache_bytes, dtype=torch.uint8, device=device)
    slices = _small_scan(scan, shape.input.size, device)
    training = _training(shape, slices, device)
    training.data = _rows(slices, _STEPS_A_VALIDATION_BATCH * shape.optimizer.batch_size)
    training.run_epoch()
    meet()
    epochs, start, now = 0, time.perf_counter(), 0.0
    while not epochs or now - start < seconds:
        training.run_epoch()
        epochs, now = epochs + 1, time.perf_counter()
    del cache  # was held until here
    return epochs * len(training.data.training) / (now - start)


def _small_scan(scan: SampleScan, size: int, device: torch.device) -> DeviceSlices:
    """A scan's images and masks at network size."""
    images = torch.from_numpy(network_images(scan.images, size))
    bits = torch.from_numpy(mask_bits(scan.rows, size, organs=scan.organs))
    seen = DeviceSlices.of_scan(images.to(device))
    return replace(seen, masks=bits.to(device), n_organs=len(scan.organs))


def soft_masks(scan: SampleScan, size: int) -> np.ndarray:
    """Probabilities as a network that learned gives them, uint8 (organs, slices, size, size)."""
    there = organs_in_bits(mask_bits(scan.rows, size, organs=scan.organs), scan.organs)
    masks = there.swapaxes(0, 1) * np.uint8(255)
    blurred = [[cv2.GaussianBlur(m, (0, 0), _SOFT_EDGE * size) for m in mask] for mask in masks]
    return np.array(blurred, dtype=np.uint8)


def _rows(slices: DeviceSlices, n_training: int) -> FoldSlices:
    """So many training slices and one validation batch, out of one scan over and over."""
    n = len(slices.images)
    return FoldSlices(slices, torch.arange(n_training) % n, torch.arange(BATCH_SLICES) % n)


def _training(shape: Candidate, slices: DeviceSlices, device: torch.device) -> Training:
    spec = TrialSpec(shape, 0, 2, 0, "measuring", "measuring")
    rows = _rows(slices, shape.optimizer.batch_size)
    return Training(spec, rows, device, capture=captures(device))


@dataclass(frozen=True, slots=True)
class _Writing:
    """What the files of an epoch and the probabilities of a scan take."""

    save_seconds: float
    oof_seconds: float
    oof_bytes: int
    weights_bytes: int
    checkpoint_bytes: int


def _writing(training: Training, probabilities: np.ndarray) -> _Writing:
    with TemporaryDirectory(prefix="gitract-cv-measuring-") as scratch:
        files = TrialFiles(Path(scratch))
        training.best_epoch = len(training.records)  # so that the weights are written too
        save = _seconds(Checkpoints(training, files, 0).after_epoch)
        oof = {"scan": probabilities}
        write = _seconds(lambda: write_oof(files.oof, oof))
        sizes = (f.stat().st_size for f in (files.oof, files.best, files.checkpoint))
        return _Writing(save, write, *sizes)


def _timed_rounds(
    training: Training, slices: DeviceSlices, batch_size: int
) -> list[tuple[float, float]]:
    """Seconds of a training step and of a validation batch, a pair a round."""
    validating: list[float] = []

    def note(network: torch.nn.Module, _: object) -> None:
        if not network.training:
            validating.append(time.perf_counter())

    def one_round(steps: int) -> tuple[float, float]:
        training.data = _rows(slices, steps * batch_size)
        validating.clear()
        start = time.perf_counter()
        training.run_epoch()  # reads its losses at the end of each half, so the device is done
        end = time.perf_counter()
        return (validating[0] - start) / steps, end - validating[0]

    with training.network.register_forward_pre_hook(note):
        one_round(1)
        first = one_round(1)
        steps = _STEPS if _STEPS * first[0] < _ENOUGH_SECONDS else 1
        again = int(_ENOUGH_SECONDS / (steps * first[0] + first[1]))
        wanted = min(max(again, _ROUNDS[0]), _ROUNDS[1])
        return [one_round(steps) for _ in range(wanted)]


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
