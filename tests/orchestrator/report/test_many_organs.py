"""Tables, pages and pictures of runs with few and many organs, from made-up results."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from gitract_core.organs import CONTEST, Organs
from orchestrator.report import leaderboard_view, write_csv
from orchestrator.report.organ_names import known_in_words, short_names
from orchestrator.report.overlay import overlay
from orchestrator.report.page import page_values, render_page
from orchestrator.report.style import new_figure, organ_legend
from orchestrator.results.leaderboard import Leaderboard, build_leaderboard
from orchestrator.results.verdict import judge
from orchestrator.sweeps.preparation import PreparedSweep
from tests.support.many_organs import organ_names, write_many_organs
from tests.support.stub_results import write_result
from tests.support.tiny_report import Page
from tests.support.tiny_sweep import prepare_tiny

HOSTILE = "liver;} body{display:none} <b onload=1> [red] & é"
COUNTS = (1, 2, 15, 40)


def stub_sweep(
    folder: Path, names: tuple[str, ...], known: dict[str, float] | None = None
) -> PreparedSweep:
    """Two candidates on two folds of a data set of these organs, scored 0.7 and 0.6."""
    data = write_many_organs(folder / "data", names, size=16)
    sweep = prepare_tiny(data, folder / "run", {"loss": "dice"}, {"loss": "bce"})
    for spec in sweep.specs:
        write_result(sweep, spec, 0.7 if spec.candidate.loss == "dice" else 0.6, known=known)
    return sweep


def values_of(sweep: PreparedSweep, board: Leaderboard) -> dict[str, Any]:
    return page_values(sweep.directory, board, judge(board))


def lines_of(board: Leaderboard, width: int = 80) -> list[str]:
    text = io.StringIO()
    Console(width=width, file=text).print(leaderboard_view(board, judge(board)))
    return text.getvalue().splitlines()


@pytest.mark.parametrize("count", COUNTS)
def test_the_organs_of_a_run_are_those_of_its_data(count: int, tmp_path: Path) -> None:
    sweep = stub_sweep(tmp_path, organ_names(count))
    board = build_leaderboard(sweep.directory)
    assert board.organs == sweep.record.organs == Organs(organ_names(count))
    names = [f"{o}_{m}" for o in organ_names(count) for m in ("dice", "hausdorff")]
    write_csv(board, tmp_path / "board.csv")
    first, second = csv.DictReader(io.StringIO((tmp_path / "board.csv").read_text()))
    assert [name for name in first if name in names] == names
    for place, organ in enumerate(organ_names(count)):
        assert float(first[f"{organ}_dice"]) == pytest.approx(0.7 - 0.002 * place)
        assert float(second[f"{organ}_hausdorff"]) == pytest.approx(0.6 - 0.002 * place)


def test_a_record_without_organs_is_of_the_contest(tmp_path: Path) -> None:
    sweep = stub_sweep(tmp_path, ("spleen", "liver"))
    values = sweep.record.to_json()
    assert values["organs"] == ["spleen", "liver"]
    assert type(sweep.record).from_json(values) == sweep.record
    del values["organs"]
    assert type(sweep.record).from_json(values).organs == CONTEST


def test_the_terminal_shows_all_of_few_organs_and_says_what_it_leaves_out(tmp_path: Path) -> None:
    few = lines_of(build_leaderboard(stub_sweep(tmp_path / "a", organ_names(6)).directory))
    assert max(map(len, few)) <= 80
    assert not any("more in --csv" in line for line in few)
    many = lines_of(build_leaderboard(stub_sweep(tmp_path / "b", organ_names(40)).directory))
    assert max(map(len, many)) <= 80
    (told,) = (line for line in many if line.startswith("organs: "))
    assert "3 worst and 3 best" in told
    assert "34 more" in " ".join(many)
    headers = [re.findall(r"\b\d\d\b", line) for line in many if "candidate " in line]
    assert headers.count(["01", "02", "03", "38", "39", "40"]) == 2  # the first are the best


def test_organs_that_tell_most_are_the_worst_and_the_best(tmp_path: Path) -> None:
    board = build_leaderboard(stub_sweep(tmp_path, organ_names(9)).directory)
    names = organ_names(9)
    assert board.telling_organs(9) == names
    assert board.telling_organs(4) == (*names[:2], *names[-2:])
    assert board.telling_organs(3) == (names[0], *names[-2:])


def test_what_is_known_is_said_where_it_is_not_all(tmp_path: Path) -> None:
    names = ("liver", "spleen", "kidney_left")
    partly = {"liver": 0.25, "spleen": 1.0, "kidney_left": 0.75}
    sweep = stub_sweep(tmp_path / "a", names, partly)
    board = build_leaderboard(sweep.directory)
    assert board.known == partly
    told = "annotation known, the rest is not scored: liver 25 %, kidney left 75 %"
    assert told in lines_of(board)
    assert values_of(sweep, board)["run"]["known"] == told
    whole = build_leaderboard(stub_sweep(tmp_path / "b", names).directory)
    assert whole.known == {}
    assert not any("annotation known" in line for line in lines_of(whole))
    many = dict.fromkeys(organ_names(40), 0.5)
    assert known_in_words(many, 6).endswith("vertebra 06 50 % and 34 more")


@pytest.mark.parametrize("count", COUNTS)
def test_a_page_holds_every_organ_and_draws_some(count: int, tmp_path: Path) -> None:
    sweep = stub_sweep(tmp_path, organ_names(count))
    values = values_of(sweep, build_leaderboard(sweep.directory))
    page = Page(render_page(values))
    run, rows = page.data["run"], page.data["leaderboard"]["rows"]
    assert [organ["key"] for organ in run["organs"]] == list(organ_names(count))
    assert len(run["telling"]) == min(count, 8)
    for row in rows:
        assert {f"{o}_{m}" for o in organ_names(count) for m in ("dice", "hausdorff")} <= set(row)
    columns = [c["key"] for c in page.data["leaderboard"]["columns"]]
    assert sum(c.startswith("vertebra") for c in columns) == 2 * min(count, 8)
    assert len(page.data["cases"]["dice"]) == count
    assert len(page.data["folds"]["shares"]) == count + 1
    for place, color in enumerate(Organs(organ_names(count)).colors.values()):
        assert f"--organ-{place}: {color};" in page.texts["style"][0]


def test_a_name_of_an_organ_is_text_wherever_it_is_shown(tmp_path: Path) -> None:
    sweep = stub_sweep(tmp_path, (HOSTILE, "score", "[red]x"))
    board = build_leaderboard(sweep.directory)
    page = Page(render_page(values_of(sweep, board)))
    assert page.data["run"]["organs"][0]["key"] == HOSTILE
    assert "display:none" not in "".join(page.texts["style"])
    assert len(page.data["cases"]["score"][0]) == 4  # the score, not the organ of that name
    assert any("[red]x" in line for line in lines_of(board, 200))


def test_an_organ_has_one_color_in_every_picture() -> None:
    organs = Organs(organ_names(40))
    assert len(set(organs.colors.values())) == 40
    masks = np.zeros((40, 30, 30), bool)
    masks[33, 5:25, 5:25] = True
    picture = overlay(np.zeros((30, 30), np.uint8), masks, organs, scale=1)
    color = organs.colors[organ_names(40)[33]]
    assert "#" + "".join(f"{part:02X}" for part in picture[5, 10]) == color
    figure, _ = new_figure(2, 6, width=1.9)
    organ_legend(figure, organs)
    (legend,) = figure.legends
    drawn = [handle.get_facecolor()[:3] for handle in legend.get_patches()]
    expected = [[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in organs.colors.values()]
    assert np.allclose(drawn, expected)


@pytest.mark.parametrize(("columns", "count"), [(1, 3), (3, 15), (6, 40)])
def test_a_legend_wraps_within_its_figure(columns: int, count: int) -> None:
    figure, _ = new_figure(2, columns, width=2.4, height=2.5)
    organ_legend(figure, Organs(organ_names(count)))
    figure.draw_without_rendering()
    box = figure.legends[0].get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.x1


def test_short_names_stay_apart_and_narrow() -> None:
    names = ("adrenal_gland_left", "adrenal_gland_right", "aorta", "sternocleidomastoid")
    shown = short_names(names, 7)
    assert shown[:3] == ["adrenal\ngland\nleft", "adrenal\ngland\nright", "aorta"]
    assert shown[3].replace("-\n", "") == names[3]
    assert max(len(line) for name in shown for line in name.split("\n")) == 7
    assert len(set(short_names(("gluteus_a", "gluteus a"), 7))) == 2
