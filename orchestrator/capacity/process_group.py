"""A pool of processes that start their work at the same moment, with a barrier."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor, wait
from threading import BrokenBarrierError
from typing import Any, ParamSpec, TypeVar

from gitract_core.processes import end_with_parent

P = ParamSpec("P")
T = TypeVar("T")

_PROCESSES = multiprocessing.get_context("spawn")  # as the trials' own
_PATIENCE_SECONDS = 300.0


class ProcessGroup:
    """So many new processes, each of which does whatever the group is given.

    Args:
        count: of the processes.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        barrier = _PROCESSES.Barrier(count)
        self._pool = ProcessPoolExecutor(count, _PROCESSES, _enter, (barrier,))

    def __enter__(self) -> ProcessGroup:
        """Start all processes, and wait until each of them runs.

        The pool starts a process with each task, and notices the death of those alone that had
        started when it last woke: one that died at once would leave the others waiting.
        """
        wait([self._pool.submit(meet) for _ in range(self.count)])
        return self

    def __exit__(self, *error: object) -> None:
        self.end()

    def run(self, work: Callable[P, T], /, *arguments: P.args, **named: P.kwargs) -> list[T]:
        """Let every process do some work, and return what each made of it.

        The work may call ``meet``, once or more: none goes on from there before all have come.

        Raises:
            BrokenProcessPool: a process died.
            Exception: what the work raised in one of the processes; the others do not wait for it.
        """
        asked: list[Future[T]] = [
            self._pool.submit(_guarded, work, arguments, named) for _ in range(self.count)
        ]
        wait(asked)
        errors = [error for future in asked if (error := future.exception()) is not None]
        causes = [error for error in errors if not isinstance(error, BrokenBarrierError)]
        for error in causes or errors:
            raise error
        return [future.result() for future in asked]

    def end(self) -> None:
        """End the processes; their memory is free again."""
        self._pool.shutdown()


def meet() -> None:
    """Called in a process of a group: wait until all of them have called it.

    Raises:
        threading.BrokenBarrierError: one of them failed, or did not come in time.
    """
    _barrier.wait(_PATIENCE_SECONDS)


_barrier: Any = None


def _enter(barrier: Any) -> None:
    global _barrier
    end_with_parent()
    _barrier = barrier


def _guarded(work: Callable[..., T], arguments: tuple[Any, ...], named: dict[str, Any]) -> T:
    try:
        return work(*arguments, **named)
    except BaseException:
        _barrier.abort()  # the others wait in vain
        raise
