"""Data sets of other organs than the contest's: index, states, folds, cache."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from gitract_core.data.annotation import State
from gitract_core.data.cache import (
    SliceCache,
    build_cache,
    cache_directory,
    mask_bits,
    open_cache,
    organs_in_bits,
    planes_of,
)
from gitract_core.data.folds import FoldPlan
from gitract_core.data.slices import SliceIndex, known_shares
from gitract_core.data.validation import data_faults
from gitract_core.data.volumes import load_scan
from gitract_core.errors import DataError, RunError
from gitract_core.files.digests import Stamp
from gitract_core.organs import CONTEST, Organs
from gitract_core.prediction.device_slices import organ_masks, slices_on
from gitract_core.spec import Candidate, TrialSpec
from tests.support.organ_squares import (
    SIDE,
    SLICES,
    organ_mask,
    organ_names,
    write_organ_squares,
)

CPU = torch.device("cpu")


@pytest.mark.parametrize("count", [1, 8, 9, 40])
def test_bits_of_any_number_of_organs_come_back(tmp_path: Path, count: int) -> None:
    index = SliceIndex.from_directory(write_organ_squares(tmp_path / "data", organ_names(count)))
    assert index.organs.names == organ_names(count)
    cache = build_cache(index, SIDE)
    assert cache.masks.shape == (len(index.table), -(-count // 8), SIDE, SIDE)
    expected = np.zeros((SLICES, count, SIDE, SIDE), bool)
    for place in range(count):
        expected[1:3, place] = organ_mask(place, count)
    rows = index.rows_of_scan("case11_day2")
    bits = cache.masks[rows.index]
    assert np.array_equal(organs_in_bits(bits, index.organs), expected)
    assert np.array_equal(bits, mask_bits(rows, SIDE, organs=index.organs))
    slices = slices_on(SliceCache(cache.directory, cache.root, SIDE), CPU)
    batch = slices.batch_masks(torch.tensor(rows.index.to_numpy()))
    assert np.array_equal(batch.numpy(), expected)
    assert np.array_equal(organ_masks(torch.from_numpy(bits), count).numpy(), expected)
    volume = load_scan(index, "case11_day2")
    assert volume.masks is not None
    assert volume.organs == index.organs
    assert np.array_equal(volume.masks, expected.swapaxes(0, 1))
    assert data_faults(index) == []


def test_a_plane_holds_eight_organs() -> None:
    counts = [1, 8, 9, 16, 17, 40]
    assert [planes_of(Organs(organ_names(n))) for n in counts] == [1, 1, 2, 2, 3, 5]


def test_organs_of_the_contest_keep_its_order(own_tiny: Path) -> None:
    """Old fingerprints hold, whatever the order of rows; the values are of the version before."""
    index = SliceIndex.from_directory(own_tiny)
    assert index.organs == CONTEST
    assert index.fingerprint == "93d8ab59003041f0"
    assert SliceIndex.from_directory(own_tiny / "train").fingerprint == "62512dec95054a85"
    assert index.without(["case7_day0"]).fingerprint == "0408619cf5b6b2a1"
    header, *rows = (own_tiny / "train.csv").read_text().splitlines()
    (own_tiny / "train.csv").write_text("\n".join([header, *reversed(rows)]) + "\n")
    turned = SliceIndex.from_directory(own_tiny)
    assert turned.organs == CONTEST
    assert turned.fingerprint == index.fingerprint


def test_old_fold_plans_and_keys_hold(tiny: Path) -> None:
    """The values are of the version that knew patients as numbers."""
    index = SliceIndex.from_directory(tiny)
    plan = FoldPlan.make(index, 2)
    assert dict(plan.fold_of_case) == {"1": 0, "7": 0, "12": 1, "20": 1}
    assert plan.fingerprint == "a896fd09c871fcf1"
    another = FoldPlan.make(index, 3, 1)
    assert dict(another.fold_of_case) == {"1": 0, "7": 2, "12": 2, "20": 1}
    assert another.fingerprint == "bd91fb3f3f7bac12"
    random = np.random.default_rng(0)
    cases, labels = random.integers(1, 30, 500), random.integers(0, 4, 500)
    assert FoldPlan.from_labels(cases, labels, 5, 0).fingerprint == "ffd50315449d460c"
    as_text = FoldPlan.from_labels(cases.astype(str), labels, 5, 0)
    assert as_text.fingerprint == "ffd50315449d460c"
    spec = TrialSpec(Candidate(), 0, 2, 0, index.fingerprint, plan.fingerprint)
    assert spec.key == "c217e3867eb25f36"


def test_other_names_of_the_same_masks_are_another_data_set(tmp_path: Path) -> None:
    found = [
        SliceIndex.from_directory(
            write_organ_squares(tmp_path / "_".join(names), names)
        ).fingerprint
        for names in (("a", "b"), ("b", "a"), ("a", "c"))
    ]
    assert len(set(found)) == 3


def test_a_misspelled_class_is_told_from_another_organ(tmp_path: Path) -> None:
    data = write_organ_squares(tmp_path, ("liver", "spleen"))
    text = (data / "train.csv").read_text()
    (data / "train.csv").write_text(text.replace("spleen", "splen", 1))
    message = r"row 3: expected one row a class, got 'splen'; did you mean 'spleen'"
    with pytest.raises(DataError, match=message):
        SliceIndex.from_directory(data)
    (data / "train.csv").write_text(text.replace("spleen", "scan"))
    with pytest.raises(DataError, match="another name of a class, got scan"):
        SliceIndex.from_directory(data)


def hides(scan: str, organ: str) -> bool:
    """``organ_1`` is unknown throughout, ``organ_2`` in one scan."""
    return organ == "organ_1" or (organ == "organ_2" and scan == "case1_day3")


def test_unknown_is_neither_drawn_nor_empty(tmp_path: Path) -> None:
    names = organ_names(3)
    index = SliceIndex.from_directory(write_organ_squares(tmp_path, names, unknown=hides))
    assert index.known is not None
    row = index.table.index[index.table["scan"] == "case1_day3"][0]
    drawn, empty, unknown = State.DRAWN, State.EMPTY, State.UNKNOWN
    assert index.states[row].tolist() == [empty, unknown, unknown]
    assert index.states[row + 1].tolist() == [drawn, unknown, unknown]
    assert index.states[1].tolist() == [drawn, drawn, unknown]
    assert (index.table[["organ_1"]] == "").all(axis=None)
    assert index.scan_states[:2].tolist() == [[drawn, drawn, unknown], [drawn, unknown, unknown]]
    shares = known_shares(index.states, index.organs)
    assert shares == {"organ_3": 1.0, "organ_2": pytest.approx(5 / 6), "organ_1": 0.0}
    known = index.known_in(index.rows_of_scan("case1_day3").index)
    assert known is not None
    assert known.any(axis=1).tolist() == [True, False, False]
    assert index.without(["case1_day3"]).known_in(np.arange(4)) is not None


def test_masks_of_unknown_entries_do_not_count(tmp_path: Path) -> None:
    names, indexes = organ_names(3), []
    for hidden in (True, False):
        folder = tmp_path / str(hidden)
        write_organ_squares(folder, names, unknown=hides, hidden_masks=hidden)
        indexes.append(SliceIndex.from_directory(folder))
    assert (tmp_path / "True/train.csv").read_text() != (tmp_path / "False/train.csv").read_text()
    assert indexes[0].fingerprint == indexes[1].fingerprint
    known = SliceIndex.from_directory(write_organ_squares(tmp_path / "known", names))
    assert known.fingerprint != indexes[0].fingerprint
    for each in indexes:
        table = known.table.assign(path=each.table["path"])
        given = SliceIndex(each.root, table, each.organs, each.known)
        assert given.table.equals(each.table)


def test_states_that_say_nothing_new_change_nothing(tmp_path: Path) -> None:
    names = organ_names(2)
    plain = SliceIndex.from_directory(write_organ_squares(tmp_path / "a", names))
    write_organ_squares(tmp_path / "b", names, unknown=lambda scan, organ: False)
    stated = SliceIndex.from_directory(tmp_path / "b")
    assert stated.known is None
    assert stated.fingerprint == plain.fingerprint
    assert stated.states.tolist() == plain.states.tolist()


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ("maybe", r"row 2: expected a state \(unknown, empty, drawn or blank\)"),
        ("drawn", "row 2: expected a mask, as its state is drawn"),
    ],
)
def test_states_are_checked(tmp_path: Path, state: str, message: str) -> None:
    data = write_organ_squares(tmp_path, organ_names(2), unknown=lambda scan, organ: False)
    text = (data / "train.csv").read_text()
    (data / "train.csv").write_text(text.replace("organ_2,,", f"organ_2,,{state}", 1))
    with pytest.raises(DataError, match=message):
        SliceIndex.from_directory(data)


def test_an_empty_state_with_a_mask_is_refused(tmp_path: Path) -> None:
    data = write_organ_squares(tmp_path, organ_names(1), unknown=lambda scan, organ: False)
    lines = (data / "train.csv").read_text().splitlines()
    place = next(i for i, line in enumerate(lines[1:], 1) if line.split(",")[2])
    lines[place] += "empty"
    (data / "train.csv").write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError, match=f"row {place + 1}: expected no mask"):
        SliceIndex.from_directory(data)


def test_cache_says_what_it_holds(tmp_path: Path) -> None:
    write_organ_squares(tmp_path, organ_names(9), unknown=hides)
    (tmp_path / "scans.csv").write_text("scan,site,sex\ncase1_day0,Lund,f\n")
    index = SliceIndex.from_directory(tmp_path)
    cache = build_cache(index, 16)
    meta = json.loads((cache.directory / "meta.json").read_text())
    assert meta == {
        "format": 2,
        "height": 16,
        "width": 16,
        "channels": 1,
        "organs": list(organ_names(9)),
        "gray": "percentile99.5-v1",
        "annotated": True,
        "name": cache.directory.name,
        "files": {name: stamp.to_json() for name, stamp in cache.stamps.items()},
        "seal": meta["seal"],
    }
    files = {file.name: Stamp.of(file) for file in cache.directory.iterdir()}
    assert cache.stamps == {name: files[name] for name in files.keys() - {"meta.json"}}
    found = open_cache(Path("/nowhere"), index.fingerprint, 16)
    assert found.organs == index.organs
    assert found.images.shape == (len(index.table), 1, 16, 16)
    assert np.array_equal(found.states, index.states)
    assert found.index.known is not None
    assert np.array_equal(found.index.states, index.states)
    assert found.index.fingerprint == index.fingerprint
    assert found.index.scan_table.equals(index.scan_table)
    first = index.scan_table.iloc[0]
    assert first.to_dict() == {"scan": "case1_day0", "case": "1", "site": "Lund", "sex": "f"}
    assert index.scan_table["site"].tolist()[1:] == [""] * 5


def test_old_caches_are_left_alone(own_tiny: Path) -> None:
    index = SliceIndex.from_directory(own_tiny)
    old = cache_directory(index.fingerprint, 24).with_name(f"{index.fingerprint}-24-1")
    old.mkdir(parents=True)
    (old / "images.npy").write_bytes(b"of format 1")
    cache = build_cache(index, 24)
    assert cache.directory != old
    assert cache.images.shape == (len(index.table), 1, 24, 24)
    assert (old / "images.npy").read_bytes() == b"of format 1"


def test_damaged_meta_is_named(own_tiny: Path) -> None:
    cache = build_cache(SliceIndex.from_directory(own_tiny), 8)
    (cache.directory / "meta.json").write_text("{}")
    with pytest.raises(RunError, match=r"meta\.json.*remove"):
        _ = SliceCache(cache.directory, cache.root, 8).images


@pytest.mark.parametrize("count", [3, 40])
def test_strata_are_few_and_leave_unknown_apart(tmp_path: Path, count: int) -> None:
    def nothing_known(scan: str, organ: str) -> bool:
        return scan == "case2_day0"

    write_organ_squares(tmp_path, organ_names(count), unknown=nothing_known)
    index = SliceIndex.from_directory(tmp_path)
    of_scan = (index.table["scan"] == "case2_day0").to_numpy()
    assert (index.strata[of_scan] == -1).all()
    held = index.organ_counts[~of_scan] > 0
    assert (index.strata[~of_scan][~held] == 0).all()
    assert (index.strata[~of_scan][held] >= 1).all()
    assert index.strata.max() <= 3
    plan = FoldPlan.make(index, 2)
    shares = plan.audit(index)["folds"]
    assert [share["annotated_share"] for share in shares] == [0.5, 0.5]
    assert all(share[f"{organ}_share"] == 0.5 for share in shares for organ in index.organs)


def test_a_thing_that_nobody_looked_for_has_no_share(tmp_path: Path) -> None:
    index = SliceIndex.from_directory(write_organ_squares(tmp_path, organ_names(3), unknown=hides))
    for fold in FoldPlan.make(index, 2).audit(index)["folds"]:
        assert fold["organ_1_share"] is None
        assert fold["organ_2_share"] == fold["organ_3_share"] == 0.5


def test_many_numbers_of_organs_become_three_strata() -> None:
    import pandas as pd

    from gitract_core.data.contest.images import IMAGE_COLUMNS

    counts = np.arange(41)
    organs = Organs(organ_names(40))
    table = pd.DataFrame(dict.fromkeys(IMAGE_COLUMNS, 1), index=range(41)).assign(
        case="p", scan="s", slice=counts + 1
    )
    drawn = counts[:, None] > np.arange(40)
    texts = dict(zip(organs, np.where(drawn, "1 1", "").T, strict=True))
    strata = SliceIndex(Path("x"), table.assign(**texts), organs).strata
    assert strata[0] == 0
    assert np.bincount(strata).tolist() == [1, 14, 13, 13]
    assert (np.diff(strata) >= 0).all()
