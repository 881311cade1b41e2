"""The command line in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support.warm import run_warm

ROOT = Path(__file__).resolve().parents[2]


def cli(cwd: Path, *arguments: object, expect: int = 0) -> subprocess.CompletedProcess[str]:
    code = "from orchestrator.cli import main; main()"
    done = run_warm(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=cwd,
        env={
            **os.environ,
            "COLUMNS": "100",
            "PYTHONPATH": str(ROOT),
        },
        timeout=400,
    )
    assert done.returncode == expect, done.stdout + done.stderr
    return done
