"""The HTML page of a run in a real browser: what it asks for, and what its controls do."""

from __future__ import annotations

import copy
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gitract_core.organs import CONTEST, Organs
from orchestrator.report.page import render_page
from orchestrator.report.paper.curves import smoothed
from tests.support.many_organs import organ_names
from tests.support.tiny_report import HOSTILE, RUN_NAME, sweep_three, values_of

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine"),
]
LONG = "bce + 0.5*dice, widths 16,32,64,128,256, augmentation elastic+noise+blur, depth 4"


@dataclass
class Seen:
    """A page as a browser shows it, and what it said and asked for."""

    page: Any
    messages: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def values(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A finished run's values; labels hostile and long, and more of everything than it has."""
    found = values_of(sweep_three(tiny, tmp_path_factory.mktemp("browser")))
    relabelled = copy.deepcopy(found)
    rows = relabelled["leaderboard"]["rows"]
    for row, label in zip(rows, (LONG, HOSTILE, "bce"), strict=True):
        row["candidate"] = label
    relabelled["leaderboard"]["unranked"] = [
        {"candidate": HOSTILE, "folds": "1/2", "reason": f"fold 1: {HOSTILE * 3}"}
    ]
    for section in ("cases", "pairs"):
        relabelled[section]["labels"] = [row["candidate"] for row in rows]
    relabelled["pairs"].update(best=[0, 1], single=1)
    relabelled["pairs"]["gain"][0][1] = 0.0123
    for place, label in enumerate((LONG, HOSTILE, "bce")):
        relabelled["curves"]["candidates"][place]["label"] = label
        relabelled["places"][place]["label"] = label
    relabelled["gallery"]["label"] = HOSTILE
    relabelled["left_out"] = [HOSTILE]
    return relabelled


@pytest.fixture(scope="module")
def file(values: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(render_page(values), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


Show = Callable[..., Seen]


@pytest.fixture
def show(browser: Any, file: Path) -> Iterator[Show]:
    """Opens the page; after the test nothing may have been said or asked for."""
    opened: list[Seen] = []

    def opening(width: int = 1280, scheme: str = "light") -> Seen:
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        seen = Seen(page)
        page.on("console", lambda message: seen.messages.append(message.text))
        page.on("pageerror", lambda error: seen.messages.append(str(error)))
        page.on("request", lambda request: seen.requests.append(request.url))
        opened.append(seen)
        page.goto(file.as_uri())
        page.wait_for_function("document.querySelector('#strips svg circle')")
        return seen

    yield opening
    for seen in opened:
        assert seen.messages == []
        foreign = [url for url in seen.requests if not url.startswith("data:")]
        assert foreign == [file.as_uri()]
        seen.page.close()


def column(page: Any, name: str) -> list[str]:
    """The text of a column of the leaderboard, from top to bottom."""
    found: list[str] = page.evaluate(
        """name => {
          const board = document.querySelector("#leaderboard table.board");
          const heads = [...board.querySelectorAll("thead th")].map(h => h.textContent);
          const place = heads.indexOf(name);
          return [...board.querySelectorAll("tbody tr")].map(r => r.children[place].textContent);
        }""",
        name,
    )
    return found


def test_the_leaderboard_shows_the_values_and_sorts_by_any_header(
    show: Show, values: dict[str, Any]
) -> None:
    page = show().page
    rows = values["leaderboard"]["rows"]
    assert column(page, "#") == ["1", "2", "3"]
    shown = [float(text) for text in column(page, "score")]
    assert shown == pytest.approx([row["score"] for row in rows], abs=5.1e-5)
    for name, key, first in (
        ("Dice", "dice", "descending"),
        ("time", "seconds", "ascending"),
        ("fold 1", "fold1_score", "descending"),
    ):
        head = page.get_by_role("columnheader", name=name, exact=True)
        head.get_by_role("button").click()
        for direction in (first, "ascending" if first == "descending" else "descending"):
            ordered = sorted(rows, key=lambda row: row[key], reverse=direction == "descending")
            assert head.get_attribute("aria-sort") == direction
            assert column(page, "#") == [str(row["rank"]) for row in ordered]
            head.get_by_role("button").press("Enter")  # the keyboard turns the order round
    assert page.locator("th[aria-sort]").count() == 1
    page.get_by_role("columnheader", name="candidate", exact=True).get_by_role("button").click()
    assert column(page, "candidate") != [row["candidate"] for row in rows]
    assert "Sorted by candidate" in page.locator("#leaderboard [role=status]").inner_text()


def test_missing_values_sort_last_either_way(show: Show) -> None:
    page = show().page
    rows = [{"x": None, "n": 0}, {"x": 2, "n": 1}, {"x": 0, "n": 2}, {"x": 2, "n": 3}]
    sort = "([rows, down]) => sortedRows(rows, 'x', down).map(r => r.n)"
    assert page.evaluate(sort, [rows, False]) == [2, 1, 3, 0]
    assert page.evaluate(sort, [rows, True]) == [1, 3, 2, 0]


def test_knobs_are_told_level_by_level(show: Show, values: dict[str, Any]) -> None:
    page = show().page
    rows = page.locator("#knobs table").first.locator("tbody th").all_inner_texts()
    losses = values["statistics"]["knobs"]["tables"][0]["rows"]
    assert rows == [f"loss: {row[1]}" for row in losses]


def test_smoothing_is_tensorboard_s_and_moves_with_the_slider(show: Show) -> None:
    page = show().page
    random = np.random.default_rng(0)
    for weight in (0.0, 0.6, 0.95):
        series = random.random(30).tolist()
        assert page.evaluate("([v, w]) => smoothed(v, w)", [series, weight]) == pytest.approx(
            smoothed(series, weight).tolist()
        )
    slider = page.get_by_label("smoothing")
    mean, raw = (page.locator(f"#curves path.{kind}").first for kind in ("mean", "raw"))
    assert slider.input_value() == "0.6"
    start = mean.get_attribute("d")
    assert start != raw.get_attribute("d")
    slider.press("ArrowRight")
    assert slider.input_value() == "0.61"
    assert mean.get_attribute("d") != start
    slider.press("Home")
    assert mean.get_attribute("d") == raw.get_attribute("d")  # without smoothing they are one
    assert page.locator("#curves output").inner_text() == "0.00"


def test_curves_follow_metric_candidates_and_folds(show: Show) -> None:
    page = show().page
    curves = page.locator("#curves")
    assert [curves.locator(f"path.{kind}").count() for kind in ("mean", "raw", "thin")] == [3, 3, 6]
    before = curves.locator("path.mean").first.get_attribute("d")
    curves.get_by_label("metric").select_option("dice")
    assert curves.locator("path.mean").first.get_attribute("d") != before
    assert "Dice, pooled" in curves.locator("figure svg").first.text_content()
    curves.get_by_label("2. ").uncheck()
    assert curves.locator("path.mean").count() == 2
    curves.get_by_label("folds").uncheck()
    assert curves.locator("path.thin").count() == 0
    for box in curves.get_by_role("checkbox").all():
        box.uncheck()  # an empty chart is no error
    curves.locator("summary").click()
    curves.locator("table tbody tr").nth(2).wait_for(state="attached")  # the toggle comes later
    assert curves.locator("table tbody tr").count() == 3


def test_slice_sliders_and_layers_change_the_picture(show: Show, values: dict[str, Any]) -> None:
    page = show().page
    figures = page.locator("#gallery figure")
    assert figures.count() == len(values["gallery"]["scans"])
    figure, scan = figures.first, values["gallery"]["scans"][0]
    canvas, slider = figure.locator("svg").first, figure.get_by_role("slider")
    slider.press("Home")
    assert scan["slices"][0]["id"] in figure.locator("figcaption").inner_text()
    assert scan["slices"][0]["id"] in canvas.get_attribute("aria-label")
    first = canvas.screenshot()
    slider.press("ArrowRight")
    assert scan["slices"][1]["id"] in figure.locator("figcaption").inner_text()
    assert f"slice {scan['slices'][1]['number']}" == slider.get_attribute("aria-valuetext")
    second = canvas.screenshot()
    assert first != second
    sheet = scan["sheet"]
    for place in range(len(scan["slices"])):  # the tile of this slice and of no other
        row, column = divmod(place, sheet["columns"])
        corner = f"{column * sheet['tile_width']} {row * sheet['tile_height']}"
        slider.fill(str(place))
        shown = canvas.locator("svg").get_attribute("viewBox")
        assert shown == f"{corner} {sheet['tile_width']} {sheet['tile_height']}"
    slider.fill("1")
    held = sum(bool(path) for path in scan["slices"][1]["truth"])
    assert canvas.locator("path.outline").count() == held == 3
    page.get_by_label("annotation (line)").uncheck()
    assert canvas.locator("path.outline").count() == 0
    assert canvas.screenshot() != second
    page.get_by_label("prediction (tint)").uncheck()
    assert page.locator("#gallery figure path").count() == 0


def test_other_selects_redraw(show: Show, values: dict[str, Any]) -> None:
    page = show().page
    places = page.locator("#places")
    before = places.locator("figure svg path").first.get_attribute("d")
    places.get_by_label("candidate").select_option("2")
    assert places.locator("figure svg path").first.get_attribute("d") != before
    page.locator("#cases").get_by_label("measure").select_option(label="Dice of stomach")
    shown = page.locator("#cases tbody td").all_inner_texts()
    expected = np.ravel(values["cases"]["dice"][2])
    assert [float(text) for text in shown] == pytest.approx(expected, abs=0.0056)
    page.locator("#cost").get_by_role("combobox").select_option("parameters")
    assert "parameters" in page.locator("#cost figure svg").text_content()
    assert "+.0123" in page.locator("#pairs p").first.inner_text()


def of_many_organs(values: dict[str, Any], count: int) -> dict[str, Any]:
    """The same run as if it had so many organs, all like its own in turns."""
    many, names, own = copy.deepcopy(values), organ_names(count), CONTEST.names
    like = {name: own[place % len(own)] for place, name in enumerate(names)}
    many["run"]["organs"] = [{"key": name, "name": name.replace("_", " ")} for name in names]
    many["run"]["telling"] = [0, 1, count - 1]
    for row in many["leaderboard"]["rows"]:
        row |= {f"{n}_{m}": row[f"{o}_{m}"] for n, o in like.items() for m in ("dice", "hausdorff")}
    many["cases"]["dice"] = [many["cases"]["dice"][place % len(own)] for place in range(count)]
    for one in many["places"]:
        for part in ("tenths", "by_size"):
            one[part] = {name: one[part][organ] for name, organ in like.items()}
    for scan in many["gallery"]["scans"]:
        for one in scan["slices"]:
            for part in ("truth", "predicted", "dice"):
                one[part] = [one[part][place % len(own)] for place in range(count)]
            one["unknown"] = [count - 1]
    return many


def test_forty_organs_fit_and_those_drawn_can_be_chosen(
    show: Show, values: dict[str, Any], file: Path
) -> None:
    whole = file.read_text(encoding="utf-8")
    file.write_text(render_page(of_many_organs(values, 40)), encoding="utf-8")
    try:
        page = show(320).page
        assert page.evaluate("document.documentElement.scrollWidth") <= 320
        for details in page.locator("summary").all():
            details.click()
        assert page.evaluate("document.documentElement.scrollWidth") <= 320
        drawn = page.locator("#places figure").first.locator("svg path[stroke]")
        assert drawn.count() == 3
        page.locator("#places").get_by_label("vertebra 17").check()
        assert drawn.count() == 4
        assert page.locator("#organs table").first.locator("tbody tr").count() == 40
        caption = page.locator("#gallery figcaption").first.inner_text()
        assert "and 32 more" in caption
        assert caption.endswith("not known and not scored: vertebra 40")
        tint = page.locator("#gallery .tint.organ-3").first
        color = tint.evaluate("node => getComputedStyle(node).getPropertyValue('--organ').trim()")
        assert color == Organs(organ_names(40)).colors["vertebra_04"]
    finally:
        file.write_text(whole, encoding="utf-8")


@pytest.mark.parametrize("width", [390, 320, 1280])
def test_no_sideways_scrolling_of_the_page(show: Show, width: int) -> None:
    page = show(width).page
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for details in page.locator("summary").all():
        details.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.set_viewport_size({"width": 320, "height": 700})  # charts follow the window
    page.wait_for_function("document.querySelector('#curves figure svg').clientWidth <= 320")
    assert page.evaluate("document.documentElement.scrollWidth") <= 320


def test_labels_are_text_and_nothing_runs(show: Show) -> None:
    seen = show()
    page = seen.page
    assert page.evaluate("window.broken") is None
    assert page.locator("img").count() == 0
    assert HOSTILE in column(page, "candidate")
    assert page.locator("#places option").nth(1).text_content() == HOSTILE
    assert page.locator("h1").inner_text() == RUN_NAME
    assert HOSTILE.split("\u2028")[0] in page.locator("#origins li").text_content()
    page.evaluate(  # and were there a hole, the policy would stop what came through it
        "document.body.append(Object.assign(document.createElement('script'),"
        " { textContent: 'window.broken = 2' }))"
    )
    assert page.evaluate("window.broken") is None
    assert "Content Security Policy" in seen.messages.pop()


NAMELESS = """() => [...document.querySelectorAll("button, select, input, summary, a, [role=img],"
  + " [role=region], nav, section")].filter(e => {
    if (e.closest("[hidden]")) return false;
    const by = e.getAttribute("aria-labelledby");
    const text = e.getAttribute("aria-label") || (by && document.getElementById(by)?.textContent)
      || (e.labels?.length ? [...e.labels].map(l => l.textContent).join("") : e.textContent);
    return !text.trim();
  }).map(e => e.outerHTML.slice(0, 80))"""
DOUBLE_IDS = """() => { const ids = [...document.querySelectorAll("[id]")].map(e => e.id);
  return ids.filter((id, i) => ids.indexOf(id) !== i); }"""
LOW_CONTRAST = """() => {
  const part = v => { v /= 255; return v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; };
  const numbers = text => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => .2126 * part(r) + .7152 * part(g) + .0722 * part(b);
  const behind = e => { for (; e; e = e.parentElement) {
    const c = numbers(getComputedStyle(e).backgroundColor);
    if (c.length < 4 || c[3] > 0) return c; } return [255, 255, 255]; };
  const bad = [];
  for (const e of document.querySelectorAll("p, th, td, a, summary, label span, dt, dd, h1, h2,"
      + " h3, figcaption, output, text:not(.inside)")) {
    if (!e.textContent.trim() || e.closest("noscript")) continue;
    const style = getComputedStyle(e);
    const ink = e.tagName === "text" ? style.fill : style.color;
    const [a, b] = [light(numbers(ink)), light(behind(e))].sort((x, y) => y - x);
    if ((a + .05) / (b + .05) < 4.5) bad.push(e.tagName + ": " + e.textContent.slice(0, 30));
  }
  return bad; }"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_readable_by_keyboard_screen_reader_and_weak_eyes(show: Show, scheme: str) -> None:
    page = show(scheme=scheme).page
    for details in page.locator("summary").all():
        details.click()
    assert page.evaluate(NAMELESS) == []
    assert page.evaluate(DOUBLE_IDS) == []
    assert page.evaluate(LOW_CONTRAST) == []
    assert page.locator("html").get_attribute("lang") == "en"
    assert page.locator("h1").count() == 1
    levels = page.evaluate("[...document.querySelectorAll('h1, h2, h3')].map(h => +h.tagName[1])")
    assert all(b - a <= 1 for a, b in pairwise(levels))
    scrolling = page.evaluate(
        "[...document.querySelectorAll('*')].filter(e => e.scrollWidth > e.clientWidth + 1"
        " && getComputedStyle(e).overflowX === 'auto').map(e => e.tabIndex)"
    )
    assert scrolling
    assert set(scrolling) == {0}


def test_every_section_is_there_and_linked(show: Show) -> None:
    page = show().page
    links = page.locator("nav a")
    targets = [links.nth(i).get_attribute("href") for i in range(links.count())]
    names = "verdict leaderboard strips knobs cost curves organs cases pairs places gallery "
    names += "folds origins"
    assert targets == [f"#{name}" for name in names.split()]
    for target in targets:
        text = page.locator(f"section{target}").inner_text()
        assert len(text) > 60
        assert not re.search(r"\bNaN\b|undefined|\[object", text), target


def test_print_hides_what_only_a_screen_can_do(show: Show) -> None:
    page = show().page
    page.emulate_media(media="print")
    assert not page.locator("#smoothing").is_visible()
    assert page.locator("#leaderboard table.board").is_visible()
    assert page.locator("#gallery figure svg").first.is_visible()
