"""Trials side by side in threads end as they do alone, bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Barrier

import pytest

from gitract_core.device import own_stream, slices_on
from gitract_core.together import in_threads
from gitract_core.training import DivergedError, Training
from tests.test_captured_step import CHANGES, CPU, figures, make, run
from tests.tiny_sweep import prepare_tiny


def test_trials_side_by_side_end_as_alone(tiny: Path, tmp_path: Path) -> None:
    """Several epochs, so that threads meet in many orders."""
    sweep = prepare_tiny(tiny, tmp_path / "run", *CHANGES[:3])
    alone = [run(make(sweep, n), 3) for n in range(4)]
    together = [make(sweep, n, capture=n % 2 == 0) for n in range(4)]
    for _ in range(3):
        records = in_threads(together, Training.run_epoch)
    assert [r.epoch for r in records] == [3] * 4
    assert [figures(t) for t in together] == [figures(t) for t in alone]


def test_networks_made_in_threads_are_those_made_alone(tiny: Path, tmp_path: Path) -> None:
    sweep = prepare_tiny(tiny, tmp_path / "run", *CHANGES[:3])
    alone = [figures(make(sweep, n)) for n in range(4)]
    start = Barrier(4)
    trainings = [make(sweep, n) for n in range(4)]
    places = {id(t): n for n, t in enumerate(trainings)}

    def build(training: Training) -> list[list[tuple[object, ...]]]:
        start.wait(60)
        return [figures(make(sweep, places[id(training)])) for _ in range(10)]

    assert in_threads(trainings, build) == [[figure] * 10 for figure in alone]


def test_one_copy_of_the_data_for_all_threads(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = prepare_tiny(tiny, tmp_path / "run")
    trainings, start = [make(sweep) for _ in range(4)], Barrier(4)
    slices_on_again = sweep.data.cache(32)
    monkeypatch.setattr("gitract_core.device._slices_on", _slow_copies())

    def get(training: Training) -> int:
        start.wait(60)
        return id(slices_on(slices_on_again, CPU))

    assert len(set(in_threads(trainings, get))) == 1


def _slow_copies() -> Callable[..., object]:
    """As ``lru_cache``: nothing keeps two threads from making a copy each."""
    import time

    made: dict[object, object] = {}

    def copy(*key: object) -> object:
        if key not in made:
            time.sleep(0.02)
            made[key] = object()
        return made[key]

    return copy


def test_one_that_diverges_does_not_spoil_the_others(tiny: Path, tmp_path: Path) -> None:
    sweep = prepare_tiny(tiny, tmp_path / "run", *CHANGES[:2])
    trainings = [make(sweep, n) for n in range(3)]
    alone = [run(make(sweep, n), 1) for n in range(3)]
    trainings[1]._train = lambda after_step: float("nan")  # type: ignore[method-assign]
    with pytest.raises(DivergedError):
        in_threads(trainings, Training.run_epoch)
    for n in (0, 2):
        assert figures(trainings[n]) == figures(alone[n])


def test_a_cpu_has_no_streams() -> None:
    with own_stream(CPU, 3) as stream:
        assert stream is None
