"""The documentation's commands run.

Commands of README.md, docs/tutorial.md and every ``--help`` are run in the order of the page: on
the tiny data set in place of the contest's, a small space in place of ``paper``, local workers.
"""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest
from typer.core import TyperGroup
from typer.main import get_command

from gitract_core.data.folds import ORGANIZERS_BLACKLIST
from orchestrator.cli.app import app
from tests.support.clinic_files import axial_series, block, write_series
from tests.support.other_layouts import SCANS, image_of, label_map, write_nnunet, write_volume
from tests.support.pages import ROOT, commands_of
from tests.support.plugin_files import forget_plugins, no_plugins
from tests.support.refusing import run_cli
from tests.support.tiny_contest import write_tiny_contest
from tests.support.tiny_sweep import SPACE

SMALL_NETWORK = """input: {size: 32, channels: 1}
optimizer: {learning_rate: 0.01, batch_size: 4}
network: {widths: "4,8", depth: 1}
postprocess: {threshold: 0.1}
"""
SMALLER = {  # of the tutorial's space
    "folds: 5": "folds: 2",
    "epochs: 30}": "epochs: 3}\ninput: {size: 32, channels: 1}",
    "[3e-4, 1e-3]": "[1e-2, 2e-2], batch_size: 4",
    "widths: standard, depth: [4, 5]": 'widths: "4,8", depth: 1',
}


OWN_SMALLER = {  # of the space for one's own scans
    'widths: "8,16,32", depth: 2': 'widths: "4,8", depth: 1',
    "size: 64": "size: 32",
    "epochs: 12": "epochs: 2",
}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with all that the pages speak of: data set, scans of a clinic, spaces."""
    home = tmp_path
    data = write_tiny_contest(home / "uw-madison", ((30, 0, 36, 36, 6), (31, 0, 36, 36, 6)))
    shutil.copytree(data / "train" / "case7", data / "test" / "case7")
    shutil.copytree(data / "train", home / "scans")
    (home / "paper.yaml").write_text(
        SPACE.replace("dice]", "dice, dice]") + "training: {epochs: 2}\n"
    )
    (question,) = re.findall(
        r"```yaml\n(.*?)```", (ROOT / "docs/tutorial.md").read_text(), re.DOTALL
    )
    for what, smaller in SMALLER.items():
        assert question.count(what) == 1, what
        question = question.replace(what, smaller)
    (home / "question.yaml").write_text(question)
    write_nnunet(home / "liver")
    rows = [f"{scan},{scan[:2]}\n" for scan in SCANS]
    (home / "patients.csv").write_text("scan,patient\n" + "".join(rows))
    write_volume(home / "new-scans" / "p9.nii.gz", image_of(label_map()))
    (home / "lab").mkdir()
    affine = np.diag([1.5, 1.5, 3.0, 1.0])
    nibabel.save(nibabel.Nifti1Image(block(), affine), home / "lab" / "scan.nii.gz")
    write_series(home / "lab" / "series", axial_series(block()))
    return home


def run(command: str) -> None:
    """A command in this process, for each new one loads the libraries for seconds."""
    words = shlex.split(command)
    assert words.pop(0) == "gitract-cv"
    if words[0] == "sweep":
        words += ["--local"]
        words += ["--space", "paper"] if "--space" not in words else []
    ended = run_cli(*("paper.yaml" if word == "paper" else word for word in words))
    assert ended.code == 0, (command, ended)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITRACT_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    "page", ["README.md", "docs/tutorial.md", "docs/data.md", "docs/scores.md"]
)
@pytest.mark.usefixtures("home")
def test_commands_of_a_page_run_in_its_order(page: str) -> None:
    ours = [c for c in commands_of(ROOT / page) if c.startswith("gitract-cv ")]
    assert len(ours) >= 3
    if page == "docs/scores.md":  # the truth as a submission
        shutil.copy("uw-madison/train.csv", "submission.csv")
    for command in ours:
        run(command)


def test_a_plugin_as_it_is_printed_is_ranked_beside_ours(home: Path) -> None:
    """The file and the commands of docs/plugins.md; its space in small."""
    page = ROOT / "docs/plugins.md"
    blocks = re.findall(r"```(?:python|yaml)\n# (\S+)\n(.*?)```", page.read_text(), re.DOTALL)
    assert [name for name, _ in blocks] == ["mine.py", "mine.yaml"]
    (plugin, space) = (text for _, text in blocks)
    assert len(plugin.splitlines()) <= 25
    tiny = {"folds: 5": "folds: 2", "epochs: 30}": "epochs: 2}\n" + SMALL_NETWORK}
    for what, smaller in tiny.items():
        assert space.count(what) == 1, what
        space = space.replace(what, smaller)
    (home / "mine.py").write_text(plugin)
    (home / "mine.yaml").write_text(space)
    with no_plugins():
        for command in commands_of(page):
            run(command)
            forget_plugins()
    table = pd.read_csv(home / "runs/mine/report/leaderboard.csv")
    assert set(table["knob.network.family"]) == {"unet", "dilated"}
    assert set(table["knob.loss"]) == {"bce + 0.5*dice", "smooth_bce + 0.5*dice"}
    assert table["rank"].notna().all()
    assert len(list((home / "bundle/plugins").glob("*.py"))) == 1


def test_own_scans_from_nifti_to_masks(tmp_path: Path) -> None:
    page = ROOT / "docs/own-scans.md"
    (space,) = re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL)
    for what, smaller in OWN_SMALLER.items():
        assert space.count(what) == 1, what
        space = space.replace(what, smaller)
    (tmp_path / "question.yaml").write_text(space)
    ours = [c for c in commands_of(page) if c.startswith("gitract-cv ")]
    assert len(ours) == 7
    for command in ours:
        run(command.replace("--cases 9", "--cases 4"))
    assert len(list((tmp_path / "masks").glob("*_stomach.nii.gz"))) >= 1


def test_the_example_of_every_command_runs(home: Path) -> None:
    """After README's commands, whose run they refer to."""
    for command in commands_of(ROOT / "README.md")[2:5]:
        run(command)
    made = home / "runs/paper/ensembles/top3-equal"
    shutil.copy(made / "submission.csv", home / "submission.csv")
    shutil.copy(home / "uw-madison/train.csv", home / "truth.csv")
    rows = (home / "uw-madison/train.csv").read_text().splitlines(keepends=True)
    left_out = tuple(ORGANIZERS_BLACKLIST)
    (home / "oof.csv").write_text("".join(row for row in rows if not row.startswith(left_out)))
    group = get_command(app)
    assert isinstance(group, TyperGroup)
    for name, command in group.commands.items():
        example = (command.epilog or "").removeprefix("Example: ").partition(";")[0]
        assert example.startswith(f"gitract-cv {name}"), name
        if name == "remove":  # the last: an ensemble of others keeps its members
            last = example
            continue
        if name == "phantom":
            example += " --cases 2 --slices 16"
        if name == "score":  # of the test's scans; the truth is the training's
            example += " --images uw-madison/test"
            shutil.copy(made / "submission.csv", home / "submission.csv")  # predict wrote one
            rows = (home / "truth.csv").read_text().splitlines()
            kept = [row for row in rows if row.startswith(("id", "case7_"))]
            (home / "truth.csv").write_text("\n".join(kept) + "\n")
        run(example)
    shutil.rmtree(home / "runs/paper/ensembles")
    run(last)
