"""Half-written files of writers that were killed, and of those that are at it."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gitract_core.files import leftovers
from gitract_core.files.atomic import replacing, write_bytes
from gitract_core.files.leftovers import remove_leftovers

ROOT = Path(__file__).resolve().parents[3]
WRITER = """
import sys
from pathlib import Path
from gitract_core.files.atomic import replacing
with replacing(Path(sys.argv[1])) as part:
    part.write_bytes(b"half")
    print("writing", flush=True)
    input()
"""


def parts(folder: Path) -> list[Path]:
    return sorted(folder.glob(".*.part"))


def test_the_next_writer_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as writer:
        assert writer.stdout
        assert writer.stdout.readline() == b"writing\n"
        write_bytes(file, b"other")
        (left,) = parts(tmp_path)
        assert left.read_bytes() == b"half", "its writer lives"
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        write_bytes(tmp_path / "history.csv", b"another file")
        assert parts(tmp_path) == [left], "it is not this writer's to remove"
        write_bytes(file, b"whole")
    assert parts(tmp_path) == []
    assert file.read_bytes() == b"whole"


def test_a_failed_writer_leaves_nothing(tmp_path: Path) -> None:
    def interrupted() -> None:
        with replacing(tmp_path / "a") as part:
            part.write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_a_new_file_taken_for_a_leftover_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between its making and its lock another writer may look."""
    lock, seen = fcntl.flock, list[int]()

    def late(file: int, how: int) -> None:
        if not seen and how == fcntl.LOCK_EX:
            seen.append(file)
            remove_leftovers(tmp_path)
        lock(file, how)

    monkeypatch.setattr(leftovers.fcntl, "flock", late)
    write_bytes(tmp_path / "a", b"whole")
    assert seen
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_without_locks_only_old_files_are_nobodys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: object) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(leftovers.fcntl, "flock", none)
    for name in (".a.new.part", ".a.old.part"):
        (tmp_path / name).write_bytes(b"half")
    os.utime(tmp_path / ".a.old.part", (time.time() - 10**6,) * 2)
    write_bytes(tmp_path / "a", b"whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".a.new.part", "a"]
