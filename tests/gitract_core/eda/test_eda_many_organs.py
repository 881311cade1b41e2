"""The exploratory analysis of other organs than the contest's, against decoded masks."""

from __future__ import annotations

import io
import json
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from gitract_core.data.slices import SliceIndex
from gitract_core.eda import Annotations, Coverage, explore
from gitract_core.eda.counting import FEW_ORGANS, MOST_KINDS, spoken_name
from gitract_core.eda.exploration import MOST_SHOWN
from gitract_core.organs import Organs
from orchestrator.report.eda.charts import MOST_CURVES, drawn_organs
from orchestrator.report.eda.html import write_eda_html
from orchestrator.report.eda.slices import write_figures
from orchestrator.report.eda.tables import overlap_groups
from orchestrator.report.eda.terminal import eda_view
from tests.support.many_organs import organ_names, write_many_organs
from tests.support.tiny_contest import slow_encode


def random_slices(count: int, seed: int = 0) -> tuple[np.ndarray, Annotations]:
    """Masks of 12 slices, boolean (slices, organs, 9, 11), most of them empty; and their texts."""
    random = np.random.default_rng(seed)
    density = random.choice([0, 0, 0, 0.05, 0.5], (12, count, 1, 1))
    masks = random.random((12, count, 9, 11)) < density
    names = organ_names(count)
    table = pd.DataFrame({"id": [f"case1_day0_slice_{n:04d}" for n in range(1, 13)]})
    table = table.assign(case="1", scan="case1_day0", slice=range(1, 13), height=9, width=11)
    texts = {o: [slow_encode(one[i]) for one in masks] for i, o in enumerate(names)}
    return masks, Annotations(table.assign(**texts), Organs(names))


@pytest.mark.parametrize("count", [1, 2, 15, 40, 70])
def test_areas_and_overlaps_are_those_of_the_masks(count: int) -> None:
    masks, annotations = random_slices(count)
    covered = Coverage.of(annotations)
    assert np.array_equal(covered.areas_px, masks.sum(axis=(2, 3)))
    names = organ_names(count)
    groups = [*combinations(range(count), 2), *combinations(range(0, count, 7), 3)]
    for places in groups:
        expected = masks[:, places].all(axis=1).sum(axis=(1, 2))
        assert np.array_equal(covered.shared_px([names[i] for i in places]), expected)


@pytest.mark.parametrize("count", [1, 2, 4, 15, 70])
def test_tables_count_what_the_masks_hold(count: int) -> None:
    masks, annotations = random_slices(count, seed=count)
    found: dict[str, Any] = json.loads(json.dumps(explore(annotations).to_json()))
    held = [frozenset(np.flatnonzero(one.any(axis=(1, 2)))) for one in masks]
    names = organ_names(count)
    by_organ = {row["name"]: row["slices"] for row in found["table_3"]["rows"]}
    assert by_organ == {name: sum(i in h for h in held) for i, name in enumerate(names)}
    pairs = {row["name"]: row["slices"] for row in found["table_4"]["rows"]}
    assert pairs == {
        f"{names[a]}+{names[b]}": sum({a, b} <= h for h in held)
        for a, b in combinations(range(count), 2)
    }
    numbers = {row["name"]: row["slices"] for row in found["table_2"]["rows"]}
    occurring = {0, *map(len, held)} if count > FEW_ORGANS else set(range(count + 1))
    assert numbers == {str(n): sum(len(h) == n for h in held) for n in sorted(occurring)}
    assert sum(row["slices"] for row in found["combinations"]["rows"]) == 12
    drawn = sum(row["slices"] for part in found["figure_3"].values() for row in part["rows"])
    assert drawn == sum(map(bool, held))
    if count > FEW_ORGANS:
        assert max(len(part["rows"]) for part in found["figure_3"].values()) <= MOST_KINDS + 1
        assert len(found["figure_5"]) <= MOST_SHOWN
    else:
        assert len(found["combinations"]["rows"]) == 2**count
    assert found["organs"] == list(names)


def test_figure_5_of_many_organs_shows_the_largest_overlaps() -> None:
    masks, annotations = random_slices(15)
    shown = explore(annotations).figure_5
    largest = sorted(
        (
            int(masks[:, pair].all(axis=1).sum(axis=(1, 2)).max())
            for pair in combinations(range(15), 2)
        ),
        reverse=True,
    )
    assert [one.overlap_px for one in shown] == largest[:MOST_SHOWN]


def test_names_of_large_groups_are_cut() -> None:
    names = organ_names(40)
    assert spoken_name("+".join(names), names) == "all 40 organs"
    assert spoken_name("+".join(names[:6]), names) == (
        "vertebra 01 + vertebra 02 + vertebra 03 + 3 more"
    )
    assert spoken_name("+".join(names[:2]), names[:2]) == "vertebra 01 + vertebra 02"


@pytest.mark.parametrize("count", [1, 2, 15, 40])
def test_terminal_page_and_figures_of_any_number_of_organs(count: int, tmp_path: Path) -> None:
    names = organ_names(count)
    folder = write_many_organs(tmp_path / "data", names, size=40, unknown=names[-1:])
    index = SliceIndex.from_directory(folder)
    exploration = explore(Annotations.of_index(index))
    text = io.StringIO()
    Console(width=80, file=text).print(eda_view(exploration))
    lines = text.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert any("counted as not there: vertebra" in line for line in lines)
    assert len(drawn_organs(exploration)) == min(count, MOST_CURVES)
    pairs = len(exploration.table_4.rows)
    assert any(f"and {pairs - 15} rarer ones in --json" in line for line in lines) == (pairs > 15)
    assert all(path.stat().st_size > 2000 for path in write_figures(tmp_path, index, exploration))
    page = write_eda_html(tmp_path / "page.html", index, exploration).read_text()
    assert page.count("<svg") == 2 + len(overlap_groups(exploration))
    for organ, color in Organs(names).colors.items():
        if count <= FEW_ORGANS:
            assert f'background:{color}"></i>{organ.replace("_", " ")}' in page
