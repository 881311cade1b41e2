"""The exploratory analysis against a reference: decode every mask, count in plain loops."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitract_core.data.slices import SliceIndex
from gitract_core.eda import Annotations, Coverage, explore
from gitract_core.eda.counting import SliceCounts
from gitract_core.eda.inventory import take_inventory
from gitract_core.eda.positions import position_profile
from gitract_core.errors import DataError, RleError
from gitract_core.organs import CONTEST
from tests.support.annotation_rows import ORGANS, annotations_of, rows_of

GROUPS = [*combinations(ORGANS, 2), ORGANS]


def slow_decode(text: str, height: int, width: int) -> np.ndarray:
    mask = np.zeros(height * width, bool)
    numbers = [int(word) for word in text.split()]
    for start, length in zip(numbers[::2], numbers[1::2], strict=True):
        mask[start - 1 : start - 1 + length] = True
    return mask.reshape(height, width)


def decoded(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Every slice with its three masks."""
    return [
        {**row, **{o: slow_decode(row[o], row["height"], row["width"]) for o in ORGANS}}
        for row in table.to_dict("records")
    ]


def check_counts(table: pd.DataFrame, result: dict[str, Any]) -> None:
    """Tables 1 to 4, combinations and figure 3."""
    held = [frozenset(o for o in ORGANS if s[o].any()) for s in decoded(table)]
    n, annotated = len(held), sum(map(bool, held))

    def counted(section: dict[str, Any]) -> dict[str, int]:
        for row in section["rows"]:
            assert row["share"] == pytest.approx(row["slices"] / n)
            if row["share_of_annotated"] is not None:
                assert row["share_of_annotated"] == pytest.approx(row["slices"] / annotated)
        return {row["name"]: row["slices"] for row in section["rows"]}

    assert counted(result["table_1"]) == {"empty": n - annotated, "annotated": annotated}
    by_number = {str(k): sum(len(h) == k for h in held) for k in range(4)}
    assert counted(result["table_2"]) == by_number
    assert counted(result["table_3"]) == {o: sum(o in h for h in held) for o in ORGANS}
    pairs = {"+".join(p): sum(h >= set(p) for h in held) for p in GROUPS[:3]}
    assert counted(result["table_4"]) == pairs
    exact = {"+".join(o for o in ORGANS if o in h) or "empty": held.count(h) for h in held}
    assert {k: v for k, v in counted(result["combinations"]).items() if v} == exact
    assert len(result["combinations"]["rows"]) == 8
    sections = [counted(result["figure_3"][s]) for s in "ABC"]
    assert [sum(s.values()) for s in sections] == [by_number[k] for k in "123"]
    assert {k: v for s in sections for k, v in s.items() if v} | {"empty": 0} == {
        **exact,
        "empty": 0,
    }


def check_overlaps(table: pd.DataFrame, result: dict[str, Any]) -> None:
    """Figure 12, areas, and figure 5's choice."""
    slices = decoded(table)
    shown = {tuple(s["organs"]): s for s in result["figure_5"]}
    for group in [*((o,) for o in ORGANS), *GROUPS]:
        areas = [int(np.logical_and.reduce([s[o] for o in group]).sum()) for s in slices]
        filled = [a for a in areas if a]
        name = "+".join(group)
        found = result["areas"][name] if len(group) == 1 else result["figure_12"][name]
        assert (found["slices"], found["sum_px"]) == (len(filled), sum(filled))
        assert found["max_px"] == max(areas)
        width, histogram = found["bin_width_px"], found["histogram"]
        for k, count in enumerate(histogram):
            assert count == sum(k * width <= a < (k + 1) * width for a in filled)
        assert sum(histogram) == len(filled)
        if len(group) > 1:
            together = sum(all(s[o].any() for o in group) for s in slices)
            assert found["slices_together"] == together
            assert (group in shown) == bool(filled)
        if filled:
            assert found["quantiles_px"]["p50"] == pytest.approx(median(filled))
            assert found["max_id"] == slices[areas.index(max(areas))]["id"]
            if len(group) > 1:
                assert shown[group]["overlap_px"] == max(areas)
                assert shown[group]["id"] == found["max_id"]
        else:
            assert (found["quantiles_px"], found["max_id"]) == (None, None)


def check_positions(table: pd.DataFrame, result: dict[str, Any]) -> None:
    """Figure 6 and gaps."""
    slices = decoded(table)
    for name in (*ORGANS, "any"):
        organs = ORGANS if name == "any" else (name,)
        places: dict[str, list[int]] = {}
        for s in slices:
            if any(s[o].any() for o in organs):
                places.setdefault(s["scan"], []).append(s["slice"])
        flat = [place for scan in places.values() for place in scan]
        found = result["figure_6"][name]
        assert found["histogram"] == [
            flat.count(k) for k in range(1, max(s["slice"] for s in slices) + 1)
        ]
        assert (found["scans"], found["slices"]) == (len(places), len(flat))
        if not flat:
            assert found["peak_slice"] is None
            assert found["slices_per_scan"] is None
            continue
        assert found["peak_scans"] == max(found["histogram"])
        assert found["peak_slice"] == 1 + found["histogram"].index(found["peak_scans"])
        assert found["first_median"] == median(min(p) for p in places.values())
        assert found["last_median"] == median(max(p) for p in places.values())
        lengths = [len(p) for p in places.values()]
        expected = {"min": min(lengths), "median": median(lengths), "max": max(lengths)}
        assert found["slices_per_scan"] == expected
        lacking = {
            s["scan"]: [
                t["slice"]
                for t in slices
                if t["scan"] == s["scan"]
                and min(places[t["scan"]]) < t["slice"] < max(places[t["scan"]])
                and t["slice"] not in places[t["scan"]]
            ]
            for s in slices
            if s["scan"] in places
        }
        if name != "any":
            gaps = {g["scan"]: g["slices"] for g in result["gaps"] if g["organ"] == name}
            assert gaps == {k: v for k, v in lacking.items() if v}


def check_all(annotations: Annotations) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(json.dumps(explore(annotations).to_json(), allow_nan=False))
    check_counts(annotations.table, result)
    check_overlaps(annotations.table, result)
    check_positions(annotations.table, result)
    return result


@st.composite
def data_sets(draw: st.DrawFn) -> dict[str, np.ndarray]:
    """Up to three scans of up to five slices of one size each, some slices missing."""
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    slices = {}
    for scan in draw(
        st.sampled_from([["case2_day0"], ["case2_day0", "case10_day3", "case2_day1"]])
    ):
        shape = (3, draw(st.integers(1, 7)), draw(st.integers(1, 7)))
        for number in draw(st.lists(st.integers(1, 9), min_size=1, max_size=5, unique=True)):
            density = random.choice([0, 0, 0.1, 0.6, 1], (3, 1, 1))
            slices[f"{scan}_slice_{number:04d}"] = random.random(shape) < density
    return slices


@settings(deadline=None, max_examples=150)
@given(data_sets(), st.randoms(use_true_random=False))
def test_random_masks_agree_with_decoding_everything(
    slices: dict[str, np.ndarray], random: Any
) -> None:
    rows = rows_of(slices)
    order = list(range(len(rows)))
    random.shuffle(order)
    annotations = annotations_of(rows.iloc[order])
    check_all(annotations)
    covered = Coverage.of(annotations)
    for group in [*((o,) for o in ORGANS), *GROUPS]:
        places = [ORGANS.index(organ) for organ in group]
        expected = [slices[name][places].all(axis=0).sum() for name in annotations.table["id"]]
        assert covered.shared_px(group).tolist() == expected


def test_tiny_contest_agrees_with_decoding_everything(tiny: Path) -> None:
    index = SliceIndex.from_directory(tiny)
    result = check_all(Annotations.of_index(index))
    assert result["inventory"]["scans_per_case"] == {"1": 3, "2": 1}
    assert result["inventory"]["slices_per_scan"] == {"5": 1, "6": 4}
    first = result["inventory"]["sizes"][0]
    assert (first["height"], first["width"], first["spacing_x_mm"]) == (36, 36, 1.5)
    assert (first["slices"], first["scans"]) == (12, 2)
    assert len(result["inventory"]["sizes"]) == 3


def test_more_slices_than_one_pass_holds(monkeypatch: pytest.MonkeyPatch, tiny: Path) -> None:
    annotations = Annotations.of_index(SliceIndex.from_directory(tiny))
    whole = Coverage.of(annotations)
    monkeypatch.setattr("gitract_core.eda.coverage._SLICES_A_PASS", 4)
    parted = Coverage.of(annotations)
    for group in [*((o,) for o in ORGANS), *GROUPS]:
        assert np.array_equal(parted.shared_px(group), whole.shared_px(group))


def test_no_mask_is_decoded(monkeypatch: pytest.MonkeyPatch, tiny: Path) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a mask was decoded")

    for name in ("decode", "decode_into", "_filled"):
        monkeypatch.setattr(f"gitract_core.data.rle.{name}", refuse)
    explore(Annotations.of_index(SliceIndex.from_directory(tiny)))


def test_data_set_without_any_organ_has_zeros_and_no_nan() -> None:
    empty = np.zeros((3, 4, 5), bool)
    result = check_all(annotations_of(rows_of({"case1_day0_slice_0001": empty})))
    assert result["table_1"]["rows"][1] == {
        "name": "annotated",
        "slices": 0,
        "share": 0.0,
        "share_of_annotated": None,
    }
    assert (result["figure_4"], result["figure_5"], result["gaps"]) == ([], [], [])


def test_typical_slice_is_the_median_one_of_the_most_frequent_combination() -> None:
    def stomach(pixels: int) -> np.ndarray:
        masks = np.zeros((3, 4, 5), bool)
        masks[2].flat[:pixels] = True
        return masks

    slices = {f"case1_day0_slice_{n:04d}": stomach(n) for n in (1, 3, 5, 6, 20)}
    slices["case1_day0_slice_0099"] = stomach(4)[::-1]  # large bowel: rarer
    result = check_all(annotations_of(rows_of(slices)))
    (typical,) = result["figure_4"]
    assert (typical["id"], typical["organs"]) == ("case1_day0_slice_0005", ["stomach"])
    assert typical["areas_px"] == {"large_bowel": 0, "small_bowel": 0, "stomach": 5}


def test_folder_without_annotations_is_refused(tiny: Path) -> None:
    with pytest.raises(DataError, match=r"annotated slices.*train\.csv"):
        Annotations.of_index(SliceIndex.from_directory(tiny / "train"))


def test_faulty_rows_are_named() -> None:
    rows = rows_of({"case1_day0_slice_0001": np.ones((3, 4, 5), bool)})
    with pytest.raises(DataError, match="columns scan"):
        Annotations(annotations_of(rows).table.drop(columns="scan"))
    past = annotations_of(rows.assign(segmentation=["1 20", "20 2", ""]))
    with pytest.raises(RleError, match=r"case1_day0_slice_0001, small_bowel.*past the end"):
        explore(past)
    with pytest.raises(DataError, match="one of them above 0"):
        SliceCounts(CONTEST, {(): 0})


@pytest.mark.real
def test_ten_real_scans_agree_with_decoding_everything(real_data: Path) -> None:
    rows = pd.read_csv(real_data / "masks_10_scans.csv", keep_default_na=False)
    result = check_all(annotations_of(rows))
    assert result["inventory"]["scans"] == 10
    assert result["gaps"] == []


@pytest.mark.real
def test_whole_training_set_has_the_published_counts(real_data: Path) -> None:
    table = pd.read_csv(real_data / "slice_index.csv")
    table["scan"] = "case" + table["case"].astype(str) + "_day" + table["day"].astype(str)
    annotations = Annotations(table.assign(**dict.fromkeys(ORGANS, "")))
    inventory = take_inventory(annotations)
    assert (inventory.cases, inventory.scans, inventory.slices) == (85, 274, 38_496)
    assert inventory.scans_per_case == {1: 9, 2: 8, 3: 45, 4: 2, 5: 20, 6: 1}
    assert inventory.slices_per_scan == {80: 15, 144: 259}
    sizes = {(size.height, size.width): size.slices for size in inventory.sizes}
    assert sizes == {(266, 266): 25_920, (310, 360): 11_232, (276, 276): 1_200, (234, 234): 144}
    present = table["has_ann"].to_numpy(bool)
    assert (int((~present).sum()), int(present.sum())) == (21_906, 16_590)
    profile = position_profile(present, table["slice"].to_numpy(), annotations.scan_codes)
    assert (profile.peak_slice, profile.peak_scans) == (92, 257)
    assert (profile.first_median, profile.last_median) == (52.5, 116)
    spread = profile.slices_per_scan
    assert spread is not None
    assert (spread.min, spread.median, spread.max) == (30, 61, 88)


def test_published_combinations_give_the_published_tables() -> None:
    """The paper's tables follow from the eight exact combinations (bits as in ORGANS)."""
    exact = (21_906, 123, 59, 7_781, 2_286, 2_980, 160, 3_201)
    codes = np.repeat(np.arange(8), exact)
    counts = SliceCounts.of(codes[:, None] >> np.arange(3) & 1 > 0, CONTEST)
    assert sorted(counts.exact.values()) == sorted(exact)
    assert [counts.holding([o]) for o in ORGANS] == [14_085, 11_201, 8_627]
    assert [counts.holding(pair) for pair in GROUPS[:3]] == [10_982, 6_181, 3_361]
    assert counts.row("empty", counts.exact[()]).share == pytest.approx(0.569046, abs=5e-7)
