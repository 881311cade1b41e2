"""What every refusal has in common: one line, exit code 2, nothing written, little memory."""

from __future__ import annotations

import contextlib
import hashlib
import io
import re
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from unittest.mock import patch

import typer.main

from orchestrator.cli import main

_built = cache(typer.main.get_command)  # a new process builds its commands once, too
_MOST_BYTES = 200 * 2**20  # of this process beyond what it had, while a bad file is read


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


def run_cli(*arguments: str) -> Ended:
    """A command in this process; whatever it raises is the test's."""
    out, err = io.StringIO(), io.StringIO()
    with (
        patch.object(sys, "argv", ["gitract-cv", *arguments]),
        patch.object(typer.main, "get_command", _built),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
            code = 0
        except SystemExit as ended:
            code = int(ended.code or 0)
    return Ended(code, out.getvalue(), err.getvalue())


def refused(home: Path, command: str | list[str], *, naming: str) -> str:
    """Assert that a command refuses its input as it should; returns the line that it says."""
    before = snapshot(home)
    resident = _resident_bytes("VmRSS")
    _forget_the_peak()
    ended = run_cli(*(command.split() if isinstance(command, str) else command))
    peak = _resident_bytes("VmHWM") - resident
    lines = ended.err.strip().splitlines()
    assert ended.code == 2, ended
    assert len(lines) == 1, ended.err
    assert naming in lines[0]
    assert ": expected " in lines[0]
    assert ", got " in lines[0]
    assert "; " in lines[0]
    assert len(lines[0]) < 2500
    assert "Traceback" not in ended.err
    assert snapshot(home) == before, "partial output"
    assert peak < _MOST_BYTES, f"{peak / 2**20:.0f} MiB"
    return lines[0]


def _resident_bytes(name: str) -> int:
    """``VmRSS``: memory of this process now; ``VmHWM``: its peak. Native libraries' too; Linux."""
    found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return 1024 * int(found[1])


def _forget_the_peak() -> None:
    """From here on the peak is a new one; where the system forbids it, that of the process."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def told_or_refused(home: Path, command: str, *, naming: str) -> Ended:
    """As ``refused``, for damage that a command may also do without noticing: no traceback."""
    ended = run_cli(*command.split())
    assert ended.code in (0, 1, 2), ended
    if ended.code == 2:
        assert len(ended.err.strip().splitlines()) == 1, ended.err
        assert naming in ended.err
    return ended


def snapshot(home: Path) -> dict[str, str]:
    """Every file below a folder and the hash of its content."""
    files = (p for p in home.rglob("*") if p.is_file() and not p.is_symlink())
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}
