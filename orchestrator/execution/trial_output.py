"""Writes what a trial's process prints to the trial's log.

``RUN/trials/<key>/trial.log`` gets everything that the process writes to its standard output and
error while an attempt runs: prints, warnings, tracebacks, and what native libraries and the fault
handler say. Each attempt begins and ends with a marked line. Executors capture in their worker
processes; ``attempt`` itself, as tests and notebooks call it, leaves the terminal alone.
"""

from __future__ import annotations

import contextlib
import dataclasses
import faulthandler
import os
import re
import socket
import sys
from collections.abc import Generator, Iterator
from datetime import datetime
from pathlib import Path

from gitract_core.spec import TrialSpec
from orchestrator.execution.executor import Jobs, TrialEvent, attempt
from orchestrator.sweeps.trial_log import MARK, NAME, tail

LARGEST_BYTES = 2**20  # looked at after every epoch; the older half goes
_NUMBER = re.compile(rb"^=== attempt (\d+) ", re.MULTILINE)
_STREAMS = (1, 2)  # descriptors of standard output and error


def logged_attempt(spec: TrialSpec, jobs: Jobs) -> Generator[TrialEvent, None, None]:
    """As ``attempt``, in a worker process: what it prints goes to the trial's log."""
    log = jobs.files(spec.key).directory / NAME
    jobs.storage.fetch_longer(f"trials/{spec.key}/{NAME}")  # after attempts elsewhere
    with captured(log, jobs.slots.device) as lack:
        for event in attempt(spec, jobs, _unsaid if lack else _say):
            if event.kind == "epoch":
                shorten(log)
                yield event
        if lack and event.kind == "finished":
            event = dataclasses.replace(event, message=f"done without its log; {lack}")
        elif not lack:
            _say_how_it_ended(event)
            shorten(log)
    jobs.storage.collect_file(f"trials/{spec.key}/{NAME}")
    yield event  # outside: what the executor prints from here on is not the trial's


@contextlib.contextmanager
def captured(log: Path, device: str) -> Iterator[str]:
    """Send this process's standard output and error to the end of ``log`` within the block.

    A log that cannot be opened is done without: a trial does not fail for want of it. The block is
    given why, in one line; else it is given an empty text.
    """
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        header = _header(log, device)
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    except OSError as error:
        yield f"{error.filename or log}: {error.strerror}"
        return
    _flush()
    kept = [os.dup(stream) for stream in _STREAMS]
    for stream in _STREAMS:
        os.dup2(file, stream)
    os.close(file)
    had_handler = faulthandler.is_enabled()
    faulthandler.enable(_STREAMS[1])  # a crash in native code leaves its stack in the log
    try:
        with contextlib.suppress(OSError):
            os.write(_STREAMS[1], header.encode())
        yield ""
    finally:
        _flush()
        if not had_handler:
            faulthandler.disable()
        for stream, before in zip(_STREAMS, kept, strict=True):
            os.dup2(before, stream)
            os.close(before)


def shorten(log: Path, largest: int = LARGEST_BYTES) -> None:
    """Keep the newer half of a log that has grown beyond ``largest`` bytes."""
    with contextlib.suppress(OSError):
        if log.stat().st_size <= largest:
            return
        _flush()
        kept = tail(log, largest // 2).partition(b"\n")[2]
        with log.open("r+b") as file:  # in place: descriptors that append stay valid
            file.write(f"{MARK}the lines before were removed\n".encode() + kept)
            file.truncate()


def _header(log: Path, device: str) -> str:
    before = [0, *map(int, _NUMBER.findall(tail(log, LARGEST_BYTES)))]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES") if device == "cuda" else None
    where = device if visible is None else f"{device} {visible}"
    now = datetime.now().astimezone().isoformat(timespec="seconds")
    place = f"host {socket.gethostname()}, pid {os.getpid()}, {where}"
    return f"{MARK}attempt {before[-1] + 1} {now}, {place}\n"


def _say(line: str) -> None:
    with contextlib.suppress(OSError):
        _flush()
        os.write(_STREAMS[1], f"{MARK}{line}\n".encode())


def _unsaid(line: str) -> None:
    """Where there is no log: the terminal is not the place for its lines."""


def _say_how_it_ended(event: TrialEvent) -> None:
    """Our own errors say all in one line; others leave their traceback."""
    with contextlib.suppress(OSError):
        _flush()
        detail = "" if event.fault in ("", "diverged", "refused") else event.detail
        text = f"{detail}{MARK}{event.kind}{': ' * bool(event.message)}{event.message}\n"
        os.write(_STREAMS[1], text.encode())


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
