"""Other tools' predictions that are faulty, leak, or are of other data are refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from tests.support.other_layouts import AFFINE, SHAPE, write_nnunet, write_volume
from tests.support.refusing import refused
from tests.support.rivals import (
    prepared_run,
    splits_of,
    truth_of,
    write_maps,
    write_masks,
    write_probabilities,
    write_table,
    write_tree,
)

Damage = Callable[[Path], None]


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``data``, ``run`` and good predictions: ``tree``, ``maps``, ``masks``, ``table``, ``npz``."""
    home = tmp_path_factory.mktemp("given")
    prepared_run(write_nnunet(home / "data"), home / "run")
    truth = truth_of(home / "data")
    write_tree(home / "tree", truth, splits_of(home / "run" / "folds.json"))
    for write, name in (
        (write_maps, "maps"),
        (write_masks, "masks"),
        (write_table, "table"),
        (write_probabilities, "npz"),
    ):
        write(home / name, truth)
    return home


@pytest.fixture
def own(given: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, and the working directory."""
    shutil.copytree(given, tmp_path / "own")
    monkeypatch.chdir(tmp_path / "own")
    return tmp_path / "own"


def change_splits(change: Callable[[list[dict[str, list[str]]]], object]) -> Damage:
    def damage(home: Path) -> None:
        file = home / "tree" / "splits_final.json"
        values = json.loads(file.read_text())
        change(values)
        file.write_text(json.dumps(values))

    return damage


def of_patient(split: dict[str, list[str]], start: str) -> list[str]:
    return [scan for scan in split["train"] + split["val"] if scan.startswith(start)]


def split_the_first_patient(splits: list[dict[str, list[str]]]) -> None:
    """As scikit-learn's plain KFold does: one of the patient's two scans on each side."""
    for split in splits:
        split["train"] = [s for s in split["train"] if s not in ("p1_a", "p1_b")] + ["p1_a"]
        split["val"] = [s for s in split["val"] if s not in ("p1_a", "p1_b")] + ["p1_b"]


def swap_two_patients(splits: list[dict[str, list[str]]]) -> None:
    """Leak-free folds, but others than the run's."""
    first, second = splits
    one, other = first["val"][-1], second["val"][-1]
    for mine, theirs, split in ((one, other, first), (other, one, second)):
        split["val"] = [s for s in split["val"] if s[:2] != mine[:2]] + [theirs]
        split["train"] = [s for s in split["train"] if s[:2] != theirs[:2]] + [mine]


def extra(name: str) -> Damage:
    """One more prediction in fold 0."""

    def damage(home: Path) -> None:
        folder = home / "tree" / "fold_0" / "validation"
        shutil.copy(next(folder.glob("*")), folder / f"{name}.nii.gz")

    return damage


def predicted_by_the_wrong_fold(home: Path) -> None:
    folder = home / "tree" / "fold_1" / "validation"
    file = next(folder.glob("*"))
    shutil.copy(file, home / "tree" / "fold_0" / "validation" / file.name)


def first_prediction(home: Path) -> Path:
    return next((home / "tree" / "fold_0" / "validation").glob("*"))


def with_values(value: int) -> Damage:
    def damage(home: Path) -> None:
        labels = np.zeros(SHAPE, np.uint8)
        labels[3:5, 3:5, 2] = value
        write_volume(first_prediction(home), labels)

    return damage


def resized(home: Path) -> None:
    write_volume(first_prediction(home), np.zeros((24, 20, 5), np.uint8))


def shifted(home: Path) -> None:
    affine = AFFINE.copy()
    affine[0, 3] += 3
    write_volume(first_prediction(home), np.zeros(SHAPE, np.uint8), affine)


def fractions(home: Path) -> None:
    write_volume(first_prediction(home), np.full(SHAPE, 0.5, np.float32))


def cut(home: Path) -> None:
    file = first_prediction(home)
    file.write_bytes(file.read_bytes()[:-30])


TREES: dict[str, tuple[Damage, str]] = {
    "leak": (
        change_splits(split_the_first_patient),
        "whose scans are in train and in val (a leak)",
    ),
    "other folds": (change_splits(swap_two_patients), "other folds"),
    "fewer trained on": (change_splits(lambda s: s[0]["train"].pop()), "left out"),
    "a scan of no data set in the splits": (
        change_splits(lambda s: s[0]["train"].append("p9_a")),
        "got p9_a",
    ),
    "no splits of the fold": (change_splits(lambda s: s.pop()), "a split of fold_1"),
    "no list": (
        lambda home: (home / "tree" / "splits_final.json").write_text("{}") and None,
        "splits_final.json",
    ),
    "no splits": (
        lambda home: (home / "tree" / "splits_final.json").unlink(),
        "which tells what each fold was trained on",
    ),
    "predicted by a fold that trained on it": (
        predicted_by_the_wrong_fold,
        "which was trained on by this fold",
    ),
    "a scan of no data set": (extra("p9_a"), "got p9_a"),
    "an unknown label value": (with_values(7), "7 (4 voxels)"),
    "wrong size": (resized, "(slices, height, width) (6, 20, 24)"),
    "wrong place": (shifted, "a corner 3.0 mm away"),
    "fractions": (fractions, "whole numbers"),
    "a cut file": (cut, "a readable NIfTI file"),
    "no labels": (
        lambda home: (home / "tree" / "dataset.json").write_text('{"labels": {}}') and None,
        "labels as in",
    ),
    "organs of another name": (
        lambda home: (
            (home / "tree" / "dataset.json").write_text('{"labels": {"lung": 1}}') and None
        ),
        "a label of liver",
    ),
}


@pytest.mark.parametrize("case", TREES)
def test_trees(own: Path, case: str) -> None:
    damage, naming = TREES[case]
    damage(own)
    refused(own, ["add", "run", "--name", "rival", "--predictions", "tree"], naming=naming)


def rows_of(change: Callable[[list[str]], list[str]]) -> Damage:
    def damage(home: Path) -> None:
        file = home / "table" / "oof.csv"
        file.write_text("\n".join(change(file.read_text().splitlines())) + "\n")

    return damage


def arrays_of(change: Callable[[dict[str, np.ndarray]], object]) -> Damage:
    def damage(home: Path) -> None:
        with np.load(home / "npz" / "oof.npz") as store:
            values = dict(store)
        change(values)
        np.savez(home / "npz" / "oof.npz", **values)

    return damage


def one_mask_of_two_values(home: Path) -> None:
    values = np.zeros(SHAPE, np.uint8)
    values[0, 0, :2] = 1, 2
    write_volume(home / "masks" / "p1_a_liver.nii.gz", values)


FLAT: dict[str, tuple[str, Damage, str]] = {
    "a row twice": ("table/oof.csv", rows_of(lambda r: [*r, r[3]]), "expected one row"),
    "a row less": ("table/oof.csv", rows_of(lambda r: r[:5] + r[6:]), "expected a row"),
    "a slice of no data set": ("table", rows_of(lambda r: [*r, "p9_a_slice_0001,liver,"]), "p9_a"),
    "an unknown class": ("table", rows_of(lambda r: [*r, "p1_a_slice_0001,lung,"]), "'lung'"),
    "no such columns": ("table", rows_of(lambda r: ["id,organ,mask", *r[1:]]), "columns id, class"),
    "text that is no mask": (
        "table",
        rows_of(lambda r: [r[0], r[1] + "5 3 2", *r[2:]]),
        "p1_a_slice_0001, liver",
    ),
    "an empty file": ("table/oof.csv", rows_of(lambda _: []), "oof.csv"),
    "probabilities of another size": (
        "npz",
        arrays_of(lambda a: a.update(p1_a=np.zeros((2, 6, 20, 23), np.float32))),
        "(2, 6, 20, 24)",
    ),
    "probabilities beyond 1": (
        "npz",
        arrays_of(lambda a: a.update(p1_a=a["p1_a"] * 255)),
        "probabilities from 0 to 1",
    ),
    "logits": ("npz", arrays_of(lambda a: a.update(p1_a=a["p1_a"] - 3)), "apply the sigmoid"),
    "NaN": ("npz", arrays_of(lambda a: a.update(p1_a=a["p1_a"] * np.nan)), "from 0 to 1"),
    "label maps in npz": (
        "npz",
        arrays_of(lambda a: a.update(p1_a=a["p1_a"].astype(np.int64))),
        "floats from 0 to 1",
    ),
    "a key of no scan": ("npz", arrays_of(lambda a: a.update(x=a["p1_a"])), "got x"),
    "a pickle": (
        "npz",
        arrays_of(lambda a: a.update(p1_a=np.array([{"a": 1}], dtype=object))),
        "key p1_a",
    ),
    "no archive": (
        "npz",
        lambda home: (home / "npz" / "oof.npz").write_bytes(b"no") and None,
        "an npz archive",
    ),
    "an organ without a file": (
        "masks",
        lambda home: (home / "masks" / "p1_a_liver.nii.gz").unlink(),
        "a mask of every organ",
    ),
    "a mask of two values": ("masks", one_mask_of_two_values, "0 and one value inside"),
    "a file of no scan": (
        "maps",
        lambda home: (home / "maps" / "p1_a.nii.gz").rename(home / "maps" / "q1.nii.gz") and None,
        "q1",
    ),
    "an empty folder": ("data/empty", lambda home: (home / "data/empty").mkdir(), "none of them"),
    "nothing there": ("nowhere", lambda home: None, "nothing there"),
    "another kind of file": ("data/dataset.json", lambda home: None, "another file"),
}


@pytest.mark.parametrize("case", FLAT)
def test_other_forms(own: Path, case: str) -> None:
    where, damage, naming = FLAT[case]
    damage(own)
    asked = ["add", "run", "--name", "rival", "--predictions", where, "--declared"]
    refused(own, asked, naming=naming)


def test_folds_must_be_told(own: Path) -> None:
    asked = ["add", "run", "--name", "rival", "--predictions", "maps"]
    refused(own, asked, naming="--declared if they are the run's own folds")
    splits = json.loads((own / "tree" / "splits_final.json").read_text())
    split_the_first_patient(splits)
    (own / "leaky.json").write_text(json.dumps(splits))
    refused(own, [*asked, "--folds-table", "leaky.json"], naming="p1, whose scans are in train")
    (own / "other.csv").write_text("patient,fold\np1,0\np2,1\np3,2\np4,3\n")
    refused(own, [*asked, "--folds-table", "other.csv"], naming="other folds")


def test_nothing_predicted_of_a_whole_fold(own: Path) -> None:
    for fold in (0, 1):
        next((own / "tree" / f"fold_{fold}" / "validation").glob("*")).unlink()
    asked = ["add", "run", "--name", "rival", "--predictions", "tree"]
    refused(own, asked, naming="a whole fold of predictions")


def test_scans_of_the_contest_have_no_label_values(home: Path) -> None:
    """Nothing tells which value is which organ; nor are slices of another size taken."""
    folder = home / "maps"
    write_volume(folder / "case1_day0.nii.gz", np.zeros((48, 40, 6), np.uint8))
    asked = ["add", "run", "--name", "rival", "--predictions", "maps", "--declared"]
    refused(home, asked, naming="which say the label values of organs")
    labels = {"background": 0, "large_bowel": 1, "small_bowel": 2, "stomach": 3}
    (folder / "dataset.json").write_text(json.dumps({"labels": labels}))
    refused(home, asked, naming="a whole fold of predictions")
    for scan, shape in (("case1_day3", (48, 40, 5)), ("case7_day0", (36, 36, 6))):
        write_volume(folder / f"{scan}.nii.gz", np.zeros(shape, np.uint8))
    for scan, shape in (("case12_day2", (40, 40, 6)), ("case20_day1", (36, 35, 6))):
        write_volume(folder / f"{scan}.nii.gz", np.zeros(shape, np.uint8))
    refused(home, asked, naming="(3, 6, 36, 36)")
    assert nib.load(folder / "case20_day1.nii.gz").shape == (36, 35, 6)
