"""Checkpoints: the state of a training, saved after each epoch and, every few minutes, inside one.

What is saved is all that decides how the training goes on: weights, optimizer, the state of its
random numbers, history and early stopping, and inside an epoch the order of slices, the place in
it and the loss so far. On a CPU a training that was killed and restored ends as if nothing had
happened, bit for bit.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from gitract_core.errors import RunError
from gitract_core.files.atomic import write_bytes
from gitract_core.results.trial_result import EpochRecord, TrialFiles, write_history
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
        """Save the history, the weights if they are the best, and the state."""
        records = self.training.records
        write_history(self.files.history, records)
        if self.training.best_epoch == len(records):
            weights = self.training.network.state_dict()
            write_bytes(self.files.best, save({k: v.contiguous() for k, v in weights.items()}))
        self._save_state()

    def _save_state(self) -> None:
        content = io.BytesIO()  # torch's own writer hides why a disk refuses
        torch.save(_state(self.training), content)
        write_bytes(self.files.checkpoint, content.getvalue())
        self.last = self.clock()


def restore(training: Training, checkpoint: Path) -> None:
    """Let a new training go on from a checkpoint.

    Raises:
        RunError: unreadable, or of another network; the training is then of no further use.
    """
    try:
        # Nothing in the file can run code.
        state = torch.load(checkpoint, map_location=training.device, weights_only=True)
        _load(training, state)
    except Exception as error:  # torch raises many kinds for a damaged file
        got = f"{type(error).__name__}: {str(error).partition(chr(10))[0]:.120}"
        remedy = "remove the file; the trial then starts anew"
        raise RunError(checkpoint, "a checkpoint of this trial", got, remedy) from None


def _state(training: Training) -> dict[str, Any]:
    """Tensors, numbers and texts alone."""
    now = training.started
    return {
        "network": training.network.state_dict(),
        "optimizer": training.optimizer.state_dict(),
        "random": training.random.get_state(),
        "records": [asdict(record) for record in training.records],
        "best_epoch": training.best_epoch,
        "micro_batch": training.step.micro_batch,
        "in_parts": training.in_parts.size,
        "started": now and {**vars(now), "began": time.perf_counter() - now.began},
    }


def _load(training: Training, state: Mapping[str, Any]) -> None:
    training.network.load_state_dict(state["network"])
    # Moments alone: the groups are the candidate's and this device's.
    groups = training.optimizer.state_dict()["param_groups"]
    training.optimizer.load_state_dict({**state["optimizer"], "param_groups": groups})
    training.step.forget_capture()
    training.random.set_state(state["random"].cpu())
    training.records = [EpochRecord(**values) for values in state["records"]]
    training.best_epoch = int(state["best_epoch"])
    training.step.micro_batch = int(state.get("micro_batch", training.step.micro_batch))
    training.in_parts.size = int(state.get("in_parts", training.in_parts.size))
    if state.get("started"):
        now = StartedEpoch(**state["started"])
        now.order, now.began = now.order.cpu(), time.perf_counter() - now.began
        left = len(now.order) - now.done
        if left == 1 < training.fewest_slices():  # an earlier version did not join it to the others
            raise ValueError("a single slice is left, which the network cannot be trained on")
        training.started = now
