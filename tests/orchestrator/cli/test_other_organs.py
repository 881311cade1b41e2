"""Two and forty organs, some of them not annotated everywhere, from sweep to submission."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gitract_core.organs import Organs
from orchestrator.out_of_fold.average_scores import OofMeter
from orchestrator.results.leaderboard import build_leaderboard
from orchestrator.sweeps.run_directory import SweepDirectory
from tests.support.command_line import cli
from tests.support.many_organs import organ_names, write_many_organs
from tests.support.tiny_report import Page

NAMES = {2: ("spleen", "kidney_left"), 40: organ_names(40)}
SPACE = """
folds: 2
loss: [bce, dice]
network: {widths: "4,8", depth: 1}
input: {size: 24, channels: 1}
optimizer: {learning_rate: 0.01, batch_size: 4}
training: {epochs: 1}
postprocess: {threshold: 0.02}
"""


@dataclass(frozen=True)
class Home:
    """A folder with ``data`` and a run of it.

    Attributes:
        path: of the folder.
        organs: of the data.
        partly: the organ that is not annotated in every second case.
    """

    path: Path
    organs: Organs
    partly: str

    @property
    def run(self) -> Path:
        return self.path / "run"


@pytest.fixture(scope="module", params=[2, 40])
def home(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Swept by one command."""
    names, path = NAMES[request.param], tmp_path_factory.mktemp("home")
    write_many_organs(path / "data", names, unknown=names[-1:])
    write_many_organs(path / "new", names, cases=1)
    (path / "new" / "train.csv").unlink()
    (path / "space.yaml").write_text(SPACE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GITRACT_CACHE", str(path / "cache"))
        cli(path, "sweep", "--local", "--data", "data", "--space", "space.yaml", "--out", "run")
    return Home(path, Organs(names), names[-1])


@pytest.fixture(autouse=True)
def cache(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITRACT_CACHE", str(home.path / "cache"))


def test_a_run_and_its_trials_name_the_organs(home: Home) -> None:
    names = list(home.organs)
    assert json.loads((home.run / "sweep.json").read_text())["organs"] == names
    results = [json.loads(file.read_text()) for file in home.run.glob("trials/*/result.json")]
    assert len(results) == 4
    for result in results:
        assert result["organs"] == names
        assert result["known"][home.partly] < 1
        assert list(result["scores"]["per_class"]) == names
        for sums in result["per_case"].values():
            assert {len(values) for values in sums.values()} == {len(names)}


def test_report_has_every_organ(home: Home, tmp_path: Path) -> None:
    done = cli(home.path, "report", "run", "--html", tmp_path / "page.html", "--json")
    first = json.loads(done.stdout)["leaderboard"][0]
    assert {f"{o}_{m}" for o in home.organs for m in ("dice", "hausdorff")} <= set(first)
    page = Page((tmp_path / "page.html").read_text())
    assert [organ["key"] for organ in page.data["run"]["organs"]] == list(home.organs)
    assert home.partly.replace("_", " ") in page.data["run"]["known"]
    assert page.data["left_out"] == []
    assert len(page.data["gallery"]["scans"]) == 4
    hidden = [
        one["unknown"]
        for scan in page.data["gallery"]["scans"]
        for one in scan["slices"]
        if scan["scan"] in ("case2_day0", "case4_day0")
    ]
    assert hidden
    assert all(places == [len(home.organs) - 1] for places in hidden)


def test_ensemble_and_prediction_write_a_row_an_organ(home: Home, tmp_path: Path) -> None:
    out = tmp_path / "submission.csv"
    arguments = ("--top", 2, "--tune", "--images", "new/train", "--out", out)
    told = json.loads(cli(home.path, "ensemble", "run", *arguments, "--json").stdout)
    assert told["faults"] == []
    assert list(told["rules"]) == list(told["pooled"]["per_class"]) == list(home.organs)
    members = Path(told["members"])
    assert json.loads((home.path / members).read_text())["organs"] == list(home.organs)
    rows = pd.read_csv(out)
    assert rows["class"].tolist() == 4 * list(home.organs)
    again = cli(home.path, "predict", members, "--images", "new/train", "--out", tmp_path / "b.csv")
    assert f"(4 slices, {4 * len(home.organs)} rows" in " ".join(again.stdout.split())
    assert (tmp_path / "b.csv").read_bytes() == out.read_bytes()
    checked = json.loads(
        cli(home.path, "check-submission", out, "--images", "new/train", "--json").stdout
    )
    assert (checked["rows"], checked["faults"]) == (len(rows), [])
    assert list(checked["summary"]) == list(home.organs)


def test_measured_anew_a_candidate_has_the_sums_of_its_trials(home: Home) -> None:
    """What is not known is left out of both."""
    run = SweepDirectory(home.run)
    (line, *_) = build_leaderboard(run).ranked
    meter = OofMeter(run, [line], [line.candidate.postprocess])
    known = meter.sums((1,))
    meter._known.clear()
    assert np.allclose(meter.sums((1,)), known)
    assert known[:, -1, 1].tolist().count(0) == 2  # cases without a row of that organ


def test_audit_leaves_out_what_nobody_annotated(home: Home, tmp_path: Path) -> None:
    done = cli(home.path, "audit", "run", "--out", tmp_path / "audit", "--pictures", 2, "--json")
    found = json.loads(done.stdout)
    assert found["known"][home.partly] == 0.5
    assert list(found["borders"]) == list(home.organs)
    slices = pd.DataFrame(found["slices"], columns=["id", "class"])
    of_partly = slices[slices["class"] == home.partly]["id"]
    assert not of_partly.str.match(r"case(2|4)_").any()
    for scan in found["scans"]:
        assert (scan["dice"][home.partly] is None) == (scan["scan"] in ("case2_day0", "case4_day0"))
    assert len(found["files"]) == 2 + 4
