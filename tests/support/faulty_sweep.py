"""A sweep to which something is going to happen."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from orchestrator.capacity.trial_slots import Slots
from orchestrator.execution.executor import Jobs
from orchestrator.storage.local_folder import LocalRun
from orchestrator.sweeps.preparation import PreparedSweep
from tests.support.warm import WarmPopen

ROOT = Path(__file__).parent.parent.parent
SPACE = """
folds: 2
loss: bce
network: {widths: "4,8", depth: 1}
input: {size: 32, channels: 1}
optimizer: {learning_rate: 0.01, batch_size: 4}
"""


def jobs_of(sweep: PreparedSweep, retries: int = 0) -> Jobs:
    return Jobs(sweep.pending, sweep.data, LocalRun(sweep.directory.path), Slots(1), retries)


def half_written(run: Path) -> list[Path]:
    return list(run.rglob("*.part*"))


def sweep_command(home: Path, data: Path, limit_bytes: int = 0) -> subprocess.Popen[str]:
    """``gitract-cv sweep`` in a process of its own, perhaps with a limit on the size of files."""
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit_bytes}, -1)); "
    code = f"{limit if limit_bytes else ''}from orchestrator.cli import main; main()"
    arguments = ["sweep", "--local", "--data", str(data), "--space", "space.yaml", "--out", "run"]
    return WarmPopen(
        [sys.executable, "-c", code, *arguments],
        cwd=home,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "100", "PYTHONPATH": str(ROOT)},
    )


def ended(process: subprocess.Popen[str]) -> str:
    """What a command said on stderr by its end, which must come."""
    try:
        return process.communicate(timeout=250)[1]
    finally:
        process.kill()
        process.communicate()
