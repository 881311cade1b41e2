"""The command ``figures`` and the pictures it makes, on a finished and on a cut-down sweep."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from gitract_core.data.cache import cache_directory
from gitract_core.errors import RunError
from gitract_core.spec import Candidate
from orchestrator.capacity.trial_slots import Slots
from orchestrator.cli.main import app
from orchestrator.execution.executor import Jobs
from orchestrator.execution.local.executor import LocalExecutor
from orchestrator.report.paper.augmentation import augmented_slices, with_grid
from orchestrator.report.paper.curves import CURVE_FIGURES, MOST_CANDIDATES, draw_curves, smoothed
from orchestrator.report.paper.predictions import choose_slices
from orchestrator.report.run_slices import fullest_slice, gray_scan, run_index
from orchestrator.results.histories import METRICS, read_histories
from orchestrator.storage.local_folder import LocalRun
from orchestrator.sweeps.run_digests import write_noted
from orchestrator.sweeps.run_directory import SweepDirectory
from tests.support.made_up_histories import candidate, history
from tests.support.tiny_sweep import prepare_tiny

FILES = [
    *(f"figure_{name}.png" for name in ("7", "8", "9", "10", "11", "correlation")),
    *("correlation.csv", "table_5.md", "table_5.csv", "table_6.md", "table_6.csv"),
]


@pytest.fixture(scope="module")
def swept(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run: two losses, two folds, four epochs; not to be changed by tests."""
    out = tmp_path_factory.mktemp("figures") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GITRACT_CACHE", str(tmp_path_factory.getbasetemp() / "gitract-cache"))
        changes = ({"loss": loss, "training.epochs": 4} for loss in ("bce", "bce + dice"))
        sweep = prepare_tiny(tiny, out, *changes)
        jobs = Jobs(sweep.pending, sweep.data, LocalRun(sweep.directory.path), Slots(2), 0)
        LocalExecutor().run(jobs, lambda event: None)
    assert len(list(out.glob("trials/*/result.json"))) == 4
    return out


@pytest.fixture
def own_run(swept: Path, tmp_path: Path) -> SweepDirectory:
    return SweepDirectory(Path(shutil.copytree(swept, tmp_path / "run")))


def figures(*arguments: object, columns: int = 100) -> str:
    environment = {"COLUMNS": str(columns)}
    result = CliRunner().invoke(app, ["figures", *map(str, arguments)], env=environment)
    if result.exception:
        raise result.exception
    return result.stdout


def test_everything_is_written_and_told_as_json(swept: Path, tmp_path: Path) -> None:
    told = json.loads(figures(swept, "--out", tmp_path, "--json"))
    assert sorted(Path(file).name for file in told["files"]) == sorted(FILES)
    assert told["left_out"] == []
    for file in map(Path, told["files"]):
        if file.suffix == ".png":
            picture = cv2.imread(str(file))
            assert min(picture.shape[:2]) > 200
            assert picture.std() > 10  # not a blank page
    assert [row["exact"] for row in told["table_5"]] == [5, 14]
    assert [row["measured: unet, depth 1"] for row in told["table_5"]] == [5, 14]
    assert [len(line["trials"]) for line in told["table_6"]] == [2, 2]
    assert len(told["correlation"]) == 3 * len(METRICS)
    table = pd.read_csv(tmp_path / "table_6.csv")
    best = [line["dice_best"] for line in told["table_6"]]
    assert table["dice_best"].tolist() == pytest.approx(best)
    assert len(pd.read_csv(tmp_path / "correlation.csv")) == 3 * len(METRICS)
    for line in told["table_6"]:
        kept = [json.loads(r.read_text()) for r in swept.glob("trials/*/result.json")]
        mine = [k for k in kept if k["spec"]["candidate"]["loss"] == line["candidate"]]
        expected = np.mean([k["history"]["best"]["paper_iou"] for k in mine])
        assert line["paper_iou_best"] == pytest.approx(expected)


def test_tables_fit_the_terminal_and_files_go_to_the_run_s_report(own_run: SweepDirectory) -> None:
    text = figures(own_run.path, columns=80)
    assert max(map(len, text.splitlines())) <= 80
    folder = own_run.path / "report" / "figures"
    assert sorted(p.name for p in folder.iterdir()) == sorted(FILES)
    assert "Table 5" in text
    assert text.count("in brackets the value at the epoch of least") == 1
    assert all(name in text for name in METRICS.values())


def test_an_unfinished_run_is_shown_as_far_as_it_goes(own_run: SweepDirectory) -> None:
    record = own_run.record()
    complete, cut = record.candidates
    unfinished, broken = record.specs([cut])
    own_run.trial(unfinished).result.unlink()
    own_run.trial(broken).history.write_text("nonsense")
    told = json.loads(figures(own_run.path, "--json"))
    assert len(told["files"]) == len(FILES)
    assert [line["candidate"] for line in told["table_6"]] == [complete.loss]
    assert f"{cut.loss}, fold 0: not finished" in told["left_out"]
    assert any(line.startswith(f"{cut.loss}, fold 1: ") for line in told["left_out"])


def test_a_run_without_a_finished_trial_is_one_clear_error(own_run: SweepDirectory) -> None:
    for spec in own_run.record().specs():
        own_run.trial(spec).result.unlink()
    with pytest.raises(RunError, match="a finished trial, got none of 4; let the sweep finish"):
        figures(own_run.path)
    assert not (own_run.path / "report").exists()
    with pytest.raises(RunError, match="a run directory"):
        figures(own_run.path / "trials")


def test_a_lost_data_set_costs_the_two_figures_that_need_it(
    own_run: SweepDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = json.loads(own_run.record_file.read_text())
    moved = json.dumps({**values, "data_directory": str(tmp_path / "no")})
    write_noted(own_run.path, "sweep.json", moved.encode())
    text = figures(own_run.path)  # the cache still knows the slices, but not their native pixels
    assert "left out  figure_8.png: " in text
    assert "left out  figure_11.png: " in text
    monkeypatch.setenv("GITRACT_CACHE", str(tmp_path / "none"))
    told = json.loads(figures(own_run.path, "--json"))
    assert len(told["files"]) == len(FILES) - 2
    assert all("expected a folder" in line for line in told["left_out"])


def test_another_data_set_in_its_place_is_refused(
    own_run: SweepDirectory, own_tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = own_tiny / "train.csv"
    table.write_text(table.read_text().replace("stomach,\n", "stomach,1 2\n", 1))
    values = json.loads(own_run.record_file.read_text())
    moved = json.dumps({**values, "data_directory": str(own_tiny)})
    write_noted(own_run.path, "sweep.json", moved.encode())
    monkeypatch.setenv("GITRACT_CACHE", str(tmp_path / "none"))
    told = json.loads(figures(own_run.path, "--json"))
    assert all("the run's data set" in line for line in told["left_out"])
    assert len(told["left_out"]) == 2


def test_smoothing_is_pandas_adjusted_moving_average() -> None:
    values = np.random.default_rng(0).normal(size=30)
    expected = pd.Series(values).ewm(alpha=0.4, adjust=True).mean()
    assert smoothed(values) == pytest.approx(expected.to_numpy())
    values[[0, 7]] = np.nan
    expected = pd.Series(values).ewm(alpha=0.4, adjust=True, ignore_na=True).mean()
    finite = np.isfinite(values)
    assert smoothed(values)[finite] == pytest.approx(expected.to_numpy()[finite])
    assert np.isnan(smoothed(values)[~finite]).all()


def test_smoothing_leaves_alone_what_is_smooth_or_not_asked_for() -> None:
    assert smoothed([0.1] * 9).tolist() == [0.1] * 9
    assert smoothed([1.0, 5.0, 2.0], weight=0).tolist() == [1.0, 5.0, 2.0]
    assert smoothed([]).tolist() == []


def test_curves_hold_folds_their_mean_and_the_mean_smoothed() -> None:
    losses: Sequence[Sequence[float]] = ([1.0, 0.6, 0.5, 0.1], [0.8, 0.8, 0.3])
    trials = (history(fold, values) for fold, values in enumerate(losses))
    [panel] = draw_curves(CURVE_FIGURES[0], [candidate("x", *trials)]).axes
    lines = [line.get_ydata() for line in panel.lines[4:]]  # after the four of the training loss
    mean = [0.9, 0.7, 0.4]  # as far as both folds go
    for drawn, expected in zip(lines, (*losses, mean, smoothed(mean)), strict=True):
        assert np.asarray(drawn) == pytest.approx(np.asarray(expected))
    assert panel.get_title("left") == "x"


def test_honest_and_paper_metrics_stand_in_panels_of_their_own() -> None:
    trial = history(0, [1.0, 0.5], dice=[0.2, 0.3], paper_dice=[0.6, 0.7])
    honest, paper = draw_curves(CURVE_FIGURES[1], [candidate("x", trial)]).axes
    assert np.asarray(honest.lines[0].get_ydata()).tolist() == [0.2, 0.3]
    assert np.asarray(paper.lines[0].get_ydata()).tolist() == [0.6, 0.7]
    assert honest.get_ylim() == paper.get_ylim()
    assert paper.get_ylim()[1] == pytest.approx(0.8 * 1.02)


def test_more_candidates_than_can_be_read_are_cut_and_said_so() -> None:
    many = [candidate(f"c{i}", history(0, [1.0, 0.5])) for i in range(MOST_CANDIDATES + 3)]
    figure = draw_curves(CURVE_FIGURES[0], many)
    titles = [panel.get_title("left") for panel in figure.axes]
    assert titles == [f"c{i}" for i in range(MOST_CANDIDATES)]
    assert "the best 12 of 15 candidates" in figure.get_suptitle()


def test_shown_slices_are_fixed_places_of_the_ranking() -> None:
    def rows(name: str, dice: Sequence[float], truth: Sequence[int]) -> pd.DataFrame:
        values = {"level": "slice", "id": name, "dice": dice, "truth_px": truth}
        return pd.DataFrame(values)

    ranking = [rows(f"s{i:02}", [i / 20, i / 20, np.nan], [5, 5, 0]) for i in range(1, 21)]
    others = [
        rows("missed_large", [0.0, np.nan], [90, 0]),
        rows("missed_small", [0.0, np.nan], [2, 0]),
        rows("invented", [0.0, np.nan], [0, 0]),  # no organ there
        pd.DataFrame({"level": ["scan"], "id": ["all"], "dice": [np.nan], "truth_px": [999]}),
    ]
    chosen = choose_slices(pd.concat([*ranking, *others], ignore_index=True))
    assert [c.id for c in chosen] == ["s20", "s15", "s09", "s04", "missed_large"]
    assert [c.why for c in chosen][0::2] == ["best", "median", "worst"]
    assert chosen[0].dice == 1.0
    [only] = choose_slices(ranking[3])
    assert only.id == "s04"
    with pytest.raises(RunError, match="a held-out slice with an organ"):
        choose_slices(others[2])


def test_the_fullest_slice_and_its_native_pixels(swept: Path) -> None:
    index = run_index(SweepDirectory(swept).record())
    scan, place = fullest_slice(index)
    assert index.rows_of_scan(scan)["slice"].iloc[place] in (2, 3, 4)  # the tiny set's full ones
    row = index.table.iloc[index.organ_counts.argmax()]
    gray = gray_scan(index, str(row["scan"]))
    assert gray.shape[1:] == (row["height"], row["width"])
    assert gray.max() == 255


def test_the_run_s_slices_do_not_need_a_cache(
    swept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = SweepDirectory(swept).record()
    assert cache_directory(record.data_fingerprint, 32).is_dir()
    cached = run_index(record)
    monkeypatch.setenv("GITRACT_CACHE", str(tmp_path / "none"))
    assert run_index(record).fingerprint == cached.fingerprint


def disc_slice(side: int = 64) -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[:side, :side]
    disc = np.hypot(y - 24, x - 30) < 14
    masks = np.stack([disc, np.zeros_like(disc), np.zeros_like(disc)])
    return (200 * disc).astype(np.uint8), masks


def test_augmentation_bends_image_grid_and_masks_alike() -> None:
    image, masks = disc_slice()
    shown = augmented_slices(image, masks, Candidate(), {"affine", "flip", "intensity"})
    by_kind = {one.title.split("\n")[0]: one for one in shown}
    kinds = ["original", "flip", "elastic", "affine", "intensity", "noise", "blur", "all together"]
    assert list(by_kind) == kinds
    assert np.array_equal(by_kind["original"].image, image)
    assert np.array_equal(by_kind["original"].gridded, with_grid(image))
    for kind in ("flip", "elastic", "affine"):
        bent = by_kind[kind]
        assert not np.array_equal(bent.masks, masks)
        assert np.mean((bent.image >= 100) != bent.masks[0]) < 0.01  # the image is the mask
        assert not np.array_equal(bent.gridded, with_grid(bent.image))  # bent after it was drawn
    for kind in ("intensity", "noise", "blur"):
        assert np.array_equal(by_kind[kind].masks, masks)
        assert not np.array_equal(by_kind[kind].image, image)


def test_affine_column_keeps_straight_lines_straight_and_elastic_column_bends_them() -> None:
    ramp = np.tile(40 + 2 * np.arange(64, dtype=np.uint8), (64, 1))
    shown = augmented_slices(ramp, np.zeros((3, 64, 64), bool), Candidate(), {"affine"})
    by_kind = {one.title.split("\n")[0]: one.image.astype(float)[16:48, 16:48] for one in shown}
    y, x = np.mgrid[:32, :32].reshape(2, -1)
    plane = np.stack([np.ones_like(x), x, y], 1)

    def off_plane(kind: str) -> float:
        gray = by_kind[kind].ravel()
        return float(np.abs(gray - plane @ np.linalg.lstsq(plane, gray)[0]).max())

    assert not np.array_equal(by_kind["affine"], by_kind["original"])
    assert off_plane("affine") < 1  # rounding to whole grays leaves 0.5
    assert off_plane("elastic") > 3


def test_kinds_that_the_run_does_not_use_or_of_no_strength_are_not_shown() -> None:
    knobs = {"augmentation.noise_sd": 0.0, "augmentation.elastic_displacement": 0.0}
    shown = augmented_slices(*disc_slice(), Candidate.from_knobs(knobs), set())
    assert [one.title.split("\n")[0] for one in shown] == ["original", "blur"]


def test_noise_and_blur_are_as_strong_as_their_titles_say() -> None:
    image = np.full((128, 128), 128, np.uint8)
    point = np.zeros((128, 128), np.uint8)
    point[64, 64] = 255
    masks = np.zeros((3, 128, 128), bool)
    noise = augmented_slices(image, masks, Candidate(), set())[2]
    assert noise.title == "noise\nsd 0.05 of the range"
    assert (noise.image / 255).std() == pytest.approx(0.05, rel=0.05)
    blur = augmented_slices(point, masks, Candidate(), set())[3]
    assert blur.title == "blur\nsigma 1.0 % of the side"
    expected = 255 / (2 * np.pi * 1.28**2)  # the peak of a Gaussian of 1 % of 128 pixels
    assert blur.image[64, 64] == pytest.approx(expected, rel=0.1)


def test_the_grid_is_regular_and_keeps_off_the_border() -> None:
    drawn = with_grid(np.zeros((64, 64), np.uint8), lines=4)
    rows = np.flatnonzero(drawn.all(axis=1))
    assert rows.tolist() == [8, 24, 40, 56]
    assert np.array_equal(drawn, drawn.T)


def test_histories_put_the_ranking_first(own_run: SweepDirectory) -> None:
    histories = read_histories(own_run)
    scores = [np.mean(line.scores.folds()) for line in histories.candidates]
    assert scores == sorted(scores, reverse=True)
    best = histories.best.scores.candidate
    own_run.trial(own_run.record().specs([best])[1]).result.unlink()
    assert read_histories(own_run).best.scores.candidate != best  # complete ones come first
