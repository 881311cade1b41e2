"""``--score`` of sweep, plan, report and score, as people type it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from gitract_core.data import rle
from gitract_core.data.slices import SliceIndex
from gitract_core.data.volumes import scan_masks
from gitract_core.errors import GitractError
from gitract_core.metrics.scan_score import score_scan
from gitract_core.metrics.score_expression import parse_score
from gitract_core.metrics.surfaces.distances import InMillimeters
from gitract_core.organs import CONTEST
from orchestrator.api.options import SweepOptions
from orchestrator.cli.main import app
from orchestrator.sweeps.preparation import check
from orchestrator.sweeps.registration import Registration
from tests.support.command_line import cli
from tests.support.tiny_sweep import SPACE

MIXED = "0.4*dice[stomach=2] + 0.6*hd95_mm"


@pytest.fixture(scope="module")
def tables(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A truth without sizes, and a prediction that is two pixels off, in the scans' order."""
    folder = tmp_path_factory.mktemp("tables")
    truth = pd.read_csv(tiny / "train.csv", keep_default_na=False)
    truth.to_csv(folder / "truth.csv", index=False)
    index = SliceIndex.from_directory(tiny).table.set_index("id")
    moved = []
    for row in truth.itertuples():
        size = index.loc[row.id]
        mask = np.roll(rle.decode(row.segmentation, size["height"], size["width"]), 2, axis=1)
        moved.append(rle.encode(mask))
    predicted = truth.drop(columns="segmentation").assign(predicted=moved)
    predicted.to_csv(folder / "prediction.csv", index=False)
    return folder


def reckoned(tiny: Path, text: str) -> float:
    index, measure = SliceIndex.from_directory(tiny), parse_score(text, CONTEST)
    total = np.zeros(len(measure.columns))
    for scan in index.scans:
        truth = scan_masks(index.rows_of_scan(scan), organs=CONTEST)
        asked = InMillimeters((3.0, 1.5, 1.5), measure.needs)
        found = score_scan(np.roll(truth, 2, axis=3), truth, in_mm=asked)
        total += measure.count(found).sum(axis=0)
    return float(measure.of(total))


@pytest.mark.parametrize("text", ["dice", MIXED, "surface_dice@2mm"])
def test_a_submission_is_scored_by_any_score(tables: Path, tiny: Path, text: str) -> None:
    files = [str(tables / "prediction.csv"), str(tables / "truth.csv")]
    given = ["score", *files, "--score", text, "--images", str(tiny / "train")]
    values = json.loads(CliRunner().invoke(app, [*given, "--json"]).stdout)
    assert values["score"] == pytest.approx(reckoned(tiny, text), abs=1e-12)
    assert values["measure"] == text
    assert values["scans"] == 5
    assert set(values["per_class"]) == set(CONTEST)
    shown = CliRunner().invoke(app, given).stdout
    assert f"{values['score']:.4f}".removeprefix("0") in shown
    assert "over scans" in shown


def test_spacings_come_from_the_truth_or_the_images(tables: Path, tiny: Path) -> None:
    index = SliceIndex.from_directory(tiny).table[["id", "height", "width"]]
    truth = pd.read_csv(tables / "truth.csv", keep_default_na=False).merge(index, on="id")
    truth.to_csv(tables / "sized.csv", index=False)
    given = ["score", str(tables / "prediction.csv"), str(tables / "sized.csv"), "--json"]
    by_dice = CliRunner().invoke(app, [*given, "--score", "dice"])
    assert by_dice.exit_code == 0  # needs no millimeters
    refused = CliRunner().invoke(app, [*given, "--score", "hd95_mm"])
    assert "expected columns height, width, spacing_y_mm and spacing_x_mm" in str(refused.exception)
    wide = truth.assign(spacing_y_mm=1.5, spacing_x_mm=1.5, spacing_z_mm=3.0)
    wide.to_csv(tables / "sized.csv", index=False)
    same = json.loads(CliRunner().invoke(app, [*given, "--score", MIXED]).stdout)
    assert same["score"] == pytest.approx(reckoned(tiny, MIXED), abs=1e-12)
    wide.assign(spacing_x_mm=0).to_csv(tables / "sized.csv", index=False)
    refused = CliRunner().invoke(app, [*given, "--score", MIXED])
    assert "expected a spacing above 0 mm, got '0'" in str(refused.exception)


def test_options_of_the_contest_do_not_go_with_another_score(tables: Path) -> None:
    files = [str(tables / "prediction.csv"), str(tables / "truth.csv")]
    found = CliRunner().invoke(app, ["score", *files, "--score", "dice", "--empty", "one"])
    assert "expected no option of the contest's score" in str(found.exception)


def test_a_sweep_records_the_score_and_registers_it(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(GitractError, match="did you mean 'hd95_mm'"):
        SweepOptions(score="hd95")
    asked = SweepOptions(
        data=tiny, space={"loss": "bce"}, folds=2, out=tmp_path / "run", score=MIXED
    )
    found = check(asked.request("gitract-cv sweep"))
    assert found.record.score == MIXED
    assert Registration.of(found.record, found.record.candidates, 0.01).score == (
        "0.4 volume Dice (stomach x 2) over scans + "
        "0.6 HD95 score (limit the volume's diagonal) over scans"
    )
    wrong = SweepOptions(
        data=tiny, space={"loss": "bce"}, folds=2, out=tmp_path / "run", score="dice[x=2]"
    )
    with pytest.raises(GitractError, match="an organ of the data set, got 'x'"):
        check(wrong.request("gitract-cv sweep"))


def test_bad_scores_end_with_one_line(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "space.yaml").write_text(SPACE)
    place = ("--data", tiny, "--space", "space.yaml")
    for command in (("sweep", *place), ("plan", *place)):
        ended = cli(tmp_path, *command, "--score", "0.4*dice + 0.4*hd95_mm", expect=2)
        assert ended.stderr == (
            "gitract-cv: score '0.4*dice + 0.4*hd95_mm', position 1: expected factors that add up "
            "to 1, got 0.8; write '0.5*dice + 0.5*hd95_mm'\n"
        )
    assert not (tmp_path / "runs").exists()
