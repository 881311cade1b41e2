from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads without work leave the cores
import torch
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

from tests.support.tiny_contest import write_tiny_contest
from tests.support.warm import warm_children

_RAY = "tests/ray_cluster/"
_OWN_RAY = (
    "tests/orchestrator/execution/test_executors.py",
    "tests/orchestrator/execution/test_trial_log.py",
    "tests/ray_cluster/test_several_machines_by_hand.py",
    "tests/ray_cluster/test_store_on_ray.py",
)
_LONGEST = (  # of the others, as measured
    "tests/orchestrator/storage/test_remote_run.py",
    "tests/project/test_soak.py",
    "tests/bad_input/test_run_files.py",
    "tests/project/test_docs.py",
    "tests/orchestrator/cli/test_command_line.py",
    "tests/orchestrator/cli/test_search_command.py",
    "tests/gitract_core/phantom/test_phantom.py",
    "tests/orchestrator/tracking/test_tracking.py",
    "tests/bad_input/test_run_tables.py",
    "tests/project/test_one_file.py",
    "tests/orchestrator/execution/test_out_of_memory.py",
)
collect_ignore = ["fuzz/target.py"]  # needs atheris, which is an extra
torch.set_num_threads(1)  # several test processes share the cores
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["RAY_USAGE_STATS_REPORT_URL"] = "http://127.0.0.1:9/"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    real = real_data_path()
    for item in items:
        if item.get_closest_marker("real") and not real.is_dir():
            item.add_marker(pytest.mark.skip(reason=f"no real data at {real}"))
    slow = {i.path for i in items if i.get_closest_marker("slow")}
    items.sort(key=lambda item: (_rank(item.nodeid), item.path not in slow))


def _rank(nodeid: str) -> int:
    """Of files the longest first, so that processes end together; all others last."""
    file = nodeid.partition("::")[0]
    if file in _OWN_RAY or file.startswith(_RAY):
        return 0
    return 1 + _LONGEST.index(file) if file in _LONGEST else 1 + len(_LONGEST)


class FileScheduling(LoadFileScheduling):
    """Of ``pytest -n``: a file's tests stay in one process; those that start Ray in two at most."""

    def _split_scope(self, nodeid: str) -> str:
        file = str(super()._split_scope(nodeid))
        if file in _OWN_RAY:
            return "ray of their own"
        return "ray" if file.startswith(_RAY) else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> FileScheduling:
    return FileScheduling(config, log)


def real_data_path() -> Path:
    here = Path(__file__).resolve().parent.parent
    return Path(os.environ.get("GITRACT_REAL_DATA", here / ".." / "shared" / "real")).resolve()


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The contest material that is not ours to publish."""
    return real_data_path()


@pytest.fixture(scope="session", autouse=True)
def warm() -> Iterator[None]:
    """Worker processes that tests start begin with their libraries loaded."""
    with warm_children():
        yield


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Caches of tests stay out of the user's folder; one for the whole session."""
    cache = tmp_path_factory.getbasetemp() / "gitract-cache"
    monkeypatch.setenv("GITRACT_CACHE", str(cache))


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small contest folder: 4 cases, 5 scans; not to be changed by tests."""
    return write_tiny_contest(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def own_tiny(tmp_path: Path) -> Path:
    """As ``tiny``, but the test's own, to be broken."""
    return write_tiny_contest(tmp_path / "tiny")


@pytest.fixture
def no_orphans() -> Iterator[None]:
    """Whatever a test started here ends with it."""
    yield
    assert not multiprocessing.active_children(), "a process was left behind"
