"""Opens a run by a path or an address: a local folder or an object store."""

from __future__ import annotations

from pathlib import Path

from gitract_core.errors import RunError
from orchestrator.storage.local_folder import LocalRun
from orchestrator.storage.remote_run import RemoteRun
from orchestrator.storage.run_storage import RunStorage
from orchestrator.sweeps.run_directory import SweepDirectory


def storage_at(path: Path) -> RunStorage:
    """Where the run lives that a path names: an object store (``s3://...``), or a local folder.

    Raises:
        RunError: the URI holds a password.
    """
    return RemoteRun.of(path) or LocalRun(path)


def existing_run(storage: RunStorage, *, bulky: bool = True) -> SweepDirectory:
    """The run directory of a run that is there, brought up to date.

    Args:
        storage: where it lives.
        bulky: whether weights and probabilities are needed.

    Raises:
        RunError: there is no run.
        StoreError: no answer.
    """
    directory = storage.pull(bulky=bulky)
    if not (directory / "sweep.json").is_file():
        remedy = "pass a directory that gitract-cv sweep made"
        raise RunError(storage.name, "a run directory (with sweep.json)", "none", remedy)
    return SweepDirectory(directory)
