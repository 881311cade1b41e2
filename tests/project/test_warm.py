"""Warm processes are told from new ones by nothing but their speed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.warm import PRELUDE, WarmPopen, run_warm

SAYING = "import os, sys; print(os.getcwd(), os.environ['WORD'], os.getppid(), *sys.argv[1:])"


def test_a_command_has_its_arguments_folder_environment_and_parent(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SAYING, "a", "b"]
    done = run_warm(command, cwd=tmp_path, env={**os.environ, "WORD": "x"})
    assert done.stdout.split() == [str(tmp_path), "x", str(os.getpid()), "a", "b"]
    assert (done.stderr, done.returncode) == ("", 0)


@pytest.mark.parametrize(
    ("code", "status", "said"),
    [
        ("raise SystemExit(3)", 3, ""),
        ("raise SystemExit('no')", 1, "no\n"),
        ("1 / 0", 1, "ZeroDivisionError"),
        ("raise KeyboardInterrupt", -signal.SIGINT, "KeyboardInterrupt"),
        ("import os; os.kill(os.getpid(), 9)", -signal.SIGKILL, ""),
    ],
)
def test_it_ends_as_python_does(code: str, status: int, said: str) -> None:
    done = run_warm([sys.executable, "-c", code])
    cold = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == cold.returncode == status
    assert said in done.stderr
    assert said in cold.stderr


def test_signals_reach_it_and_what_it_spawns() -> None:
    code = (
        "import multiprocessing, time\n"
        "child = multiprocessing.get_context('spawn').Process(target=time.sleep, args=(300,))\n"
        "child.start(); print(child.pid, flush=True); child.join(); print(child.exitcode)"
    )
    with WarmPopen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        os.kill(int(process.stdout.readline()), signal.SIGTERM)
        assert process.stdout.readline() == f"{-signal.SIGTERM}\n"
    assert process.returncode == 0


def test_what_this_process_spawns_is_its_child_and_ends_when_told() -> None:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_tell_parent, args=(theirs,))
    process.start()
    assert ours.recv() == os.getpid()
    process.terminate()
    process.join(20)
    assert process.exitcode == -signal.SIGTERM


def _tell_parent(pipe: multiprocessing.connection.Connection) -> None:  # type: ignore[name-defined]
    pipe.send(os.getppid())
    signal.pause()


def test_a_prelude_runs_first() -> None:
    command = [sys.executable, "-c", "import sys; print(sys.word)"]
    done = run_warm(command, env={**os.environ, PRELUDE: "import sys; sys.word = 'first'"})
    assert done.stdout == "first\n"
