"""Checkpoints: the state of a training, saved after each epoch and, every few minutes, inside one.

What is saved is all that decides how the training goes on: weights, their average, optimizer, the
state of its random numbers, history and early stopping, and inside an epoch the order of slices,
the place in it and the loss so far. On a CPU a training that was killed and restored ends as if
nothing had happened, bit for bit.

A checkpoint ends with a digest of itself, and names its training and the bytes of
``best.safetensors``. It is written before those: whatever ends the process between the two, the
checkpoint's own weights are then the best ones (``mend_best``).
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from gitract_core.errors import RunError, counted, one_line
from gitract_core.files.atomic import write_bytes
from gitract_core.files.digests import Stamp
from gitract_core.results.trial_result import EpochRecord, TrialFiles, write_history
from gitract_core.training.checkpoint_file import mark_of, unmarked
from gitract_core.training.early_stopping import ending
from gitract_core.training.loop import StartedEpoch, Training
from gitract_core.training.stopping import Stopped, stop_asked


class Checkpoints:
    """The checkpoints of a training.

    Args:
        training: what is saved.
        files: where to.
        minutes: how long to go without one inside an epoch; 0 saves after epochs alone. In
            validation none is due: it is far shorter than training.
        clock: seconds from any start.
    """

    def __init__(
        self,
        training: Training,
        files: TrialFiles,
        minutes: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.training, self.files = training, files
        self.every_seconds = 60 * minutes if minutes > 0 else float("inf")
        self.clock = clock
        self.last = clock()

    def after_step(self) -> None:
        """Save the state if it is time; else nothing but a look at the clock.

        Raises:
            Stopped: the process was asked to end; the state is saved.
        """
        self.if_asked()
        if self.clock() - self.last >= self.every_seconds:
            self._save_state()

    def if_asked(self) -> None:
        """Save the state and end if the process was asked to end; between batches of validation.

        Raises:
            Stopped: it was.
        """
        if stop_asked():
            self._save_state()
            raise Stopped(0)

    def after_epoch(self) -> None:
        """Save the history, the state, and the weights if they are the best."""
        training, weights = self.training, b""
        write_history(self.files.history, training.records)
        if training.best_epoch == len(training.records):
            weights = _weights(training)
            training.best_stamp = Stamp.of_bytes(weights)
        self._save_state()
        if weights:
            write_bytes(self.files.best, weights)

    def _save_state(self) -> None:
        content = io.BytesIO()  # torch's own writer hides why a disk refuses
        torch.save(_state(self.training), content)
        content.write(mark_of(content.getbuffer()))
        write_bytes(self.files.checkpoint, content.getvalue())
        self.last = self.clock()


def restore(training: Training, checkpoint: Path) -> None:
    """Let a new training go on from a checkpoint.

    Raises:
        RunError: unreadable, or of another training; this one is then of no further use.
    """
    try:
        content = io.BytesIO(unmarked(checkpoint))
        # Nothing in the file can run code.
        state = torch.load(content, map_location=training.device, weights_only=True)
        _load(training, state)
    except Exception as error:  # torch raises many kinds for a damaged file
        got = f"{type(error).__name__}: {str(error).partition(chr(10))[0]:.120}"
        remedy = "remove the file; the trial then starts anew"
        raise RunError(checkpoint, "a checkpoint of this trial", got, remedy) from None


def mend_best(training: Training, files: TrialFiles) -> str:
    """Make sure that a restored training finds the weights of its best epoch.

    Returns:
        What was mended, in one line; empty where nothing had to be.

    Raises:
        RunError: they are gone, damaged or another epoch's, and cannot be written anew.
    """
    remedy = "the trial begins anew"
    if not training.best_epoch:
        return ""
    try:
        if training.best_stamp:
            training.best_stamp.check(files.best, remedy)
        else:  # a checkpoint of an earlier version
            _check_fit(training, files.best)
    except (OSError, SafetensorError, RunError) as error:
        if training.best_epoch != len(training.records) or training.started:
            where, got = files.best, one_line(error)
            raise RunError(where, f"weights of epoch {training.best_epoch}", got, remedy) from None
        weights = _weights(training)
        training.best_stamp = Stamp.of_bytes(weights)
        write_bytes(files.best, weights)
        return f"{files.best}: written anew from the checkpoint, for it was: {one_line(error)}"
    return ""


def _check_fit(training: Training, best: Path) -> None:
    """Compare names and shapes of saved weights with those of the network."""
    with safe_open(best, "pt") as file:
        found = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
    wanted = {name: list(value.shape) for name, value in training.network.state_dict().items()}
    if found != wanted:
        remedy = "the trial begins anew"
        raise RunError(best, "the weights of this network", "those of another one", remedy)


def _weights(training: Training) -> bytes:
    """What ``best.safetensors`` holds of a training as it is now."""
    weights = training.judged.state_dict()
    return save({k: v.contiguous() for k, v in weights.items()})


def _state(training: Training) -> dict[str, Any]:
    """Tensors, numbers and texts alone."""
    now = training.started
    return {
        "training": training.spec.training_key,
        "best_stamp": training.best_stamp and training.best_stamp.to_json(),
        "network": training.network.state_dict(),
        "optimizer": training.optimizer.state_dict(),
        "random": training.random.get_state(),
        "records": [asdict(record) for record in training.records],
        "best_epoch": training.best_epoch,
        "micro_batch": training.step.micro_batch,
        "in_parts": training.in_parts.size,
        "average": training.average and training.average.network.state_dict(),
        "epoch_sums": _epoch_sums(training),
        "started": now and {**vars(now), "began": time.perf_counter() - now.began},
    }


def _epoch_sums(training: Training) -> dict[str, Any] | None:
    """What the scorer has so far; all of it where the weights have moved on, or will not."""
    scorer = training.scorer
    if scorer is None or scorer.lost:
        return None
    if training.started is not None or training.finished:
        scorer.wait()
    return {"rule": asdict(scorer.rule), "sums": [torch.from_numpy(s) for s in scorer.sums]}


def _load_epoch_sums(training: Training, state: Mapping[str, Any] | None) -> None:
    """Sums of the epochs before; of the last one anew, if its weights are still those at hand."""
    scorer, done = training.scorer, len(training.records)
    if scorer is None or not done:
        return
    if state is None or state["rule"] != asdict(scorer.rule):
        scorer.lost = True
        return
    scorer.sums = [sums.cpu().numpy() for sums in state["sums"]]
    if len(scorer.sums) == done - 1 and training.started is None:
        training.score_again()
    elif len(scorer.sums) != done:
        scorer.lost = True


def _load(training: Training, state: Mapping[str, Any]) -> None:
    key = state.get("training", training.spec.training_key)  # older ones do not say it
    if key != training.spec.training_key:
        raise ValueError(f"that of training {key}, not {training.spec.training_key}")
    training.network.load_state_dict(state["network"])
    # Moments alone: the groups are the candidate's and this device's.
    groups = training.optimizer.state_dict()["param_groups"]
    training.optimizer.load_state_dict({**state["optimizer"], "param_groups": groups})
    if training.average is not None:
        training.average.network.load_state_dict(state["average"])
    training.step.forget_capture()
    training.random.set_state(state["random"].cpu())
    training.records = [EpochRecord(**values) for values in state["records"]]
    end = ending(training.records, training.candidate.training)
    if end and end[0] != len(training.records):
        raise ValueError(
            f"{counted(len(training.records), 'epoch')}, where this trial ends after {end[0]}"
        )
    training.best_epoch = int(state["best_epoch"])
    training.best_stamp = Stamp(**state["best_stamp"]) if state.get("best_stamp") else None
    training.step.micro_batch = int(state.get("micro_batch", training.step.micro_batch))
    training.in_parts.size = int(state.get("in_parts", training.in_parts.size))
    if state.get("started"):
        now = StartedEpoch(**state["started"])
        now.order, now.began = now.order.cpu(), time.perf_counter() - now.began
        left = len(now.order) - now.done
        if left == 1 < training.fewest_slices():  # an earlier version did not join it to the others
            raise ValueError("a single slice is left, which the network cannot be trained on")
        training.started = now
    _load_epoch_sums(training, state.get("epoch_sums"))
