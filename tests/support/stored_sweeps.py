"""Sweeps whose run lies in an object store, in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support import tiny_sweep
from tests.support.s3_server import Server, names, system
from tests.support.waiting import wait_until
from tests.support.warm import WarmPopen, run_warm

SPACE = tiny_sweep.SPACE + "training: {epochs: 3}\n"


ROOT = Path(__file__).resolve().parents[2]


def command(*arguments: str) -> list[str]:
    code = "from orchestrator.cli import main; main()"
    return [sys.executable, "-c", code, *arguments]


def run(*arguments: str, cache: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    if cache:
        environment["GITRACT_CACHE"] = str(cache)
    return run_warm(command(*arguments), env=environment)


def sweep(data: Path, tmp_path: Path, *more: str, out: str = "s3://bucket/runs/a") -> list[str]:
    space = tmp_path / "space.yaml"
    space.write_text(SPACE)
    flags = ["--data", str(data), "--space", str(space), "--out", out, "--local", "--json"]
    return ["sweep", *flags, *more]


def started_sweep(arguments: list[str], cache: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "GITRACT_CACHE": str(cache)}
    quiet = subprocess.DEVNULL
    return WarmPopen(command(*arguments), env=environment, stdout=quiet, stderr=quiet)


def wait_for(server: Server, ending: str, process: subprocess.Popen[Any], count: int = 1) -> None:
    def stored() -> bool:
        assert process.poll() is None, f"no {ending}"
        try:
            return sum(name.endswith(ending) for name in names(server, "runs/a")) >= count
        except FileNotFoundError:
            return False

    wait_until(stored)


def text(server: Server, name: str) -> str:
    """A file of the run ``a``, as the store has it."""
    with system(server).open_input_stream(f"bucket/runs/a/{name}") as stream:
        return bytes(stream.read()).decode()


def stored(server: Server, name: str) -> dict[str, Any]:
    """A JSON file of the run ``a``, as the store has it."""
    found: dict[str, Any] = json.loads(text(server, name))
    return found
