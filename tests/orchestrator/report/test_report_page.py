"""The HTML page of a run: its figures against the run's own files, and its bounds."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from gitract_core.files.atomic import write_json
from gitract_core.organs import CONTEST
from gitract_core.results.trial_result import read_history, write_history
from orchestrator.cli.main import app
from orchestrator.report.page import (
    BUDGET_BYTES,
    embedded_json,
    page_within_budget,
    render_page,
)
from orchestrator.report.page.contact_sheets import ScanSheet, outline_paths, sheet_uris
from orchestrator.report.page.curves import MOST_EPOCHS, curve_values
from orchestrator.report.page.gallery import scan_scores
from orchestrator.report.page.gathering import ensemble_values
from orchestrator.results.leaderboard import build_leaderboard
from orchestrator.sweeps.run_digests import write_noted
from orchestrator.sweeps.run_directory import SweepDirectory
from tests.support.tiny_report import HOSTILE, RUN_NAME, Page, sweep_three, values_of

ORGANS = CONTEST.names


@pytest.fixture(scope="module")
def swept(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> SweepDirectory:
    """Not to be changed by tests."""
    return sweep_three(tiny, tmp_path_factory.mktemp("page"))


@pytest.fixture
def own_run(swept: SweepDirectory, tmp_path: Path) -> SweepDirectory:
    return SweepDirectory(Path(shutil.copytree(swept.path, tmp_path / "run")))


@pytest.fixture
def values(swept: SweepDirectory) -> dict[str, Any]:
    return values_of(swept)


def test_the_command_writes_a_page_without_torch_or_ray(
    swept: SweepDirectory, tmp_path: Path
) -> None:
    file = tmp_path / "out" / "report.html"
    code = (
        "import sys; sys.argv = ['gitract-cv', 'report', *sys.argv[1:]]\n"
        "from orchestrator.cli import main\n"
        "try: main()\n"
        "finally: print('LOADED', {'torch', 'ray'} & set(sys.modules))"
    )
    arguments = [sys.executable, "-c", code, str(swept.path), "--html", str(file)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "LOADED set()" in done.stdout
    assert str(file) in done.stdout.replace("\n", "")
    assert len(file.read_bytes()) < BUDGET_BYTES
    assert Page(file.read_text()).texts["h1"][0] == RUN_NAME


def test_leaderboard_is_the_leaderboard(swept: SweepDirectory, values: dict[str, Any]) -> None:
    board = build_leaderboard(swept)
    expected = board.to_rows()
    found = Page(render_page(values)).data["leaderboard"]
    names = [column["key"] for column in found["columns"]]
    assert {"score", "score_sd", "fold0_score", "fold1_score", "dice", "hausdorff"} <= set(names)
    assert {f"{o}_{m}" for o in ORGANS for m in ("dice", "hausdorff")} <= set(names)
    assert {"paper_dice", "paper_iou", "paper_accuracy", "best_epoch"} <= set(names)
    assert {"seconds", "cost_seconds"} <= set(names)
    assert len(found["rows"]) == len(expected) == 3
    for row, truth in zip(found["rows"], expected, strict=True):
        for name in names:
            if isinstance(truth[name], str):
                assert row[name] == truth[name]
            else:
                assert row[name] == pytest.approx(truth[name], abs=1e-6)


def test_curves_are_the_histories(swept: SweepDirectory, values: dict[str, Any]) -> None:
    board = build_leaderboard(swept)
    assert [c["label"] for c in values["curves"]["candidates"]] == [c.label for c in board.ranked]
    for found, line in zip(values["curves"]["candidates"], board.ranked, strict=True):
        for fold, result in zip(found["folds"], line.finished, strict=True):
            records = read_history(swept.trial(result.spec).history)
            assert fold["epochs"] == [1, 2, 3, 4]
            for metric, numbers in fold["values"].items():
                truth = [getattr(record, metric) for record in records]
                assert numbers == pytest.approx(truth, rel=1e-4)


def test_long_trainings_keep_their_first_and_last_epoch(own_run: SweepDirectory) -> None:
    result = build_leaderboard(own_run).ranked[0].finished[0]
    files = own_run.trial(result.spec)
    record = read_history(files.history)[0]
    write_history(files.history, [replace(record, epoch=n, loss=float(n)) for n in range(1, 1001)])
    files.result.unlink()
    result.save(files.result)  # with the history's new digest
    board = build_leaderboard(own_run)
    curve = curve_values(own_run, board.ranked, [])["candidates"][0]["folds"][0]
    assert curve["epochs"] == curve["values"]["loss"]
    assert (curve["epochs"][0], curve["epochs"][-1], len(curve["epochs"])) == (1, 1000, MOST_EPOCHS)


def test_case_scores_follow_from_the_results(values: dict[str, Any], swept: SweepDirectory) -> None:
    cases = values["cases"]
    plan = json.loads(swept.folds_file.read_text())["fold_of_case"]
    assert dict(zip(cases["cases"], cases["folds"], strict=True)) == plan
    line = build_leaderboard(swept).ranked[1]
    for result in line.finished:
        for case, sums in result.per_case.items():
            totals = {name: sum(numbers) for name, numbers in sums.items()}
            dice = totals["dice_sum"] / totals["dice_rows"]
            hausdorff = totals["hausdorff_sum"] / totals["hausdorff_volumes"]
            place = cases["cases"].index(case)
            expected = 0.4 * dice + 0.6 * hausdorff
            assert cases["score"][1][place] == pytest.approx(expected, abs=1e-4)
            stomach = sums["dice_sum"][2] / sums["dice_rows"][2]
            assert cases["dice"][2][1][place] == pytest.approx(stomach, abs=1e-3)
    means = np.mean(cases["score"], axis=0)
    assert (np.diff(means) >= -1e-4).all()  # hardest first


def test_dice_by_place_and_size_is_that_of_the_slices(
    values: dict[str, Any], swept: SweepDirectory
) -> None:
    line = build_leaderboard(swept).ranked[0]
    parts = [pd.read_parquet(swept.trial(r.spec).scores) for r in line.finished]
    table = pd.concat(parts)
    table = table[table["level"] == "slice"]
    lengths = table.groupby(table["id"].str[:-11])["id"].nunique()
    sizes = {"case1": "40 x 48", "case7": "36 x 36", "case12": "40 x 40", "case20": "36 x 36"}
    by_tenth: dict[tuple[str, int], list[float]] = {}
    by_size: dict[tuple[str, str], list[float]] = {}
    for row in table.itertuples():
        number = int(row.id[-4:])
        tenth = int((number - 0.5) / lengths[row.id[:-11]] * 10)
        if row.dice == row.dice:
            by_tenth.setdefault((row[3], tenth), []).append(row.dice)
            size = sizes[row.id.split("_")[0]] + ", 1.50 mm"
            by_size.setdefault((row[3], size), []).append(row.dice)
    found = values["places"][0]
    assert found["sizes"] == sorted({f"{size}, 1.50 mm" for size in sizes.values()})
    for organ in ORGANS:
        for tenth, (dice, count) in enumerate(found["tenths"][organ]):
            rows = by_tenth.get((organ, tenth), [])
            assert count == len(rows)
            assert dice == (pytest.approx(np.mean(rows), abs=1e-4) if rows else None)
        for size, (dice, count) in zip(found["sizes"], found["by_size"][organ], strict=True):
            rows = by_size[organ, size]
            assert (dice, count) == (pytest.approx(np.mean(rows), abs=1e-4), len(rows))


def test_statistics_are_those_of_the_run(values: dict[str, Any]) -> None:
    found, rows = values["statistics"], values["leaderboard"]["rows"]
    assert rows[0]["candidate"] in found["words"][0]
    assert set(found["candidates"]) == {row["key"] for row in rows}
    first = found["candidates"][rows[0]["key"]]
    assert first["tied"]
    assert first["behind"] == 0
    second = found["candidates"][rows[1]["key"]]
    assert second["behind"] == pytest.approx(rows[0]["score"] - rows[1]["score"], abs=1e-5)
    assert sum(one["cheapest"] for one in found["candidates"].values()) <= 1
    assert {one["no_worse"] for one in found["candidates"].values()} <= {"yes", "no", "cannot say"}
    assert found["margin"] == 0.005
    losses = found["knobs"]["tables"][0]
    assert losses["header"][:2] == ["knob", "level"]
    assert {row[1] for row in losses["rows"]} == {"bce", "bce + dice", "dice"}
    assert losses["rows"][0][0] == "loss"
    assert values["run"]["nothing"] == ""


def test_scans_have_the_competition_score(swept: SweepDirectory) -> None:
    line = build_leaderboard(swept).ranked[0]
    table = pd.concat([pd.read_parquet(swept.trial(r.spec).scores) for r in line.finished])
    scores = scan_scores(table)
    assert len(scores) == 5
    assert scores.is_monotonic_increasing
    for scan, score in scores.items():
        mine = table[table["id"].str.startswith(f"{scan}_slice")]["dice"].dropna()
        distances = table[table["id"] == scan]["hausdorff"].dropna()
        assert score == pytest.approx(0.4 * mine.mean() + 0.6 * (1 - distances.mean()))


def test_the_gallery_shows_truth_and_prediction_of_this_run(values: dict[str, Any]) -> None:
    gallery = values["gallery"]
    assert gallery["label"] == values["leaderboard"]["rows"][0]["candidate"]
    assert len(gallery["scans"]) == 5
    for scan in gallery["scans"]:
        numbers = [one["number"] for one in scan["slices"]]
        assert numbers == sorted(numbers)
        assert 0 <= scan["start"] < len(numbers)
        for one in scan["slices"]:
            assert one["id"] == f"{scan['scan']}_slice_{one['number']:04d}"
            assert all(one["truth"]) == (2 <= one["number"] <= 4)
            for path, predicted, dice in zip(
                one["truth"], one["predicted"], one["dice"], strict=True
            ):
                assert (dice is None) == (not path and not predicted)


def test_text_of_a_run_cannot_become_markup(values: dict[str, Any]) -> None:
    clean = Page(render_page(values))
    hostile = copy.deepcopy(values)
    hostile["run"]["name"] = HOSTILE
    hostile["leaderboard"]["rows"][0]["candidate"] = HOSTILE
    hostile["origins"]["facts"][0] = [HOSTILE, [HOSTILE]]
    page = Page(render_page(hostile))
    assert page.tags == clean.tags
    assert page.tags.count("script") == 2
    assert page.data["leaderboard"]["rows"][0]["candidate"] == HOSTILE
    assert page.texts["title"][0].startswith(HOSTILE)
    block = embedded_json({"x": HOSTILE})
    assert not set("<>&\u2028") & set(block)
    assert json.loads(block) == {"x": HOSTILE}
    assert json.loads(embedded_json({"x": [float("nan"), float("inf")]})) == {"x": [None, None]}


def test_the_page_needs_nothing_else_and_runs_only_its_own_script(values: dict[str, Any]) -> None:
    text = render_page(values)
    page = Page(text)
    assert page.references == ["data:,"]
    assert set(re.findall(r"https?://[^\s\"'<]+", text)) == {"http://www.w3.org/2000/svg"}
    policy = next(a["content"] for a in page.attributes if a.get("http-equiv")) or ""
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for name, content in (("script", page.texts["script"][1]), ("style", page.texts["style"][0])):
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{name}-src 'sha256-{digest}'" in policy
    script = page.texts["script"][1]
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", script)


def test_unfinished_runs_are_shown_as_far_as_they_go(own_run: SweepDirectory) -> None:
    record = own_run.record()
    first, second, third = (record.specs([candidate]) for candidate in record.candidates)
    own_run.trial(first[0]).result.unlink()
    shutil.rmtree(own_run.trial(second[0]).directory)
    shutil.rmtree(own_run.trial(second[1]).directory)
    values = values_of(own_run)
    assert [row["candidate"] for row in values["leaderboard"]["rows"]] == ["dice"]
    unranked = {row["candidate"]: row["reason"] for row in values["leaderboard"]["unranked"]}
    assert unranked["bce"] == "fold 0: not finished"
    assert unranked["bce + dice"] == "folds 0, 1: not finished"
    assert values["pairs"] is None
    assert values["cases"]["labels"] == ["dice", "bce"]
    missing = [i for i, fold in enumerate(values["cases"]["folds"]) if fold == 0]
    scores = json.loads(embedded_json(values))["cases"]["score"]
    assert [i for i, score in enumerate(scores[1]) if score is None] == missing
    assert values["left_out"] == []
    for spec in (*third, first[1]):
        own_run.trial(spec).result.unlink()
    values = values_of(own_run)
    assert values["gallery"] is None
    assert values["statistics"] is None
    assert values["curves"]["candidates"] == []
    assert len(render_page(values)) > 10_000


def test_damaged_and_lost_files_cost_their_section_alone(
    own_run: SweepDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = own_run.record()
    specs = record.specs()
    own_run.trial(specs[0]).history.write_text("nonsense")
    own_run.trial(specs[1]).scores.write_bytes(b"nonsense")
    own_run.folds_file.unlink()
    lost = json.loads(own_run.record_file.read_text())
    moved = json.dumps({**lost, "data_directory": str(tmp_path / "gone")})
    write_noted(own_run.path, "sweep.json", moved.encode())
    monkeypatch.setenv("GITRACT_CACHE", str(tmp_path / "no-cache"))
    values = values_of(own_run)
    told = "\n".join(values["left_out"])
    for file in ("history.csv", "scores.parquet", "folds.json", "gone"):
        assert file in told
    assert values["gallery"] is values["folds"] is values["cases"] is None
    assert len(values["leaderboard"]["rows"]) == 3
    assert values["places"][0]["sizes"] == []
    assert values["places"][0]["tenths"]
    assert len(render_page(values)) > 10_000


def test_a_large_run_stays_within_the_budget(values: dict[str, Any]) -> None:
    random = np.random.default_rng(3)
    large = copy.deepcopy(values)
    row = large["leaderboard"]["rows"][0]
    folds = {f"fold{i}_score": random.random().__round__(6) for i in range(10)}
    large["leaderboard"]["rows"] = [{**row, **folds, "candidate": "x" * 80}] * 500
    fold = {"epochs": list(range(MOST_EPOCHS))}
    metrics = [metric["key"] for metric in large["curves"]["metrics"]]
    curves = {key: random.random(MOST_EPOCHS).round(5).tolist() for key in metrics}
    one = {"place": 0, "label": "x" * 80, "folds": [{**fold, "values": curves}] * 10}
    large["curves"]["candidates"] = [one] * 10
    noise = random.integers(0, 256, (24, 360, 310), dtype=np.uint8)
    sheets = [ScanSheet.of_slices(noise)] * 6
    paths = outline_paths(random.random((3, 360, 310)) > 0.5)
    entry = {**large["gallery"]["scans"][0]["slices"][0], "truth": paths, "predicted": paths}
    for scan, uri in zip(large["gallery"]["scans"], sheet_uris(sheets)[:5], strict=True):
        scan["slices"] = [entry] * 24
        scan["sheet"]["uri"] = uri
    scans = large["gallery"]["scans"]
    scans.append(scans[0])
    whole = len(page_within_budget(large).encode())
    assert 5_000_000 < whole < BUDGET_BYTES
    assert len(scans) == 6
    page = page_within_budget(large, whole - 1)  # what does not fit gives way, and is told
    assert len(page.encode()) < whole
    assert len(scans) == 5
    assert "no room" in large["left_out"][0]


def test_the_option_tells_what_it_wrote(swept: SweepDirectory, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    done = CliRunner().invoke(app, ["report", str(swept.path), "--html", str(file), "--json"])
    assert done.exit_code == 0
    assert len(json.loads(done.stdout)["leaderboard"]) == 3  # alone on stdout
    assert file.is_file()


def test_ensembles_are_shown_with_the_figure_in_sample_beside(tmp_path: Path) -> None:
    for name, score in (("top1-equal", 0.6), ("top3-greedy", 0.7)):
        values = {"score": score, "interval": [0.5, 0.8], "in_sample": 0.75, "single": 0.6}
        values |= {"gain": score - 0.6, "gain_interval": [None, None], "other": 1}
        write_json(tmp_path / "ensembles" / name / "oof_score.json", values)
    found = ensemble_values(SweepDirectory(tmp_path))
    assert [one["name"] for one in found] == ["top3-greedy", "top1-equal"]
    assert found[0]["in_sample"] == 0.75
    assert "other" not in found[0]
    assert ensemble_values(SweepDirectory(tmp_path / "none")) == []
