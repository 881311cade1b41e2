"""``gitract-cv eda`` as a user runs it, on the tiny data set, in processes of their own."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
from rich.console import Console

from gitract_core.data.slices import SliceIndex
from gitract_core.eda import Annotations, explore
from gitract_core.eda.positions import PositionProfile, Spread
from gitract_core.organs import CONTEST
from orchestrator.report.eda.slices import overlapping_pictures, typical_pictures
from orchestrator.report.eda.terminal import eda_view
from tests.support.annotation_rows import annotations_of, rows_of
from tests.support.command_line import cli

FIGURES = [f"figure_{n}.png" for n in (3, 4, 5, 6, 12)]


class Page(HTMLParser):
    """What a page refers to, and whether its elements are closed."""

    void = frozenset({"meta", "img", "br"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.references: list[str] = []
        self.tags: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tags.append(tag)
        self.ids += [values["id"] or ""] if "id" in values else []
        self.references += [values[k] or "" for k in ("src", "href", "xlink:href") if k in values]
        if tag not in self.void:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.void:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture
def all_empty(own_tiny: Path) -> Path:
    """The tiny contest without a single mask."""
    table = own_tiny / "train.csv"
    with table.open(newline="") as file:
        rows = [{**row, "segmentation": ""} for row in csv.DictReader(file)]
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return own_tiny


def test_json_is_alone_on_stdout_with_keys_named_after_the_tables(
    tiny: Path, tmp_path: Path
) -> None:
    done = cli(tmp_path, "eda", "--data", tiny, "--json", "--figures", "out")
    found = json.loads(done.stdout)
    assert done.stderr.split() == [w for f in FIGURES for w in ("written", f"out/{f}")]
    assert found.pop("data") == str(tiny)
    assert (found.pop("layout"), found.pop("assumed")) == ("contest", [])
    exploration = explore(Annotations.of_index(SliceIndex.from_directory(tiny)))
    assert found == json.loads(json.dumps(exploration.to_json()))
    for key in ("table_1", "table_2", "table_3", "table_4", "combinations"):
        assert found[key]["title"]
    assert [row["slices"] for row in found["table_1"]["rows"]] == [14, 15]
    assert set(found["figure_6"]) == {*CONTEST, "any"}
    assert found["figure_6"]["any"]["histogram"] == [0, 5, 5, 5, 0, 0]


def test_terminal_tables_name_every_figure(tiny: Path, tmp_path: Path) -> None:
    done = cli(tmp_path, "eda", "--data", tiny)
    assert "4 cases, 5 scans, 29 slices" in done.stdout
    for title in ("Table 1", "Table 2", "Table 3", "Table 4", "Figure 3A", "Figure 6", "Figure 12"):
        assert title in done.stdout
    assert re.search(r"all three organs +15 +51.72 % +100.00 %", done.stdout)
    assert re.search(r"small bowel \+ stomach +15 +15 +\d+", done.stdout)


def test_terminal_tables_fit_80_columns() -> None:
    counts = tuple(range(1, 145))
    profile = PositionProfile(274, 11_201, counts, 102, 235, 52.5, 116.0, Spread(30, 61.5, 88))
    masks = {f"case85_day20_slice_{n:04d}": np.ones((3, 310, 360), bool) for n in (1, 144)}
    exploration = explore(annotations_of(rows_of(masks)))
    wide = replace(exploration, figure_6=dict.fromkeys(exploration.figure_6, profile))
    text = io.StringIO()
    Console(width=80, file=text).print(eda_view(wide))
    assert max(map(len, text.getvalue().splitlines())) <= 80
    for line in text.getvalue().splitlines():
        if "102" in line:  # neither cut nor wrapped
            assert re.search(r"102 +235 +52.5 +116 +30-61.5-88 +\S{22}$", line.rstrip())


def test_figures_are_pictures_and_the_same_each_time(tiny: Path, tmp_path: Path) -> None:
    for folder in ("one", "two"):
        done = cli(tmp_path, "eda", "--data", tiny, "--figures", folder)
        assert [line.split()[-1] for line in done.stdout.splitlines()[-5:]] == [
            f"{folder}/{name}" for name in FIGURES
        ]
    for name in FIGURES:
        image = cv2.imread(str(tmp_path / "one" / name))
        assert image is not None
        assert image.std() > 5
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_page_is_whole_and_needs_no_network(tiny: Path, tmp_path: Path) -> None:
    home = tmp_path / "a <b> & c"
    shutil.copytree(tiny, home)
    done = cli(tmp_path, "eda", "--data", home, "--html", "page.html")
    assert done.stdout.splitlines()[-1] == "written  page.html"
    text = (tmp_path / "page.html").read_text()
    page = Page(text)
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    inside = set(re.findall(r"url\(#([^)]*)\)", text))
    for reference in page.references:
        assert reference.startswith(("data:image/png;base64,", "#"))
        inside |= {reference[1:]} if reference.startswith("#") else set()
    assert inside <= set(page.ids)
    assert not {"script", "link", "iframe", "b&gt;"} & set(page.tags)
    assert "a &lt;b&gt; &amp; c" in text
    assert page.tags.count("svg") == 6  # figures 3 and 6, four panels of figure 12
    for title in ("Table 1", "Table 2", "Table 3", "Table 4", "Figure 4", "Figure 5"):
        assert title in text


def test_pictures_show_the_overlap(tiny: Path) -> None:
    index = SliceIndex.from_directory(tiny)
    exploration = explore(Annotations.of_index(index))
    (typical,) = typical_pictures(index, exploration)
    assert typical.title == "all three organs"
    assert typical.gray.shape == typical.drawn.shape
    assert (typical.gray[..., 0] == typical.gray[..., 2]).all()
    assert (typical.gray != typical.drawn).any()
    shown = {picture.title: picture for picture in overlapping_pictures(index, exploration)}
    assert list(shown) == ["large bowel + small bowel", "small bowel + stomach"]
    picture = shown["small bowel + stomach"]
    assert exploration.figure_5[1].id in picture.caption
    middle = picture.drawn[tuple(side // 2 for side in picture.drawn.shape[:2])]
    assert len(set(middle.tolist())) > 1  # tinted


def test_data_set_without_any_organ(all_empty: Path, tmp_path: Path) -> None:
    done = cli(tmp_path, "eda", "--data", all_empty, "--figures", "f", "--html", "page.html")
    text = (tmp_path / "page.html").read_text()
    assert "No slice is annotated." in text
    assert re.search(r"annotated +0 +0.00 % +-", done.stdout)
    assert sorted(path.name for path in (tmp_path / "f").iterdir()) == sorted(FIGURES)
    page = re.sub(r"<head.*?</head>|<svg.*?</svg>", "", text, flags=re.DOTALL)
    for words in (done.stdout, page):
        assert not re.search(r"\b(nan|none|null)\b", words, re.IGNORECASE)
    found = json.loads(cli(tmp_path, "eda", "--data", all_empty, "--json").stdout)
    assert found["table_2"]["rows"][0]["slices"] == found["inventory"]["slices"]


@pytest.mark.parametrize(("folder", "message"), [("train", "annotated slices"), ("x", "a folder")])
def test_wrong_folder_is_one_line(tiny: Path, tmp_path: Path, folder: str, message: str) -> None:
    done = cli(tmp_path, "eda", "--data", tiny / folder, "--json", expect=2)
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert message in done.stderr
