"""Asks the trials that run on a cluster to save their state and end, wherever they run.

Ray has a SIGTERM of its own, which ends a worker process; trials are asked by SIGUSR1.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import orchestrator.execution.ray.settings  # noqa: F401

# isort: split
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

TO_SAVE = signal.SIGUSR1


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


def ask_to_save(running: Iterable[Where]) -> None:
    """Send ``TO_SAVE`` to worker processes; does not wait for other machines."""
    by_node = defaultdict[str, list[int]](list)
    for where in running:
        by_node[where.node].append(where.process)
    _send(by_node.pop(ray.get_runtime_context().get_node_id(), []))
    for node, processes in by_node.items():
        there = NodeAffinitySchedulingStrategy(node, soft=False)
        ray.remote(_send).options(num_cpus=0, scheduling_strategy=there).remote(processes)


def _send(processes: Sequence[int]) -> None:
    for process in processes:
        with contextlib.suppress(OSError):  # it has ended
            os.kill(process, TO_SAVE)
