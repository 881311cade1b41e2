"""How many processors this process may use: the one place where that is asked.

The least of four limits counts: the affinity of the process; the quotas of its control groups,
version 1 or 2, at every level up to the root; what Slurm allotted to the job; and what an executor
allotted to a worker process (``allot``), which on a cluster is what Ray reserved for it. A
fraction of a processor counts as a whole one.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

_SLURM = ("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE")  # the first that is set
_ALLOTTED = "GITRACT_PROCESSORS"


def usable_processors(
    environment: Mapping[str, str] | None = None,
    system: Path = Path("/"),
    affinity: Callable[[], int] | None = None,
) -> int:
    """Processors that this process may use, 1 at least.

    Args:
        environment: variables; those of this process.
        system: root of the file system with ``proc/self/cgroup`` and ``sys/fs/cgroup``.
        affinity: processors that the process may be scheduled on; asks the system.
    """
    environment = os.environ if environment is None else environment
    limits = [(affinity or _affinity)()]
    limits += [math.ceil(quota) for quota in _quotas(system)]
    limits += _allotted(environment)
    return max(1, min(limits))


def allot(count: int) -> None:
    """Let this worker process and its children use so many processors at most."""
    os.environ[_ALLOTTED] = str(count)


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _allotted(environment: Mapping[str, str]) -> Iterator[int]:
    """What a scheduler gave to the job, where its variables say so."""
    slurm = next((environment[name] for name in _SLURM if name in environment), "")
    for count in (slurm, environment.get(_ALLOTTED, "")):
        if count.isdecimal() and int(count):
            yield int(count)


def _quotas(system: Path) -> Iterator[float]:
    """Processors of each control group above this process that has a quota."""
    root = system / "sys/fs/cgroup"
    for line in _lines(system / "proc/self/cgroup"):
        number, _, rest = line.partition(":")
        controllers, _, name = rest.partition(":")
        if number == "0" and not controllers:
            for group in _up_from(root, name):
                yield from _quota_of_v2(group)
        elif "cpu" in controllers.split(","):
            for mount in (root / "cpu", root / controllers):
                for group in _up_from(mount, name):
                    yield from _quota_of_v1(group)


def _up_from(mount: Path, name: str) -> Iterator[Path]:
    """A control group's folder and those above it; in a container only the mount may be there."""
    group = mount / name.strip("/")
    yield group
    while group != mount:
        group = group.parent
        yield group


def _quota_of_v2(group: Path) -> Iterator[float]:
    """Of ``cpu.max``: quota and period in microseconds, or ``max``."""
    for line in _lines(group / "cpu.max")[:1]:
        with suppress(ValueError):
            quota, period = (float(part) for part in line.split())
            if quota > 0 and period > 0:
                yield quota / period


def _quota_of_v1(group: Path) -> Iterator[float]:
    """Of ``cpu.cfs_quota_us``: -1 without one."""
    for quota, period in zip(
        _lines(group / "cpu.cfs_quota_us"), _lines(group / "cpu.cfs_period_us"), strict=False
    ):
        with suppress(ValueError):
            if float(quota) > 0 and float(period) > 0:
                yield float(quota) / float(period)


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
