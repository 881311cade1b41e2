"""A process that is asked to end saves the state of its training first."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitract_core.results.trial_result import TrialFiles
from gitract_core.training import stopping
from gitract_core.training.checkpoint import Checkpoints, restore
from gitract_core.training.loop import Training
from gitract_core.training.stopping import Stopped, only_within, saving_first, stop_on
from tests.support.tiny_training import made_up_training


@pytest.fixture(autouse=True)
def _asked_nothing() -> Iterator[None]:
    before = signal.getsignal(signal.SIGUSR2)
    yield
    signal.signal(signal.SIGUSR2, before)
    stopping._Asked.to_stop = stopping._Asked.training = False
    stopping._Asked.interruptible = True


def figures(training: Training) -> list[tuple[float, float, float]]:
    return [(r.train_loss, r.loss, r.dice) for r in training.records]


def trained(training: Training, epochs: int) -> Training:
    for _ in range(epochs):
        training.run_epoch()
    return training


@pytest.mark.parametrize("looks", [2, 5, 6])  # 5 steps and one batch of validation
def test_it_ends_between_two_steps_and_goes_on_from_there(looks: int, tmp_path: Path) -> None:
    files, training = TrialFiles(tmp_path), made_up_training()
    checkpoints, seen = Checkpoints(training, files, 0), list[int]()

    def look(check: str) -> None:
        seen.append(1)
        if len(seen) == looks:
            os.kill(os.getpid(), signal.SIGUSR2)
        getattr(checkpoints, check)()

    def epoch() -> None:
        with saving_first():
            training.run_epoch(lambda: look("after_step"), lambda: look("if_asked"))

    stop_on(signal.SIGUSR2)
    with pytest.raises(Stopped):
        epoch()
    assert len(seen) == looks
    again = made_up_training()
    restore(again, files.checkpoint)
    assert again.started
    assert again.started.done == min(4 * looks, 19)
    assert figures(trained(again, 2)) == figures(trained(made_up_training(), 2))


def test_outside_of_a_training_it_ends_at_once() -> None:
    stop_on(signal.SIGUSR2)
    with pytest.raises(Stopped):
        os.kill(os.getpid(), signal.SIGUSR2)
    os.kill(os.getpid(), signal.SIGUSR2)  # a second one interrupts nothing


def test_a_process_of_ray_ends_no_more_than_its_work() -> None:
    stop_on(signal.SIGUSR2, when_idle=False)
    os.kill(os.getpid(), signal.SIGUSR2)

    def work() -> None:
        with only_within():
            raise AssertionError("not begun")

    with pytest.raises(Stopped):
        work()
