"""What a process needs to see a mutant, or to note which lines it runs; standard library alone.

A copy called ``sitecustomize.py`` in a folder of ``PYTHONPATH`` serves processes that tests start:
what they do follows from the environment.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import json
import os
import sys
import threading
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

MUTANT = "MUTANT_OF_TEST"
"""Environment: JSON with ``file``, whose source is another, and ``text``, a file that holds it."""
LINES = "LINES_OF_TEST"
"""Environment: JSON with ``files``, whose lines are noted, and ``log``, the file they go to."""
TEST = "PYTEST_CURRENT_TEST"


class MutantLoader(importlib.machinery.SourceFileLoader):
    """Loads a module from another text, past all byte code on the disk."""

    def __init__(self, name: str, path: str, text: bytes) -> None:
        super().__init__(name, path)
        self.text = text

    def path_stats(self, path: Any) -> Any:
        raise OSError("no byte code is kept of it")

    def get_data(self, path: Any) -> bytes:
        return self.text if str(path) == self.path else super().get_data(path)


class MutantFinder(importlib.abc.MetaPathFinder):
    """Finds modules as ever, and gives the one of a file another source."""

    def __init__(self, file: str, text: bytes) -> None:
        self.file, self.text = os.path.realpath(file), text

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is None or not spec.origin or os.path.realpath(spec.origin) != self.file:
            return None
        spec.loader = MutantLoader(name, spec.origin, self.text)
        spec.cached = None
        return spec


class LineLog:
    """Notes once which line of some files a test runs, in this process and those forked from it.

    Lines are appended to the log as they are first met, so that a killed process loses none.
    """

    def __init__(self, files: list[str], log: str) -> None:
        self.files = {os.path.realpath(file) for file in files}
        self.log = log
        self.known: dict[CodeType, str] = {}
        self.seen: set[tuple[str, str, int]] = set()

    def start(self) -> None:
        threading.settrace(self.trace)
        sys.settrace(self.trace)

    def trace(self, frame: FrameType, event: str, argument: Any) -> Any:
        code = frame.f_code
        file = self.known.get(code)
        if file is None:
            real = os.path.realpath(code.co_filename) if code.co_filename[:1] != "<" else ""
            file = self.known[code] = real if real in self.files else ""
        return self.note if file else None

    def note(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "line":
            test = os.environ.get(TEST, "")
            place = (test, self.known[frame.f_code], frame.f_lineno)
            if place not in self.seen:
                self.seen.add(place)
                with open(self.log, "a", encoding="utf-8") as log:
                    log.write(json.dumps(place) + "\n")
        return self.note


def install() -> None:
    """Do what the environment says."""
    if MUTANT in os.environ:
        given = json.loads(os.environ[MUTANT])
        text = Path(given["text"]).read_bytes()
        sys.meta_path.insert(0, MutantFinder(given["file"], text))
    if LINES in os.environ:
        LineLog(**json.loads(os.environ[LINES])).start()


if __name__ == "sitecustomize":
    install()
