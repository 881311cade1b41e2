"""How many trials share a GPU: the choice from made-up measurements, and that one can measure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitract_core.data.slices import SliceIndex
from gitract_core.device import Runtime
from gitract_core.errors import DataError, GitractError
from gitract_core.spec import Candidate
from gitract_core.trial.cost import SampleScan, measure_rate, shape_of
from orchestrator.capacity import gpu_packing
from orchestrator.capacity.gpu_packing import (
    Packing,
    ProcessMeter,
    best_packing,
    find_packing,
    measure_packing,
)
from orchestrator.capacity.trial_slots import Node, choose_slots, left_out
from tests.support.tiny_sweep import KNOBS

GIB = 2**30
SMALL = Candidate.from_knobs(KNOBS)
LARGE = Candidate.from_knobs({**KNOBS, "network.widths": "8,16"})
RISING = {1: 100.0, 2: 190.0, 4: 300.0, 8: 310.0}


@pytest.mark.parametrize(
    ("rates", "memory", "room", "expected"),
    [
        (RISING, 1, 100, 4),  # 8 are 3 % faster
        ({**RISING, 8: 320.0}, 1, 100, 8),  # 6 %
        (RISING, 10, 40, 4),  # 4 fit to the byte
        (RISING, 10, 39, 2),
        (RISING, 10, 9, 1),  # not even one, says the measurement: try one
        ({1: 100.0, 2: 104.0, 4: 90.0, 8: 50.0}, 1, 100, 1),  # counts only get in each other's way
        ({1: 100.0}, 1, 100, 1),
        ({}, 1, 100, 1),
    ],
)
def test_the_smallest_number_near_the_best_that_fits(
    rates: Mapping[int, float], memory: int, room: int, expected: int
) -> None:
    assert best_packing(rates, memory, room) == expected


@given(
    st.dictionaries(st.sampled_from([1, 2, 4, 8]), st.floats(1, 1e4), min_size=1),
    st.integers(1, 50),
    st.integers(1, 200),
)
def test_no_smaller_number_is_as_near_and_no_fitting_one_much_faster(
    rates: dict[int, float], memory: int, room: int
) -> None:
    best = best_packing(rates, memory, room)
    fitting = [n for n in rates if n * memory <= room]
    if not fitting:
        assert best == 1
        return
    assert best in fitting
    fastest = max(rates[n] for n in fitting)
    assert rates[best] >= 0.95 * fastest
    assert all(rates[n] < 0.95 * fastest for n in fitting if n < best)


class MadeUp:
    """A meter with invented answers; notes what it is asked."""

    def __init__(self, room: tuple[int, int], large: int = 10 * GIB) -> None:
        self.room, self.large = room, large
        self.memories: list[Candidate] = []
        self.rates: list[tuple[Candidate, int]] = []

    def room_bytes(self) -> tuple[int, int]:
        return self.room

    def memory_bytes(self, shape: Candidate) -> int:
        self.memories.append(shape)
        return self.large if shape.network.widths == "8,16" else 2 * GIB

    def rate(self, shape: Candidate, count: int) -> float:
        self.rates.append((shape, count))
        return 100.0 * count


@pytest.mark.parametrize(
    ("room", "most", "smallest", "counts"),
    [
        ((140 * GIB, 140 * GIB), 50, 0, [1, 2, 4, 8]),
        ((140 * GIB, 140 * GIB), 3, 0, [1, 2]),  # more would be of no use
        ((50 * GIB, 140 * GIB), 50, 0, [1, 2, 4]),  # someone else uses the rest
        ((40 * GIB, 40 * GIB), 50, 0, [1, 2]),  # 4 would fill it to the last byte
        ((140 * GIB, 140 * GIB), 50, 24 * GIB, [1, 2]),  # another node's GPU is smaller
        ((140 * GIB, 140 * GIB), 50, 11 * GIB, [1, 2, 4, 8]),  # too small for any trial: left out
        ((5 * GIB, 5 * GIB), 50, 0, [1]),
    ],
)
def test_only_what_fits_and_helps_is_measured(
    room: tuple[int, int], most: int, smallest: int, counts: list[int]
) -> None:
    meter = MadeUp(room)
    packing = find_packing([SMALL, LARGE, SMALL], meter, most, [smallest])
    assert meter.rates == [(shape_of(SMALL), n) for n in counts], "the most common shape alone"
    assert meter.memories == [shape_of(SMALL), shape_of(LARGE)], "each shape once"
    assert packing.trials == counts[-1]
    assert "10.0 GiB each" in packing.reason
    assert f"{counts[-1]}: {100 * counts[-1]}" in packing.reason


def test_shapes_differ_by_what_costs_alone() -> None:
    meter = MadeUp((140 * GIB, 140 * GIB))
    slower = replace(SMALL, training=replace(SMALL.training, epochs=9))
    find_packing([LARGE, SMALL, slower], meter, 8)
    assert meter.memories == [shape_of(LARGE), shape_of(SMALL)]
    assert {shape for shape, _ in meter.rates} == {shape_of(SMALL)}


def test_slots_follow_the_probe_unless_a_flag_is_given() -> None:
    nodes = [Node(16, 1, 140 * GIB)]
    assert choose_slots(nodes, 50).count == 8
    assert choose_slots(nodes, 50, measured_packing=4).count == 4
    assert choose_slots(nodes, 50, measured_packing=4).gpus == 0.25
    assert choose_slots(nodes, 50, measured_packing=4).cpus == 4
    assert choose_slots(nodes, 50, measured_packing=4, trials_per_gpu=2).count == 2
    assert choose_slots(nodes, 3, measured_packing=8).count == 3
    assert choose_slots([Node(16, 1, 8 * GIB)], 50, measured_packing=4).count == 4
    assert choose_slots([Node(8)], 50, measured_packing=4) == choose_slots([Node(8)], 50)


def test_machines_that_are_of_no_use_are_left_out_and_named() -> None:
    large, small, bare = Node(16, 2, 80 * GIB, "L"), Node(8, 1, 8 * GIB, "S"), Node(64, name="B")
    slots = choose_slots([bare, large, small], 50, measured_packing=8, trial_bytes=9 * GIB)
    assert (slots.count, slots.gpus, slots.avoid) == (16, 0.125, ("S",))
    assert left_out([bare, large, small], 9 * GIB) == [
        "left out: 1 machine without a GPU (64 processors)",
        "left out: 1 machine with smaller GPUs than trials need (8.0 GiB, the largest trial 9.0)",
    ]
    fits = choose_slots([bare, large, small], 50, measured_packing=3, trial_bytes=2 * GIB)
    assert (fits.count, fits.gpus, fits.avoid) == (9, 0.3333, ())
    assert choose_slots([small], 50, measured_packing=1, trial_bytes=9 * GIB).count == 1, "try it"
    assert choose_slots([large, replace(small, gpu_memory_bytes=0)], 50, trial_bytes=1).avoid == ()
    assert left_out([bare]) == left_out([large], GIB) == []


def test_where_nothing_can_be_measured_memory_decides_and_it_is_said(tiny: Path) -> None:
    index = SliceIndex.from_directory(tiny)
    assert measure_packing([SMALL], index, [Node(8)], n_trials=5) == Packing(None, "no GPU")

    def away(*_: object) -> Packing:
        raise GitractError("machine 1a2b3c4d", "a free GPU to measure on", "none", "wait")

    there = measure_packing([SMALL], index, [Node(8), Node(8, 2, 16 * GIB)], n_trials=5, place=away)
    assert there.trials is None
    assert there.reason.startswith("trials a GPU by memory alone: measuring failed (GitractError: ")


class Failing:
    def __init__(self, error: Exception) -> None:
        self.error = error

    def __enter__(self) -> Failing:
        raise self.error

    def __exit__(self, *error: object) -> None: ...


def test_a_probe_that_fails_leaves_the_rule_and_says_why(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = SliceIndex.from_directory(tiny)
    error = RuntimeError("CUDA error: exclusive mode\nmore")
    monkeypatch.setattr(gpu_packing, "ProcessMeter", lambda *_: Failing(error))
    packing = measure_packing([SMALL], index, [Node(8, 1, 16 * GIB)], n_trials=5)
    assert packing.trials is None
    assert packing.reason.endswith("measuring failed (RuntimeError: CUDA error: exclusive mode)")
    gone = SliceIndex(Path("gone"), index.table)
    with pytest.raises(DataError, match="gone/"):
        measure_packing([SMALL], gone, [Node(8, 1, 16 * GIB)], n_trials=5)


def test_the_share_is_asked_for_the_whole_cache_and_the_smallest_gpu(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = SliceIndex.from_directory(tiny)
    asked: list[object] = []

    class Meter(MadeUp):
        def __init__(self, runtime: Runtime, scan: SampleScan, slices: int) -> None:
            super().__init__((140 * GIB, 140 * GIB))
            asked.extend([runtime.device, slices])

        def __enter__(self) -> Meter:
            return self

        def __exit__(self, *error: object) -> None: ...

    monkeypatch.setattr(gpu_packing, "ProcessMeter", Meter)
    nodes = [Node(8), Node(16, 1, 140 * GIB), Node(16, 1, 24 * GIB)]
    assert measure_packing([LARGE], index, nodes, n_trials=50).trials == 2
    assert measure_packing([LARGE], index, nodes, n_trials=2).trials == 1  # a GPU each
    assert asked[:2] == ["cuda", len(index.table)]


def test_a_probe_meets_the_others_after_its_warm_up(tiny: Path) -> None:
    index = SliceIndex.from_directory(tiny)
    scan = SampleScan.read(tiny, index.rows_of_scan(index.scans[0]), organs=index.organs)
    met: list[str] = []
    rate = measure_rate(
        SMALL, Runtime("cpu"), scan, cache_bytes=1000, meet=lambda: met.append("met"), seconds=0.05
    )
    assert met == ["met"]
    assert rate > 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_processes_measure_memory_and_speed(kind: str, tiny: Path) -> None:
    import torch

    if kind == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    index = SliceIndex.from_directory(tiny)
    scan = SampleScan.read(tiny, index.rows_of_scan(index.scans[0]), organs=index.organs)
    with ProcessMeter(Runtime(kind), scan, len(index.table), 0.2) as meter:
        free, total = meter.room_bytes()
        assert 0 < free <= total
        packing = find_packing([SMALL, LARGE, SMALL], meter, 2)
    assert packing.trials in (1, 2)
