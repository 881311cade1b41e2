"""CONTRIBUTING.md's promise: a loss, a network and a knob are one file each, nothing else."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from gitract_core.errors import RunError
from gitract_core.results.trial_result import TrialFiles, TrialResult

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGES = ("gitract_core", "orchestrator", "search_spaces")
SPACE = """
folds: 2
loss: brier + 0.5*dice
network: {family: one_layer, widths: "4,8", depth: 1}
input: {size: 32, channels: 1}
optimizer: {learning_rate: 0.01, batch_size: 4, warmup: [0, 1]}
training: {epochs: 2}
"""


def blocks(language: str) -> list[str]:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def add(copy: Path) -> list[str]:
    """Write what CONTRIBUTING.md shows; the files that were touched."""
    touched = []
    for code in blocks("python"):
        name = code.splitlines()[0].removeprefix("# ")
        assert not (copy / name).exists()
        (copy / name).write_text(code)
        touched.append(name)
    (diff,) = blocks("diff")
    name = diff.splitlines()[1].removeprefix("+++ b/")
    (copy / name).write_text(changed((copy / name).read_text(), diff))
    return [*touched, name]


def changed(text: str, diff: str) -> str:
    """A diff without line numbers: each piece must stand in the file exactly once."""
    for piece in re.split(r"^@@.*\n", diff, flags=re.MULTILINE)[1:]:
        lines = piece.splitlines()
        old = "\n".join(line[1:] for line in lines if line[:1] != "+")
        new = "\n".join(line[1:] for line in lines if line[:1] != "-")
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("copy")
    for package in PACKAGES:
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, copy / package, ignore=ignore)
    return copy


def cli(copy: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from orchestrator.cli import main; main()", *map(str, arguments)],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy)},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )


def test_a_loss_a_network_and_a_knob_are_one_file_each(tiny: Path, copy: Path) -> None:
    (copy / "mine.yaml").write_text(SPACE)
    sweep = ("sweep", "--local", "--data", tiny, "--space", "mine.yaml")
    before = cli(copy, *sweep)
    assert before.returncode == 2
    assert "warmup" in before.stderr
    assert len(add(copy)) == 3
    done = cli(copy, *sweep)
    assert done.returncode == 0, done.stdout + done.stderr
    table = pd.read_csv(copy / "runs/mine/report/leaderboard.csv")
    assert sorted(table["candidate"]) == ["warmup 0", "warmup 1"]
    assert set(table["knob.network.family"]) == {"one_layer"}
    assert set(table["parameters"]) == {3 * (1 + 1)}
    assert set(table["knob.loss"]) == {"brier + 0.5*dice"}
    assert table["folds"].tolist() == ["2/2", "2/2"]
    rates = {}
    for file in sorted((copy / "runs/mine/trials").glob("*/history.csv")):
        rates[tuple(pd.read_csv(file)["learning_rate"].round(6))] = file
    assert set(rates) == {(0.01, 0.01), (0.005, 0.01)}
    unused, used = (TrialFiles(rates[r].parent).result for r in ((0.01, 0.01), (0.005, 0.01)))
    assert TrialResult.load(unused).spec.key == unused.parent.name, "as if there were no such knob"
    with pytest.raises(RunError, match=r"got knob optimizer\.warmup; update gitract-cv"):
        TrialResult.load(used)
