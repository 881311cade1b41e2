"""Candidates of other tools: scored as our own, ranked beside them, and told apart."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from gitract_core.errors import DataError, RunError
from gitract_core.results.score_table import read_scores
from orchestrator.api.adding import AddedLine
from orchestrator.api.run import Run, open_run
from orchestrator.out_of_fold.added_masks import MaskStore
from orchestrator.report.page import page_values
from orchestrator.report.run_slices import run_index
from orchestrator.results.verification import verify_run
from orchestrator.sweeps.preparation import SweepRequest, prepare
from tests.support.other_layouts import as_slices, write_nnunet, write_volume
from tests.support.refusing import run_cli
from tests.support.rivals import (
    FORMS,
    ORGANS,
    prepared_run,
    splits_of,
    truth_of,
    worse,
    write_maps,
    write_tree,
)
from tests.support.stub_results import write_result
from tests.support.tiny_contest import CLASSES, SCANS, disc
from tests.support.tiny_sweep import prepare_tiny, tiny_space

RECORDED = Path(__file__).resolve().parents[2] / "recorded" / "nnunet_tree"
NAME = "nnU-Net 2d"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``data`` in nnU-Net's layout, and ``run`` with two candidates: not to be changed."""
    home = tmp_path_factory.mktemp("rivals")
    prepared_run(write_nnunet(home / "data"), home / "run")
    return home


@pytest.fixture
def home(made: Path, tmp_path: Path) -> Path:
    """The data set, and a copy of the run."""
    shutil.copytree(made / "run", tmp_path / "run")
    (tmp_path / "data").symlink_to(made / "data")
    return tmp_path


def tree(home: Path, maps: dict[str, np.ndarray] | None = None) -> Path:
    maps = truth_of(home / "data") if maps is None else maps
    return write_tree(home / "tree", maps, splits_of(home / "run" / "folds.json"))


def add(home: Path, predictions: Path, **options: object) -> AddedLine:
    name = str(options.pop("name", NAME))
    return open_run(home / "run").add(name, predictions, **options)  # type: ignore[arg-type]


def slice_dice(home: Path, predicted: dict[str, np.ndarray], scans: list[str]) -> float:
    """Mean Dice of rows (slice, organ), both empty skipped: a loop of its own."""
    values = []
    for scan in scans:
        truth = truth_of(home / "data")[scan]
        for value in ORGANS.values():
            for t, p in zip(
                as_slices(truth == value), as_slices(predicted[scan] == value), strict=True
            ):
                if t.any() or p.any():
                    values.append(2 * (t & p).sum() / (t.sum() + p.sum()))
    return float(np.mean(values))


def test_perfect_predictions_score_one_and_rank_first(home: Path) -> None:
    added = add(home, tree(home))
    assert added.lacking == {}
    board = open_run(home / "run").board
    assert [line.label for line in board.ranked] == [NAME, "bce", "dice"]
    assert board.ranked[0].folds() == [1.0, 1.0]
    assert added.candidate.origin == "nnU-Net tree, folds checked"


def test_scores_are_those_of_a_loop_by_hand(home: Path) -> None:
    maps = worse(truth_of(home / "data"))
    add(home, tree(home, maps))
    (line,) = open_run(home / "run").board.added
    for fold, split in enumerate(splits_of(home / "run" / "folds.json")):
        wanted = slice_dice(home, maps, split["val"])
        assert 0.5 < wanted < 0.95
        assert line.folds("dice")[fold] == pytest.approx(wanted)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_scores_of_the_tree(home: Path, form: str) -> None:
    maps = worse(truth_of(home / "data"))
    add(home, tree(home, maps))
    given = FORMS[form](home / "given", maps)
    added = add(home, given, name=f"as {form}", declared=True)
    assert added.candidate.origin == f"{form}, folds declared"
    lines = {line.label: line for line in open_run(home / "run").board.added}
    assert lines[f"as {form}"].folds() == lines[NAME].folds()
    assert lines[f"as {form}"].per_case == lines[NAME].per_case


def test_masks_are_kept_as_they_were_given(home: Path) -> None:
    maps = worse(truth_of(home / "data"))
    add(home, tree(home, maps))
    run = open_run(home / "run")
    (line,) = run.board.added
    index = run_index(run.directory.record())
    for result in line.finished:
        files = run.directory.trial(result.spec)
        store = MaskStore(files, result, index)
        for scan in (s for s in maps if s[:2] in result.per_case):
            wanted = np.stack([as_slices(maps[scan] == value) for value in ORGANS.values()])
            assert (store.masks(scan) == wanted).all()
        table = read_scores(files.scores, organs=index.organs, stamp=result.stamp(files.scores))
        assert set(table["level"]) == {"slice", "scan"}


def test_masks_of_contest_scans(tiny: Path, tmp_path: Path) -> None:
    """Slices are files of their own there: a volume has them from head to feet."""
    sweep = prepare_tiny(tiny, tmp_path / "run")
    for spec in sweep.specs:
        write_result(sweep, spec, 0.9)
    for case, day, height, width, slices in SCANS:
        for channel, organ in enumerate(CLASSES):
            mask = np.zeros((slices, height, width), np.uint8)
            mask[1:4] = disc(height, width, channel)
            file = tmp_path / "masks" / f"case{case}_day{day}_{organ}.nii.gz"
            write_volume(file, mask[::-1].transpose(2, 1, 0))
    add(tmp_path, tmp_path / "masks", declared=True)
    (line,) = open_run(tmp_path / "run").board.added
    assert line.folds() == [1.0, 1.0]


def test_predictions_without_a_mask_score_nothing(home: Path) -> None:
    maps = {scan: np.zeros_like(labels) for scan, labels in truth_of(home / "data").items()}
    add(home, tree(home, maps))
    run = open_run(home / "run", score="dice")
    (line,) = run.board.added
    assert line.folds() == [0.0, 0.0]
    assert page_values(run.directory, run.board, run.verdict)["run"]["nothing"]


def test_folds_may_be_told_by_a_table_of_patients(home: Path) -> None:
    fold_of = json.loads((home / "run" / "folds.json").read_text())["fold_of_case"]
    rows = "".join(f"{case},{'xyz'[fold]}\n" for case, fold in fold_of.items())
    (home / "folds.csv").write_text(f"patient,fold\n{rows}")
    given = write_maps(home / "given", truth_of(home / "data"))
    assert not add(home, given, folds_table=home / "folds.csv").lacking


def test_folds_of_another_order_are_found(home: Path) -> None:
    splits = splits_of(home / "run" / "folds.json")[::-1]
    write_tree(home / "tree", worse(truth_of(home / "data")), splits)
    add(home, home / "tree")
    (line,) = open_run(home / "run").board.added
    for split, result in zip(splits[::-1], line.results, strict=True):
        assert result is not None
        assert set(result.per_case) == {scan[:2] for scan in split["val"]}


def test_a_missing_scan_leaves_the_candidate_unranked(home: Path) -> None:
    predictions = tree(home)
    (gone,) = list((predictions / "fold_1" / "validation").glob("*"))[:1]
    gone.unlink()
    added = add(home, predictions)
    name = gone.name.removesuffix(".nii.gz")
    assert added.lacking == {1: f"no prediction of {name}"}
    run = open_run(home / "run")
    assert [line.label for line in run.board.ranked] == ["bce", "dice"]
    assert run.failures == {NAME: (f"fold 1: no prediction of {name}",)}
    assert f"| {NAME} | 1/2, not ranked |" in markdown(run, home)
    assert not any("added" in fault for fault in verify_run(run.directory).faults)


def markdown(run: Run, home: Path) -> str:
    run.report(markdown=home / "table.md")
    return (home / "table.md").read_text()


def test_every_report_shows_it(home: Path) -> None:
    add(home, tree(home), epoch_rule="best of\n a grid")
    run = open_run(home / "run")
    said = f"{NAME}: added, nnU-Net tree, folds checked; choice of its epochs: best of a grid"
    shown = " ".join(run_cli("report", str(home / "run")).out.split())
    assert said in shown
    assert f"1= {NAME} 1.0000 ± .0000" in shown or f"1 {NAME} 1.0000 ± .0000" in shown
    assert said in markdown(run, home)
    values = page_values(run.directory, run.board, run.verdict)
    assert any(said in note for note in values["run"]["notes"])
    assert values["leaderboard"]["rows"][0]["parameters"] is None
    assert values["run"]["trials"] == 4
    assert values["gallery"]["label"] == NAME
    assert all(2 in front["front"] and 1 not in front["front"] for front in values["cost"])
    run.report(csv=home / "table.csv")
    table = pd.read_csv(home / "table.csv").set_index("candidate")
    assert table.loc[NAME, "origin"] == "nnU-Net tree, folds checked"
    assert pd.isna(table.loc[NAME, "cost_seconds"])
    assert pd.isna(table.loc[NAME, "knob.loss"])
    assert table.loc["bce", "knob.loss"] == "bce"
    first = json.loads(run_cli("report", str(home / "run"), "--json").out)["leaderboard"][0]
    assert (first["candidate"], first["score"], first["parameters"]) == (NAME, 1.0, None)
    assert first["epoch_choice"] == {"rule": "best of a grid", "flattered_by": None}
    assert first["score_low"] <= 1.0
    letters = run.leaderboard().set_index("candidate")["letter"]
    assert letters.to_dict() == {NAME: "", "bce": "A", "dice": "B"}


def test_knobs_are_told_of_the_others_alone(home: Path) -> None:
    before = open_run(home / "run").verdict
    add(home, tree(home))
    after = open_run(home / "run").verdict
    assert before is not None
    assert after is not None
    (loss,) = after.statistics.effects
    assert {level.value: level.candidates for level in loss.levels} == {"bce": 1, "dice": 1}
    assert loss.span == pytest.approx(before.statistics.effects[0].span)
    assert after.statistics.candidates[0].name == NAME


def test_commands_find_it_by_its_name(home: Path) -> None:
    add(home, tree(home))
    row = open_run(home / "run").compare(NAME, "A").iloc[0]
    assert row["difference"] == pytest.approx(0.5, abs=0.001)
    assert (
        json.loads(run_cli("compare", str(home / "run"), NAME, "dice", "--json").out)["a"] == NAME
    )
    status = run_cli("status", str(home / "run")).out
    assert f"added: {NAME}, 2 of 2 folds scored (nnU-Net tree, folds checked)" in status
    gone = run_cli("remove", str(home / "run"), NAME, "--yes")
    assert f"removed {NAME} (added)" in gone.out
    assert open_run(home / "run").board.added == ()
    assert len(open_run(home / "run").board.ranked) == 2


def test_a_damaged_file_leaves_it_unranked_and_nothing_else(home: Path) -> None:
    folder = add(home, tree(home)).folder
    scored = next(folder.glob("*/scored.json"))
    scored.write_bytes(scored.read_bytes().replace(b'"dice": 1.0', b'"dice": 0.9', 1))
    board = open_run(home / "run").board
    assert [line.label for line in board.ranked] == ["bce", "dice"]
    assert "(changed)" in board.added[0].reasons[0]
    found = verify_run(open_run(home / "run").directory)
    assert any("scored.json" in fault for fault in found.faults)


def test_a_damaged_manifest_too(home: Path) -> None:
    folder = add(home, tree(home)).folder
    (folder / "added.json").write_text("{")
    board = open_run(home / "run").board
    assert [line.label for line in board.ranked] == ["bce", "dice"]
    assert "added.json" in board.added[0].reasons[0]
    assert run_cli("status", str(home / "run")).code == 0
    assert not verify_run(open_run(home / "run").directory).ok


def test_it_is_scored_again_by_another_score(home: Path) -> None:
    maps = worse(truth_of(home / "data"))
    add(home, tree(home, maps))
    (line,) = open_run(home / "run", score="dice").board.added
    for fold, split in enumerate(splits_of(home / "run" / "folds.json")):
        assert line.folds()[fold] == pytest.approx(slice_dice(home, maps, split["val"]))


def test_a_run_with_its_own_score_keeps_its_sums(made: Path, tmp_path: Path) -> None:
    sweep = prepared_run(made / "data", tmp_path / "run", score="0.5*dice + 0.5*hd95_mm")
    (tmp_path / "data").symlink_to(made / "data")
    add(tmp_path, tree(tmp_path))
    (line,) = open_run(tmp_path / "run").board.added
    assert line.folds() == [1.0, 1.0]
    assert not (tmp_path / "run" / "report" / "scores").exists()
    assert sweep.record.score == line.score.text


def test_a_known_epoch_rule_changes_who_is_ranked_with_whom(home: Path) -> None:
    """Our own candidates kept the epoch of the scored fold, and do not know the others'."""
    add(home, tree(home), epoch_rule="last")
    run = open_run(home / "run")
    assert [line.label for line in run.board.ranked] == [NAME]
    assert all("not known" in line.reasons[0] for line in run.board.unranked)
    assert page_values(run.directory, run.board, run.verdict)["cost"][0]["front"] == []
    assert run_cli("report", str(home / "run")).code == 0


def test_it_is_replaced_only_if_that_is_asked_for(home: Path) -> None:
    add(home, tree(home))
    with pytest.raises(RunError, match="not added yet"):
        add(home, home / "tree")
    shutil.rmtree(home / "tree")
    add(home, tree(home, worse(truth_of(home / "data"))), replace=True)
    (line,) = open_run(home / "run").board.added
    assert line.mean() < 1
    assert [f.name for f in (home / "run" / "added").iterdir()] == [NAME]


def test_what_fails_or_is_killed_leaves_the_earlier_one(home: Path) -> None:
    folder = add(home, tree(home)).folder
    before = {f.name: f.read_bytes() for f in folder.rglob("*") if f.is_file()}
    last = sorted((home / "tree" / "fold_1" / "validation").glob("*"))[-1]
    last.write_bytes(last.read_bytes()[:-20])
    with pytest.raises(DataError, match=last.name):
        add(home, home / "tree", replace=True)
    half = folder.parent / f".{NAME}.part" / "0123456789abcdef"  # as a killed one leaves it
    half.mkdir(parents=True)
    assert {f.name: f.read_bytes() for f in folder.rglob("*") if f.is_file()} == before
    assert [line.label for line in open_run(home / "run").board.added] == [NAME]
    shutil.rmtree(home / "tree")
    add(home, tree(home), name="other")
    add(home, home / "tree", replace=True)
    assert sorted(f.name for f in folder.parent.iterdir()) == [NAME, "other"]


def test_scores_of_earlier_predictions_are_not_taken(home: Path) -> None:
    """As an object store may still have them after --replace."""
    folder = add(home, tree(home)).folder
    old = {file: file.read_bytes() for file in folder.glob("*/scored.json")}
    shutil.rmtree(home / "tree" / "fold_1")
    add(home, home / "tree", replace=True)
    for file, content in old.items():
        if not file.is_file():
            file.write_bytes(content)
    (line,) = open_run(home / "run").board.added
    assert [result is None for result in line.results] == [False, True]


@pytest.mark.parametrize("name", ["3", "A", "b", "AB", "loss=bce", "", "../x", " x", "bce", "a/b"])
def test_names_that_mean_something_else_are_refused(home: Path, name: str) -> None:
    with pytest.raises(RunError, match="--name"):
        add(home, tree(home), name=name)
    assert not (home / "run" / "added").exists()


def test_a_name_that_becomes_a_label_stays_apart(home: Path) -> None:
    add(home, tree(home), name="other")
    (home / "run" / "added" / "other").rename(home / "run" / "added" / "bce")
    labels = [line.label for line in open_run(home / "run").board.lines]
    assert sorted(labels) == ["bce", "bce (added)", "dice"]


def test_repeats_take_the_folds_of_all_plans(made: Path, tmp_path: Path) -> None:
    prepared_run(made / "data", tmp_path / "run", repeats=2)
    (tmp_path / "data").symlink_to(made / "data")
    splits = splits_of(tmp_path / "run" / "folds.json") + splits_of(
        tmp_path / "run" / "folds-2.json"
    )
    write_tree(tmp_path / "tree", truth_of(made / "data"), splits)
    assert not add(tmp_path, tmp_path / "tree").lacking
    flat = write_maps(tmp_path / "maps", truth_of(made / "data"))
    declared = add(tmp_path, flat, name="flat", declared=True)
    assert declared.lacking == {2: "no predictions", 3: "no predictions"}


def test_what_nnunet_itself_wrote_is_ranked(tmp_path: Path) -> None:
    """Pixel counts are those that nnU-Net counted."""
    data = tmp_path / "data"
    shutil.copytree(RECORDED / "labelsTr", data / "labelsTr")
    for number, file in enumerate(sorted((data / "labelsTr").iterdir())):
        shape, affine = nib.load(file).shape, nib.load(file).affine
        noise = np.random.default_rng(number).integers(0, 500, shape).astype(np.uint16)
        name = file.name.replace(".nii.gz", "_0000.nii.gz")
        write_volume(data / "imagesTr" / name, noise, affine)
    shutil.copy(RECORDED / "dataset.json", data)
    sweep = prepare(SweepRequest(data, tiny_space(), tmp_path / "run", patients=r"(case\d+)_"))
    for spec in sweep.specs:
        write_result(sweep, spec, 0.9)
    done = run_cli("add", str(tmp_path / "run"), "--name", NAME, "--predictions", str(RECORDED))
    assert "rank 2 of 2" in done.out, done
    assert "nnU-Net tree, folds checked" in done.out
    run = open_run(tmp_path / "run")
    (line,) = run.board.added
    hits = 0
    for fold, result in enumerate(line.finished):
        files = run.directory.trial(result.spec)
        table = read_scores(files.scores, organs=sweep.index.organs).set_index(["id", "class"])
        said = json.loads((RECORDED / f"fold_{fold}" / "validation" / "summary.json").read_text())
        for scan in said["metric_per_case"]:
            for value, counts in scan["metrics"].items():
                row = table.loc[(scan["scan"], sweep.index.organs.names[int(value) - 1])]
                assert row["intersection_px"] == counts["TP"]
                assert row["prediction_px"] == counts["n_pred"]
                assert row["truth_px"] == counts["n_ref"]
                hits += counts["TP"]
    assert hits > 0
