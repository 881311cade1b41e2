"""Processes that begin with the libraries loaded, which takes a new Python seconds of a processor.

A **nest** is a process that has loaded them and does nothing but fork: a fork of it begins where a
new Python would be once its imports are over, with a working directory, an environment and open
files of its own. It is a child of the process that asked for it, so
that signals, exit codes and the end of a parent are what they are for processes started anew.

Two kinds come out of it: commands, as ``subprocess.Popen`` starts them, and what
``multiprocessing`` spawns, in this process and in such commands. What is tested on a new Python
(what a command imports, another copy of the packages, what ``/proc`` tells) is started without it.
"""

from __future__ import annotations

import atexit
import ctypes
import fcntl
import gc
import os
import pickle
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import types
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache, partial
from multiprocessing import util
from pathlib import Path
from resource import RLIMIT_FSIZE, getrlimit, setrlimit
from typing import Any, NoReturn
from unittest.mock import patch

ROOT = Path(__file__).resolve().parents[2]
_START = "from tests.support.warm import begin; begin()"
PRELUDE = "GITRACT_TESTS_PRELUDE"
"""An environment variable: code that a command and all that it spawns run first."""
_PR_SET_CHILD_SUBREAPER = 36
_MOST_BYTES = 2**20
_MOST_FILES = 200
_SPAWN_COLD = util.spawnv_passfds  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Wanted:
    """What a fork is to be.

    Attributes:
        code: that it runs.
        arguments: after ``-c``.
        environment: all of it.
        folder: in which it begins.
        files: numbers that the files which come along have in it.
        nests: whether what it spawns begins warm as well.
        largest_file: soft and hard limit of the size of files, in bytes.
    """

    code: str
    arguments: tuple[str, ...]
    environment: dict[str, str]
    folder: str
    files: tuple[int, ...]
    nests: bool = False
    largest_file: tuple[int, int] = field(default_factory=partial(getrlimit, RLIMIT_FSIZE))


class Nest:
    """The asking end of a nest."""

    def __init__(self, door: socket.socket) -> None:
        self.door, self._turn = door, threading.Lock()

    @classmethod
    def start(cls) -> Nest:
        """A new one, a child of this process that ends with it."""
        ours, theirs = _pair()
        nothing = subprocess.DEVNULL
        process = subprocess.Popen(
            [sys.executable, "-c", _START, str(theirs.fileno())],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            pass_fds=[theirs.fileno()],
            stdin=nothing,
            stdout=nothing,  # what it cannot load it says on stderr
        )
        theirs.close()

        def end() -> None:
            ours.close()
            process.wait()

        atexit.register(end)
        return cls(ours)

    def fork(self, wanted: Wanted, files: Sequence[int]) -> int:
        """The number of a new child of this process."""
        with self._turn, _adopting():
            socket.send_fds(self.door, [pickle.dumps(wanted)], list(files))
            answer = self.door.recv(8)
        assert len(answer) == 8, "the process that forks has ended"
        return int.from_bytes(answer, "little")

    def spawn(self, path: bytes, arguments: Sequence[str], files: Sequence[int]) -> int:
        """In place of ``multiprocessing.util.spawnv_passfds``."""
        code = next((a for a in arguments if "import spawn_main" in str(a)), None)
        if code is None:  # the tracker of shared memory
            return int(_SPAWN_COLD(path, arguments, files))
        own = (0, 1, 2, *sorted({int(file) for file in files}))
        told = ("--multiprocessing-fork",)
        wanted = Wanted(code, told, dict(os.environ), os.getcwd(), own)
        with _held_open(own) as open_files:
            return self.fork(wanted, open_files)


class WarmPopen(subprocess.Popen[str]):
    """``python -c CODE ARGUMENTS``, warm."""

    def _execute_child(
        self, args: Any, executable: Any, preexec: Any, close: Any, passed: Any, cwd: Any, env: Any,
        _info: Any, _flags: Any, _shell: Any, *handles: int | Any,
    ) -> None:  # fmt: skip
        """As the library has it, but for how the process begins."""
        read, _, _, write, _, wrong = handles[:6]
        given = (read, write, wrong)
        program, dash, code, *arguments = args
        assert (program, dash) == (sys.executable, "-c")
        files = [file if file != -1 else number for number, file in enumerate(given)]
        wanted = Wanted(
            code,
            tuple(arguments),
            dict(os.environ if env is None else env),
            os.fspath(cwd or os.getcwd()),
            (0, 1, 2),
            nests=True,
        )
        try:
            self.pid = nest().fork(wanted, files)
            self._child_created = True
        finally:
            self._close_pipe_fds(*handles[:6])  # type: ignore[attr-defined]


def run_warm(
    command: list[str],
    *,
    cwd: Path | None = None,
    env: dict[str, str] | None = None,
    timeout: float = 400,
) -> subprocess.CompletedProcess[str]:
    """Such a command to its end, with what it said."""
    pipe = subprocess.PIPE
    with WarmPopen(command, cwd=cwd, env=env, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            said, wrong = process.communicate(timeout=timeout)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(command, process.returncode, said, wrong)


@cache
def nest() -> Nest:
    """That of this process."""
    return Nest.start()


@contextmanager
def warm_children() -> Iterator[None]:
    """What this process spawns begins warm."""

    def spawn(path: bytes, arguments: Sequence[str], files: Sequence[int]) -> int:
        return nest().spawn(path, arguments, files)

    with patch.object(util, "spawnv_passfds", spawn):
        yield


@contextmanager
def cold_children() -> Iterator[None]:
    """What this process spawns begins as a new Python."""
    with patch.object(util, "spawnv_passfds", _SPAWN_COLD):
        yield


def begin() -> None:
    """A nest, to its end; in each fork what that runs, to its own."""
    door = socket.socket(fileno=int(sys.argv[1]))
    signal.pthread_sigmask(signal.SIG_SETMASK, [])  # whoever starts it may hold signals back
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _load()
    gc.collect()
    gc.freeze()  # forks share memory that they do not look through
    _end(_status_of(_sit(door)))


def _status_of(code: types.CodeType) -> int:
    """Run what a fork is to run; how it ended, as Python tells it."""
    try:
        exec(code, vars(sys.modules["__main__"]))
    except SystemExit as ended:
        if ended.code is None or isinstance(ended.code, int):
            return ended.code or 0
        print(ended.code, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        traceback.print_exc()
        return -signal.SIGINT
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def _end(status: int) -> NoReturn:
    """All that Python does at its end but for taking its modules apart, which takes a second."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(ValueError):  # closed
            stream.flush()
    if status < 0:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status)


def _load() -> None:
    """What commands and workers load; it starts no threads that a fork would miss."""


def _sit(door: socket.socket) -> types.CodeType:
    while True:
        message, files, _, _ = socket.recv_fds(door, _MOST_BYTES, _MOST_FILES)
        if not message:
            os._exit(0)
        read, write = os.pipe()
        between = _fork()
        if not between:  # whose child falls to the process that asks, as it ends at once
            between = os.getpid()
            child = _fork()
            if child:
                os.write(write, child.to_bytes(8, "little"))
                os._exit(0)
            door.close()
            while os.getppid() == between:
                time.sleep(0.0005)
            return _become(pickle.loads(message), files)
        os.waitpid(between, 0)
        door.send(os.read(read, 8))
        for file in (read, write, *files):
            os.close(file)


def _become(wanted: Wanted, files: list[int]) -> types.CodeType:
    own = None
    if wanted.nests:
        own, theirs = _pair()
        if not _fork():
            own.close()
            for file in files:
                os.close(file)
            return _sit(theirs)
        theirs.close()
    _open_as(files, wanted.files, own)
    os.environ.clear()
    os.environ.update(wanted.environment)
    os.chdir(wanted.folder)
    setrlimit(RLIMIT_FSIZE, wanted.largest_file)
    _forget()
    exec(wanted.environment.get(PRELUDE, ""), {})
    sys.argv = ["-c", *wanted.arguments]
    sys.modules["__main__"] = types.ModuleType("__main__")
    if own:
        util.spawnv_passfds = Nest(own).spawn  # type: ignore[assignment]
    return compile(wanted.code, "<string>", "exec")


def _open_as(files: list[int], numbers: tuple[int, ...], kept: socket.socket | None) -> None:
    """Give files their numbers and close all others."""
    beyond = max((*numbers, 2)) + 1
    if kept:
        door = fcntl.fcntl(kept.detach(), fcntl.F_DUPFD_CLOEXEC, beyond)
        kept.__init__(fileno=door)  # type: ignore[misc]
    moved = [fcntl.fcntl(file, fcntl.F_DUPFD, beyond) for file in files]
    for file, number in zip(moved, numbers, strict=True):
        os.dup2(file, number)
    keep = {*numbers, kept.fileno() if kept else -1}
    for name in os.listdir("/proc/self/fd"):
        if int(name) not in keep:
            with suppress(OSError):  # the list's own
                os.close(int(name))


def _forget() -> None:
    """What a new Python would not have, or have otherwise."""
    import numpy as np

    signal.signal(signal.SIGINT, signal.default_int_handler)
    random.seed()
    np.random.seed()  # noqa: NPY002 (whoever uses it, each process its own)
    tempfile.tempdir = None


def _fork() -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # linear algebra has idle threads
        return os.fork()


def _pair() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


@contextmanager
def _adopting() -> Iterator[None]:
    """Children of a child that ends fall to this process; at all other times to the system."""
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        libc.prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


@contextmanager
def _held_open(numbers: Sequence[int]) -> Iterator[list[int]]:
    """Files by their numbers; nothing in place of those that are closed."""
    nothing = os.open(os.devnull, os.O_RDWR)
    found = []
    for number in numbers:
        try:
            os.fstat(number)
        except OSError:
            number = nothing
        found.append(number)
    try:
        yield found
    finally:
        os.close(nothing)
