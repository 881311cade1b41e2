"""Trainings that are killed at a chosen step."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest
import torch

from gitract_core.results.trial_result import TrialFiles, read_history
from gitract_core.training.checkpoint import Checkpoints
from gitract_core.training.step import TrainingStep

A_STEP_SECONDS = 20.0


class Killed(BaseException):
    """As sudden as a kill: nothing in the project catches it."""


class Steps:
    """Counts steps, each of which takes 20 seconds on its clock; may end the process at one."""

    def __init__(self, killed_after: int | None = None) -> None:
        self.count, self.killed_after = 0, killed_after

    def clock(self) -> float:
        return A_STEP_SECONDS * self.count

    @contextmanager
    def counted(self) -> Iterator[Steps]:
        step = TrainingStep.__call__

        def noted(moved: TrainingStep, images: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
            loss = step(moved, images, masks)
            self.count += 1
            if self.count == self.killed_after:
                raise Killed
            return loss

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(TrainingStep, "__call__", noted)
            patch.setattr(
                "gitract_core.trial.run.Checkpoints", partial(Checkpoints, clock=self.clock)
            )
            yield self


def epochs_of(files: TrialFiles) -> list[object]:
    return [dataclasses.replace(record, seconds=0) for record in read_history(files.history)]
