"""A trial from beginning to end: train on all folds but one, score the one, leave the files.

``iterate_trial`` yields after each epoch, so that a scheduler can stop it in between;
``run_trial`` is the same with a callback. Both are plain Python: the same under pytest, a local
executor and Ray.
"""

from __future__ import annotations

import dataclasses
import fcntl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gitract_core.data.cache import SliceCache
from gitract_core.data.folds import FoldPlan
from gitract_core.data.slices import case_of_scan, known_shares
from gitract_core.device import Runtime, captures, device_name, peak_memory_bytes, start_measuring
from gitract_core.errors import RunError, TrialError
from gitract_core.files.leftovers import set_aside
from gitract_core.metrics import ScanScore, pool_scores
from gitract_core.networks import parameter_count
from gitract_core.plugins import execute_of
from gitract_core.prediction.device_slices import DeviceSlices, slices_on
from gitract_core.prediction.inference import load_network
from gitract_core.prediction.probabilities import write_oof
from gitract_core.results.epoch_sums import EpochSums
from gitract_core.results.score_table import per_case_sums, write_scores
from gitract_core.results.trial_result import (
    EpochRecord,
    TrialFiles,
    TrialResult,
    summarize_history,
)
from gitract_core.spec import Candidate, TrialSpec
from gitract_core.training.checkpoint import Checkpoints, mend_best, restore
from gitract_core.training.early_stopping import monitored
from gitract_core.training.epoch_scorer import EpochScorer
from gitract_core.training.loop import FoldSlices, Training
from gitract_core.training.stopping import saving_first
from gitract_core.trial.data import TrialData
from gitract_core.trial.deciding_cases import deciding_rows
from gitract_core.trial.epoch_clock import EpochClock
from gitract_core.trial.held_out_prediction import held_out_scans, open_oof, predict_held_out
from gitract_core.trial.held_out_scores import held_out_scores, own_sums
from gitract_core.trial.reuse import adopt_training, go_on_from_another, remember_training

FUSE_FROM_STEPS = 20_000
"""Where compiling a network has paid for itself: some 30 s against 1.4 ms a step on an H100."""

_LOCK_PATIENCE_SECONDS = 60.0


def run_trial(
    spec: TrialSpec,
    data: TrialData,
    directory: Path,
    report: Callable[[EpochRecord], None] | None = None,
    runtime: Runtime | None = None,
) -> TrialResult:
    """Run a trial, or what is left of it, and return its result.

    Args:
        spec: candidate, fold, seed and fingerprints.
        data: where the data set is.
        directory: the trial's own; holds ``result.json`` at the end.
        report: called after each epoch.
        runtime: device and threads.

    Raises:
        TrialError: the loss diverged, or another process runs this trial.
        RunError: fingerprints differ, or a file of the trial is damaged.
    """
    for record in iterate_trial(spec, data, directory, runtime):
        if report:
            report(record)
    return TrialResult.load(TrialFiles(directory).result, spec)


def iterate_trial(
    spec: TrialSpec, data: TrialData, directory: Path, runtime: Runtime | None = None
) -> Iterator[EpochRecord]:
    """As ``run_trial``, yielding after each epoch; a finished trial yields nothing.

    A result that cannot be read is set aside, and the trial run again.
    """
    data.check(spec)
    execute_of(spec.candidate.plugin, data.plugins)
    files = TrialFiles(directory)
    with _sole_writer(directory):
        if files.is_finished(spec):
            return
        set_aside(files.result)
        files.failure.unlink(missing_ok=True)  # of an earlier attempt; this one is another
        cache = data.cache(spec.candidate.input.view)
        twin, say = adopt_training(spec, files), (runtime or Runtime()).say
        if twin:
            say(f"takes over the training of trial {twin.spec.key}")
            oof = open_oof(spec, files, data, runtime, result=twin)
            scores = held_out_scores(spec.candidate.postprocess, cache, oof, score=data.score)
            if runtime and not runtime.keep_oof:
                files.oof.unlink(missing_ok=True)
            own = own_sums(scores, cache, data.score)
            _finish_adopted(spec, twin, cache, scores, files, own=own)
            return
        if said := go_on_from_another(spec, files):
            say(said)
        yield from _train(spec, data, cache, files, runtime or Runtime())
        remember_training(spec, files)


def _train(
    spec: TrialSpec, data: TrialData, cache: SliceCache, files: TrialFiles, runtime: Runtime
) -> Iterator[EpochRecord]:
    """Train what is left, yielding after each epoch, then score and write the result."""
    start, device = time.perf_counter(), runtime.torch_device()
    start_measuring(device)
    slices, plan = slices_on(cache, device), data.plan_of(spec)
    data_of_fold = trial_slices(spec, cache, slices, plan)
    held_out = fold_slices(cache, slices, plan, spec.fold).validation.numpy()
    how = {"capture": runtime.capture and captures(device), "split": runtime.split_batches}
    fuse = _steps(spec.candidate, data_of_fold) >= FUSE_FROM_STEPS
    with ExitStack() as stack:

        def make() -> Training:
            scorer = None
            if spec.candidate.training.keep == "held_out":
                rule = spec.candidate.postprocess
                scorer = stack.enter_context(EpochScorer(cache, held_out, rule, runtime.threads))
            return Training(spec, data_of_fold, device, fuse=fuse, scorer=scorer, **how)

        training = _resumed(make, files, runtime.say)
        checkpoints = Checkpoints(training, files, runtime.checkpoint_minutes)
        clock = EpochClock(device)
        while not training.finished:
            with saving_first():
                with clock:
                    record = training.run_epoch(checkpoints.after_step, checkpoints.if_asked)
                checkpoints.after_epoch()
            yield record
        _write_epoch_sums(training, files)
    _finish(
        training,
        spec,
        cache,
        files,
        held_out=held_out,
        runtime=runtime,
        start=start,
        clock=clock,
        score=data.score,
    )


def _write_epoch_sums(training: Training, files: TrialFiles) -> None:
    """Write ``epochs.npz`` if the sums of every epoch are known."""
    scorer = training.scorer
    if scorer is None or scorer.lost:
        files.epochs.unlink(missing_ok=True)
        return
    scorer.wait()
    monitor = training.candidate.training.monitor
    curve = np.array([monitored(record, monitor) for record in training.records])
    EpochSums(scorer.cases, curve, np.stack(scorer.sums)).save(files.epochs)


def _steps(candidate: Candidate, data: FoldSlices) -> int:
    """How many steps a trial takes if patience does not end it."""
    return candidate.training.epochs * len(data.training) // candidate.optimizer.batch_size


def _resumed(
    make: Callable[[], Training], files: TrialFiles, say: Callable[[str], object]
) -> Training:
    """The trial as its checkpoint left it, with the weights of its best epoch in their file.

    From the start if there is no checkpoint, or what belongs to it is damaged and cannot be mended;
    the trial's log then says why.
    """
    training = make()
    if files.checkpoint.is_file():
        try:
            restore(training, files.checkpoint)
            if mended := mend_best(training, files):
                say(mended)
        except RunError as error:
            say(f"the trial begins anew, for its state is of no use: {error}")
            files.checkpoint.unlink()
            return make()
    return training


def fold_slices(cache: SliceCache, slices: DeviceSlices, plan: FoldPlan, fold: int) -> FoldSlices:
    """The rows of the cache that a fold trains on and is validated on."""
    cases = cache.index.table["case"].to_numpy()
    training, validation = (plan.rows(cases, fold, held_out=h) for h in (False, True))
    return FoldSlices(slices, torch.from_numpy(training), torch.from_numpy(validation))


def trial_slices(
    spec: TrialSpec, cache: SliceCache, slices: DeviceSlices, plan: FoldPlan
) -> FoldSlices:
    """As ``fold_slices``; under ``training.keep: inner`` training cases judge the epochs."""
    data = fold_slices(cache, slices, plan, spec.fold)
    if spec.candidate.training.keep != "inner":
        return data
    rows = data.training.numpy()
    inner = deciding_rows(cache.index, rows, seed=spec.seed, fold=spec.fold)
    left = np.setdiff1d(rows, inner)
    return FoldSlices(slices, torch.from_numpy(left), torch.from_numpy(inner))


def _finish(
    training: Training,
    spec: TrialSpec,
    cache: SliceCache,
    files: TrialFiles,
    *,
    held_out: np.ndarray,
    runtime: Runtime,
    start: float,
    clock: EpochClock,
    score: str,
) -> None:
    """Predict and score the held-out fold with the weights kept; write the result last."""
    network = load_network(
        spec.candidate,
        files.best,
        training.device,
        organs=cache.organs,
        channels=len(cache.channels),
        stamp=training.best_stamp,
    )
    predictions = predict_held_out(
        network,
        spec,
        cache=cache,
        slices=training.data.slices,
        scans=held_out_scans(cache, held_out),
        in_parts=training.in_parts,
    )
    files.oof_flip.unlink(missing_ok=True)  # of an earlier attempt, as ``oof`` would be
    files.oof.unlink(missing_ok=True)
    if runtime.keep_oof:
        write_oof(files.oof, predictions)
    truths = training.scorer.truths if training.scorer else {}
    rule, device = spec.candidate.postprocess, training.device
    scores = held_out_scores(rule, cache, predictions, truths, score=score)
    write_scores(files.scores, scores, cache.index)
    TrialResult(
        spec=spec,
        scores=pool_scores(list(scores.values()), organs=cache.organs).to_json(),
        per_case=per_case_sums(scores, case_of_scan(cache.index)),
        history=summarize_history(training.records, training.best_epoch),
        cost={
            "seconds": sum(r.seconds for r in training.records),
            **clock.to_cost(),
            "last_attempt_seconds": time.perf_counter() - start,
            "device": device_name(device),
            "threads": runtime.threads,
            "peak_memory_bytes": peak_memory_bytes(device),
        },
        environment=_environment(training, spec, cache),
        known=_known_shares(cache, held_out),
        organs=cache.organs,
        channels=cache.channels,
        axis=cache.index.axis,
        extent=cache.index.extent,
        gray=cache.gray,
        own=own_sums(scores, cache, score),
    ).save(files.result)
    files.failure.unlink(missing_ok=True)
    if runtime.keep_state and training.may_go_on:
        files.checkpoint.replace(files.last)
    files.checkpoint.unlink(missing_ok=True)


def _environment(training: Training, spec: TrialSpec, cache: SliceCache) -> dict[str, Any]:
    """What the figures of a trial depend on, besides its spec."""
    return {
        "torch": torch.__version__,
        "numpy": np.__version__,
        "device_type": training.device.type,
        "precision": training.precision,
        "micro_batch": training.step.micro_batch,
        "validation_parts": training.in_parts.split,
        "parameters": parameter_count(training.network),
        "training_slices": len(training.data.training),
        "validation_slices": len(training.data.validation),
        **_deciding(spec, cache, training.data),
    }


def _deciding(spec: TrialSpec, cache: SliceCache, data: FoldSlices) -> dict[str, str]:
    """The training cases that decided the epoch, where some did."""
    if spec.candidate.training.keep != "inner":
        return {}
    cases = cache.index.table["case"].iloc[data.validation.numpy()]
    return {"deciding_cases": " ".join(dict.fromkeys(cases))}


def _known_shares(cache: SliceCache, rows: np.ndarray) -> dict[str, float]:
    """By organ the share of some slices that is known; empty where all annotation is."""
    if cache.index.known is None:
        return {}
    return known_shares(cache.index.states[rows], cache.organs)


def _finish_adopted(
    spec: TrialSpec,
    twin: TrialResult,
    cache: SliceCache,
    scores: Mapping[str, ScanScore],
    files: TrialFiles,
    *,
    own: Mapping[str, Any],
) -> None:
    """Leave the scores of another post-processing of a twin's; costs are the training's."""
    write_scores(files.scores, scores, cache.index)
    dataclasses.replace(
        twin,
        spec=spec,
        scores=pool_scores(list(scores.values()), organs=cache.organs).to_json(),
        per_case=per_case_sums(scores, case_of_scan(cache.index)),
        cost={**twin.cost, "training_of_trial": twin.spec.key},
        own=own,
    ).save(files.result)
    files.failure.unlink(missing_ok=True)
    files.checkpoint.unlink(missing_ok=True)  # of a training of its own that was interrupted


@contextmanager
def _sole_writer(directory: Path) -> Iterator[None]:
    """Hold the trial's lock, so that a worker left over from a killed sweep cannot write too."""
    directory.mkdir(parents=True, exist_ok=True)
    with TrialFiles(directory).lock.open("w") as lock:
        deadline = time.monotonic() + _LOCK_PATIENCE_SECONDS
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    remedy = "wait for the other sweep on this run directory to end"
                    got = "another process that runs it"
                    raise TrialError(directory, "a trial of ours alone", got, remedy) from None
                time.sleep(0.2)
        for part in directory.glob(".*.part"):  # of a writer that was killed
            part.unlink(missing_ok=True)
        yield
