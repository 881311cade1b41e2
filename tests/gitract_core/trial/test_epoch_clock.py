"""The time of an epoch without that of others on the machine."""

from __future__ import annotations

import threading
import time

import pytest
import torch

from gitract_core.trial.epoch_clock import EpochClock

CPU = torch.device("cpu")


def test_it_is_the_median_of_the_epochs() -> None:
    times = iter([0.0, 1.0, 10.0, 13.0, 20.0, 29.0])
    clock = EpochClock(CPU, processor_seconds=lambda: next(times))
    assert clock.to_cost() == {}
    for _ in range(3):
        with clock:
            pass
    assert clock.to_cost() == {"epoch_seconds": 3.0}


def test_an_epoch_that_fails_does_not_count() -> None:
    clock = EpochClock(CPU)
    with pytest.raises(ValueError, match="diverged"), clock:
        raise ValueError("diverged")
    assert clock.to_cost() == {}


def test_a_device_of_its_own_is_measured_by_the_wall() -> None:
    clock = EpochClock(
        torch.device("meta"), processor_seconds=lambda: 0.0, wall_seconds=iter([1.0, 3.5]).__next__
    )
    with clock:
        pass
    assert clock.to_cost() == {"epoch_seconds": 2.5}


def test_waiting_for_others_is_not_counted() -> None:
    """Neither sleep nor the work of another thread."""
    clock = EpochClock(CPU)
    working = threading.Thread(target=lambda: sum(range(3_000_000)))
    with clock:
        working.start()
        working.join()
        time.sleep(0.05)
    assert clock.to_cost()["epoch_seconds"] < 0.03
