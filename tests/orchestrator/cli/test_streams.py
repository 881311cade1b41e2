"""Commands whose readers leave, whose output does not fit, and terminals that can do little."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from orchestrator.cli.terminal.streams import Outlet
from tests.support.tiny_sweep import SPACE
from tests.support.warm import WarmPopen

ROOT = Path(__file__).resolve().parents[3]
MAIN = "from orchestrator.cli import main; main()"
LINE = "gitract-cv: standard output: expected room to write, got No space left on device; "
SWEEP = ("sweep", "--local", "--space", "space.yaml", "--out", "run", "--no-tensorboard")


def command(
    home: Path, *arguments: object, before: str = "", **streams: int
) -> subprocess.CompletedProcess[str]:
    """A command, perhaps after other code, with its streams as they are given."""
    columns = {"COLUMNS": "100"} if "COLUMNS" not in os.environ else {}
    with WarmPopen(
        [sys.executable, "-c", before + MAIN, *map(str, arguments)],
        cwd=home,
        env={**os.environ, **columns, "PYTHONPATH": str(ROOT)},
        text=True,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams},  # type: ignore[arg-type]
    ) as process:
        said, wrong = process.communicate(timeout=200)
    return subprocess.CompletedProcess([], process.returncode, said, wrong)


@contextmanager
def nobody_reads() -> Iterator[int]:
    """A pipe whose reader has gone."""
    reading, writing = os.pipe()
    os.close(reading)
    yield writing
    os.close(writing)


@pytest.fixture(scope="module")
def swept(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run whose sweep nobody listened to."""
    home = tmp_path_factory.mktemp("home")
    (home / "space.yaml").write_text(
        SPACE.replace("[bce, bce + dice]", "bce") + "training: {epochs: 1}"
    )
    with nobody_reads() as writing:
        done = command(home, *SWEEP, "--data", tiny, stdout=writing)
    assert done.returncode == 0, done.stderr
    assert "2/2" in done.stderr
    return home


def test_a_sweep_trains_though_its_reader_has_gone(swept: Path) -> None:
    assert len(list((swept / "run/trials").glob("*/result.json"))) == 2
    assert (swept / "run/report").is_dir()


@pytest.mark.parametrize(
    "arguments", [("report", "run"), ("report", "run", "--json"), ("status", "run"), ("--help",)]
)
def test_other_commands_end_quietly_without_a_reader(swept: Path, arguments: tuple[str]) -> None:
    with nobody_reads() as writing:
        done = command(swept, *arguments, stdout=writing)
        assert (done.returncode, done.stderr) == (0, "")
        done = command(swept, *arguments, stdout=writing, stderr=writing)
        assert done.returncode == 0


def test_output_that_does_not_fit_is_one_line_and_exit_code_1(swept: Path, tiny: Path) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        for arguments in (("report", "run"), ("report", "run", "--json"), ("status", "--help")):
            done = command(swept, *arguments, stdout=full)
            assert done.returncode == 1
            assert done.stderr == f"{LINE}free some space, or send it elsewhere\n"
        done = command(swept, *SWEEP, "--data", tiny, stdout=full)
    finally:
        os.close(full)
    assert done.returncode == 1
    assert done.stderr.count(LINE) == 1


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_streams_of_other_encodings_get_the_nearest_characters(swept: Path, encoding: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": f"{encoding}:strict"}
    said = []
    for arguments in (["report", "run"], ["sweep", "--help"]):
        done = subprocess.run(
            [sys.executable, "-c", MAIN, *arguments],
            cwd=swept,
            env=environment,
            capture_output=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, b"")
        said.append(done.stdout.decode(encoding))
    assert ("score ~ sd" if encoding == "ascii" else "score \u00b1 sd") in said[0]


@pytest.mark.parametrize("columns", ["0", "10", "wide"])
def test_terminals_that_tell_no_width(
    swept: Path, columns: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    done = command(swept, "report", "run")
    assert (done.returncode, done.stderr) == (0, "")
    assert "candidate ranked by mean score over 2 folds" in done.stdout.splitlines()[0]
    assert "COMMAND [ARGS]" in command(swept, "--help").stdout


def test_closed_streams_are_nowhere(swept: Path) -> None:
    """Else files of a run would get their numbers."""
    python = [sys.executable, "-c", MAIN, "report", "run", "--csv", "table.csv"]
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *python],
        cwd=swept,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == 0
    assert "score" in (swept / "table.csv").read_text().splitlines()[0]


def test_names_that_are_not_utf8(swept: Path, tiny: Path) -> None:
    name = "gr\udcf6\udcdfe"
    for arguments in (
        (*SWEEP[:-3], "--out", name, "--data", tiny),
        (*SWEEP, "--data", name),
        ("plan", "--local", "--space", "space.yaml", "--data", tiny, "--out", name),
        ("phantom", name),
    ):
        done = command(swept, *arguments)
        assert done.returncode == 2
        (line,) = done.stderr.strip().splitlines()
        assert "gr\\xf6\\xdfe" in line
        assert not (swept / name).exists()
    (swept / "run").rename(swept / name)  # made by somebody else, or renamed
    try:
        done = command(swept, "report", name, "--html", f"{name}.html", "--csv", f"{name}.csv")
        assert (done.returncode, done.stderr) == (0, "")
        assert "gr\\xf6\\xdfe.csv" in done.stdout
        assert json.loads(command(swept, "report", name, "--json").stdout)["leaderboard"]
        images = tiny / "train/case7"
        done = command(
            swept, "ensemble", name, "--top", 1, "--images", images, "--out", f"{name}.s"
        )
        assert done.stderr == ""
        assert (swept / f"{name}.s").is_file()
    finally:
        (swept / name).rename(swept / "run")


def test_event_files_that_the_disk_refuses_are_exit_code_1(swept: Path, tiny: Path) -> None:
    (swept / "run/tensorboard").write_text("where a folder should be made")
    try:
        done = command(swept, *SWEEP[:-1], "--data", tiny)
    finally:
        (swept / "run/tensorboard").unlink()
    assert done.returncode == 1
    assert "TensorBoard: expected a tracker that answers" in done.stderr
    assert "2 of them are finished already" in done.stdout


def test_a_pipe_that_is_full_for_now_is_waited_for() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    outlet, sent = Outlet(writing, "a pipe"), b"x" * 200_000
    assert outlet.write(sent) < len(sent)
    filled = os.read(reading, 200_000)
    assert outlet.write(b"y") == 1
    assert os.read(reading, 10) == b"y"
    assert set(filled) == {ord("x")}
    os.close(reading)
    assert outlet.write(b"z") == 1
    assert outlet.fault is None
    os.close(writing)
