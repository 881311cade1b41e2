"""Measures costs on the machines of a cluster, where the trials will run."""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import orchestrator.execution.ray.settings  # noqa: F401

# isort: split
import ray
from ray.exceptions import ActorUnschedulableError, GetTimeoutError, RayActorError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from gitract_core.errors import GitractError, TrialError
from orchestrator.capacity.measuring import Place
from orchestrator.capacity.trial_slots import Node

P = ParamSpec("P")
T = TypeVar("T")

_PATIENCE_SECONDS = 120.0  # for a processor, and a GPU, to be free
_PAUSE_SECONDS = 1.0


def on_machine(node: Node) -> Place:
    """That machine, in a process that holds one of its GPUs if it has any, and a processor.

    What the work tells an argument named ``watch`` is asked for once a second.
    """

    def there(work: Callable[P, T], /, *arguments: P.args, **named: P.kwargs) -> T:
        actor: Any = ray.remote(_Measurer).options(
            num_cpus=1,
            num_gpus=min(node.gpus, 1),
            max_concurrency=2,  # it answers while it works
            scheduling_strategy=NodeAffinitySchedulingStrategy(node.name, soft=False),
        )
        measurer = actor.remote()
        try:
            ray.get(measurer.ready.remote(), timeout=_PATIENCE_SECONDS)
            watch = named.pop("watch", None)
            running = measurer.do.remote(work, arguments, named, watched=watch is not None)
            while watch is not None and not ray.wait([running], timeout=_PAUSE_SECONDS)[0]:
                for told in ray.get(measurer.news.remote()):
                    watch(told)  # type: ignore[operator]
            found: T = ray.get(running)
            for told in ray.get(measurer.news.remote()) if watch is not None else ():
                watch(told)  # type: ignore[operator]
        except RayTaskError as error:
            raise error.cause from None
        except GetTimeoutError:
            expected = f"a free {'GPU' if node.gpus else 'processor'} to measure on"
            remedy = "wait for what runs there, or remove and add the machine"
            raise GitractError(f"machine {node.name[:8]}", expected, "none", remedy) from None
        except (RayActorError, ActorUnschedulableError):  # the latter: the machine has left
            remedy = "look for the reason (memory?) and run again"
            raise TrialError("measuring", "a process that lives", "one lost", remedy) from None
        finally:
            ray.kill(measurer)
        return found

    return there


class _Measurer:
    def __init__(self) -> None:
        self.told: deque[Any] = deque()

    def ready(self) -> None:
        """Answers once the process is there."""

    def news(self) -> list[Any]:
        """What the work has told since this was asked."""
        return [self.told.popleft() for _ in range(len(self.told))]

    def do(
        self, work: Callable[..., Any], arguments: Any, named: Any, *, watched: bool = False
    ) -> Any:
        try:
            return work(*arguments, **named, **({"watch": self.told.append} if watched else {}))
        finally:
            gc.collect()  # this process is killed next, and semaphores of its pools would stay
