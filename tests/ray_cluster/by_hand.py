"""The commands of a page's section, run as they stand there but for names of hosts and paths."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.support.deploy_pages import shell_lines
from tests.support.waiting import wait_until

ROOT = Path(__file__).resolve().parent.parent.parent
_STARTED = "will now block forever"


def blocks(page: Path, section: str) -> list[str]:
    """What stands after ``$`` in each console of a section."""
    text = page.read_text().partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    found = re.findall(r"```console\n(.*?)```", text, re.DOTALL)
    return ["\n".join(line.removeprefix("$ ") for line in shell_lines(block)) for block in found]


def substituted(block: str, names: Mapping[str, str]) -> str:
    """A block with other names; each of those that stand in it."""
    for name, here in names.items():
        block = block.replace(name, here)
    return block


class Home:
    """A user's home and Ray's folder, both our own; every process started here is known by them.

    Sockets need short paths, hence ``ray``.
    """

    def __init__(self, home: Path, ray: Path) -> None:
        self.home, self.ray = home, ray
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "GITRACT_"))}
        programs = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        self.variables = {
            **kept,
            "PATH": programs,
            "HOME": str(home),
            "RAY_TMPDIR": str(ray),
            "PYTHONPATH": str(ROOT),
            "COLUMNS": "120",
            "RAY_USAGE_STATS_REPORT_URL": "http://127.0.0.1:9/",
        }
        self.shells: list[subprocess.Popen[str]] = []

    def run(self, block: str) -> subprocess.CompletedProcess[str]:
        """A block as a shell runs it, to its end, which must be a good one."""
        shell = self.begin(block)
        said, wrong = shell.communicate(timeout=400)
        assert shell.returncode == 0, said + wrong
        return subprocess.CompletedProcess(block, 0, said, wrong)

    def begin(self, block: str, **more: str) -> subprocess.Popen[str]:
        """A shell that runs a block, in a process group of its own."""
        shell = subprocess.Popen(
            ["bash", "-ec", block],
            cwd=self.home,
            env={**self.variables, **more},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.shells.append(shell)
        return shell

    def start_node(self, block: str) -> None:
        """Run a block that starts a node and stays; returns when the node is up."""
        log = self.home / f"node{len(self.shells)}.log"
        log.touch()
        shell = self.begin(f"exec > {log} 2>&1\n{block}")
        wait_until(lambda: _STARTED in log.read_text() or shell.poll() is not None)
        assert shell.poll() is None, log.read_text()

    def processes(self) -> list[int]:
        """All processes with this environment that live."""
        mark = f"RAY_TMPDIR={self.ray}".encode()
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):  # ended meanwhile
                if entry.name.isdecimal() and mark in (entry / "environ").read_bytes().split(b"\0"):
                    state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
                    found += [int(entry.name)] * (state != "Z")
        return found

    def end(self) -> None:
        """End what was started here: gently, then not.

        The shell of a node has become ``ray start``, which ends its processes if it lives.
        """
        for shell in reversed(self.shells):
            if shell.poll() is None:
                shell.terminate()
        with contextlib.suppress(AssertionError):
            wait_until(lambda: not self.processes(), 20)
        for process in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        for shell in self.shells:
            shell.communicate(timeout=20)
