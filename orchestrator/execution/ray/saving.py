"""Lets the trials that run on a cluster save their state and end, wherever they run."""

from __future__ import annotations

import os
import signal
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import orchestrator.execution.ray.settings  # noqa: F401

# isort: split
import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

_LOOK_SECONDS = 0.05


class Where(NamedTuple):
    """A worker process.

    Attributes:
        node: identity of its machine.
        process: its number there.
    """

    node: str
    process: int


def here() -> Where:
    """This process; asked in a worker."""
    return Where(ray.get_runtime_context().get_node_id(), os.getpid())


def save_running(running: Iterable[Where], seconds: float) -> int:
    """Send SIGTERM to worker processes; how many of them ended within so many seconds."""
    by_node = defaultdict[str, list[int]](list)
    for where in running:
        by_node[where.node].append(where.process)
    own = by_node.pop(ray.get_runtime_context().get_node_id(), [])
    deadline = time.monotonic() + seconds
    asked = [_ask(node, processes, seconds) for node, processes in by_node.items()]
    ended = end_and_wait(own, seconds)
    for answer in asked:
        try:
            ended += ray.get(answer, timeout=max(deadline - time.monotonic(), 0.1))
        except RayError:  # a node that does not answer in time
            continue
    return ended


def _ask(node: str, processes: Sequence[int], seconds: float) -> Any:
    there = NodeAffinitySchedulingStrategy(node, soft=False)
    task = ray.remote(end_and_wait).options(num_cpus=0, scheduling_strategy=there)
    return task.remote(processes, seconds)


def end_and_wait(processes: Sequence[int], seconds: float) -> int:
    """Send SIGTERM to processes of this machine; how many ended within so many seconds."""
    left, deadline = set(processes), time.monotonic() + seconds
    for process in processes:
        _signal(process, signal.SIGTERM)
    while left and time.monotonic() < deadline:
        left = {process for process in left if _signal(process, 0)}
        time.sleep(_LOOK_SECONDS)
    return len(processes) - len(left)


def _signal(process: int, number: int) -> bool:
    """Whether the process was there."""
    try:
        os.kill(process, number)
    except OSError:
        return False
    return True
