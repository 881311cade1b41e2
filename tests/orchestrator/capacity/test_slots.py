"""How many trials run at once, from the machines and the flags."""

from __future__ import annotations

import pytest

from gitract_core.errors import GitractError
from orchestrator.capacity.trial_slots import Node, Slots, choose_slots


def test_slots_follow_machine_and_flags() -> None:
    assert choose_slots([Node(2)], 50) == Slots(2, 1)
    assert choose_slots([Node(8)], 2) == Slots(2, 4)
    assert choose_slots([Node(8)], 50, cpus_per_trial=4) == Slots(2, 4)
    gpu = choose_slots([Node(16, 1, 140 * 2**30)], 50)
    assert (gpu.count, gpu.gpus, gpu.cpus, gpu.device) == (8, 0.125, 2, "cuda")
    assert choose_slots([Node(16, 1, 140 * 2**30)], 50, trials_per_gpu=3).gpus == 0.3333
    mixed = choose_slots([Node(8), Node(8, 2, 16 * 2**30)], 50)
    assert (mixed.count, mixed.gpus, mixed.cpus) == (4, 0.5, 2)
    assert choose_slots([Node(8, 2, 80 * 2**30)], 2).gpus == 1.0
    assert choose_slots([Node(2)] * 4, 4) == Slots(4, 2)
    assert choose_slots([Node(4)] * 4, 5) == Slots(5, 2), "all at once, rather than with 3 each"
    assert choose_slots([Node(2), Node(8)], 3) == Slots(3, 2)
    assert choose_slots([Node(2, 1)] * 4, 4, trials_per_gpu=2) == Slots(4, 2, 1.0, "cuda")
    assert choose_slots([Node(8, 4)], 8, trials_per_gpu=2).whole == 0
    assert choose_slots([Node(8, 4)], 6, trials_per_gpu=2) == Slots(6, 1, 0.5, "cuda", whole=2)
    assert choose_slots([Node(9, 4)], 9, trials_per_gpu=5) == Slots(9, 1, 0.3333, "cuda", whole=1)


def test_no_more_trials_than_processors_share_a_gpu() -> None:
    """Ray would start no more either; with more processors than a machine has it waits for ever."""
    assert choose_slots([Node(2, 1, 80 * 2**30)], 50) == Slots(2, 1, 0.5, "cuda")
    assert choose_slots([Node(2, 1)], 50, trials_per_gpu=8) == Slots(2, 1, 0.5, "cuda")
    assert choose_slots([Node(8, 1)], 50, trials_per_gpu=8, cpus_per_trial=3).count == 2
    assert choose_slots([Node(2, 4)], 50, trials_per_gpu=2) == Slots(2, 1, 1.0, "cuda")
    with pytest.raises(GitractError, match=r"--cpus-per-trial: expected at most 4.*, got 5"):
        choose_slots([Node(64), Node(4, 1)], 50, cpus_per_trial=5)


def test_machines_without_processors_are_left_out() -> None:
    assert choose_slots([Node(0), Node(4)], 50) == Slots(4, 1)
    assert choose_slots([Node(0, 1), Node(8, 1, 16 * 2**30)], 50).count == 2
    for nodes in ([], [Node(0)], [Node(0, 1)]):
        with pytest.raises(GitractError, match="slots: expected a machine with a processor"):
            choose_slots(nodes, 50)
