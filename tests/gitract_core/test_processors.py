"""The number of usable processors: on made-up control groups, environments and affinities."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from gitract_core.processors import allot, usable_processors

V2 = {"proc/self/cgroup": "0::/user.slice/job.scope\n"}
V1 = {"proc/self/cgroup": "7:memory:/box\n4:cpu,cpuacct:/box\n1:name=systemd:/box\n"}


def system(root: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def quota_v2(text: str, group: str = "user.slice/job.scope/") -> dict[str, str]:
    return {**V2, f"sys/fs/cgroup/{group}cpu.max": text}


def quota_v1(quota: str, period: str = "100000\n", mount: str = "cpu,cpuacct") -> dict[str, str]:
    folder = f"sys/fs/cgroup/{mount}/box"
    return {**V1, f"{folder}/cpu.cfs_quota_us": quota, f"{folder}/cpu.cfs_period_us": period}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 16),
        (V2, 16),
        (quota_v2("max 100000\n"), 16),
        (quota_v2("400000 100000\n"), 4),
        (quota_v2("250000 100000\n"), 3),  # two and a half keep three threads busy
        (quota_v2("5000 100000\n"), 1),
        (quota_v2("6400000 100000\n"), 16),  # more than there are
        (quota_v2("300000 100000\n", "user.slice/"), 3),  # of a group above
        (quota_v2("200000 100000\n", ""), 2),  # a container sees its own group as the root
        (quota_v2("nonsense\n"), 16),
        (quota_v2(""), 16),
        ({**quota_v2("800000 100000\n"), **quota_v2("500000 100000\n", "user.slice/")}, 5),
        (quota_v1("-1\n"), 16),
        (quota_v1("150000\n", "50000\n"), 3),
        (quota_v1("200000\n", mount="cpu"), 2),
        (quota_v1("200000\n", "0\n"), 16),
        ({"proc/self/cgroup": "0::/../../elsewhere\n"}, 16),
    ],
)
def test_quotas_of_control_groups_count(
    files: Mapping[str, str], expected: int, tmp_path: Path
) -> None:
    assert usable_processors({}, system(tmp_path, files), lambda: 16) == expected


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"SLURM_CPUS_PER_TASK": "6"}, 6),
        ({"SLURM_CPUS_ON_NODE": "8"}, 8),
        ({"SLURM_CPUS_PER_TASK": "2", "SLURM_CPUS_ON_NODE": "8"}, 2),
        ({"SLURM_CPUS_ON_NODE": "32"}, 16),
        ({"SLURM_CPUS_ON_NODE": "16(x2)"}, 16),
        ({"SLURM_CPUS_PER_TASK": "0"}, 16),
        ({"GITRACT_PROCESSORS": "3", "SLURM_CPUS_ON_NODE": "8"}, 3),
        ({"GITRACT_PROCESSORS": "12", "SLURM_CPUS_ON_NODE": "8"}, 8),
    ],
)
def test_allocations_count(environment: Mapping[str, str], expected: int, tmp_path: Path) -> None:
    assert usable_processors(environment, tmp_path, lambda: 16) == expected


def test_the_least_limit_counts_and_one_processor_is_left(tmp_path: Path) -> None:
    files = quota_v2("400000 100000\n")
    assert usable_processors({"SLURM_CPUS_ON_NODE": "8"}, system(tmp_path, files), lambda: 2) == 2
    assert usable_processors({"SLURM_CPUS_ON_NODE": "3"}, tmp_path, lambda: 16) == 3
    assert usable_processors({}, tmp_path, lambda: 0) == 1


def test_affinity_of_this_very_process_counts() -> None:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert usable_processors() == 1
    finally:
        os.sched_setaffinity(0, before)


def test_what_is_allotted_holds_for_this_process(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GITRACT_PROCESSORS", "9")  # restored afterwards
    allot(2)
    assert usable_processors(system=tmp_path, affinity=lambda: 16) <= 2
