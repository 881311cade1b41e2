"""Several trials in one process: a thread and a stream each, one copy of the data for all.

On a GPU, kernels of different streams run side by side, so that small networks fill it. Threads
take turns at launching; with captured steps there is next to nothing to launch.

What trials share is safe to share: the slices are only read, weights are initialized one trial at
a time, and all other chance comes from a trial's own generators. So each trial ends as if it had
been alone, on a CPU bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from gitract_core.device import own_stream
from gitract_core.training import Training

T = TypeVar("T")


def in_threads(trainings: Sequence[Training], work: Callable[[Training], T]) -> list[T]:
    """What some work makes of each, ``Training.run_epoch`` for example, done in a thread each.

    Args:
        trainings: of one device, in the same order each time.
        work: what it raises for the first training that failed is raised when all have ended.
    """
    for training in trainings:
        training.prepare()  # while nothing else runs: a capture must be alone

    def one(place: int) -> T:
        with own_stream(trainings[place].device, place):
            return work(trainings[place])

    with ThreadPoolExecutor(len(trainings)) as pool:
        return list(pool.map(one, range(len(trainings))))
