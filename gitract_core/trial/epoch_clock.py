"""How long an epoch takes a trial by itself, whatever else the machine does meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from types import TracebackType
from typing import Self

import torch


class EpochClock:
    """Measures epochs, each as ``with clock:``.

    On a CPU it counts the processor's time of the thread that trains, which stands still while
    others have the processor: five times the load leaves it within some tens of percent, where the
    wall time grows fivefold. On other devices it counts the wall time, in which the device works.

    Args:
        device: on which the trial trains.
        processor_seconds, wall_seconds: clocks.
    """

    def __init__(
        self,
        device: torch.device,
        *,
        processor_seconds: Callable[[], float] = time.thread_time,
        wall_seconds: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.now = processor_seconds if device.type == "cpu" else wall_seconds
        self.began = 0.0
        self.epochs: list[float] = []

    def __enter__(self) -> Self:
        self.began = self.now()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.epochs.append(self.now() - self.began)

    def to_cost(self) -> dict[str, float]:
        """``epoch_seconds``, the median; empty where no epoch was measured, as after a resume."""
        return {"epoch_seconds": median(self.epochs)} if self.epochs else {}
