"""A run whose candidates see slices in different ways: scores, averages, ensembles and pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gitract_core.data.windows import window_of_scan
from gitract_core.device import Runtime
from gitract_core.errors import SpaceError
from gitract_core.knobs import PostprocessKnobs
from gitract_core.metrics import COMPETITION, Score, score_scan
from gitract_core.organs import CONTEST
from gitract_core.prediction.common_view import CommonView, Said
from gitract_core.prediction.members import Members, Predictor
from gitract_core.prediction.postprocess import NativeGrid, native_masks
from gitract_core.results.epoch_sums import EpochSums
from gitract_core.trial.run import run_trial
from gitract_core.view import View, Window
from orchestrator import open_run
from orchestrator.api.run import Run
from orchestrator.api.sweep_lines import asked_lines
from orchestrator.out_of_fold.annotation_audit import audit_run, truth_at, write_audit
from orchestrator.out_of_fold.average_scores import OofMeter
from orchestrator.out_of_fold.masks import OofAverage
from orchestrator.report.page import gallery
from orchestrator.report.paper import predictions
from orchestrator.report.paper.augmentation import draw_augmentation
from orchestrator.report.suspects import write_gallery
from orchestrator.results.candidate_scores import CandidateScores
from orchestrator.results.verification import verify_run
from orchestrator.statistics.case_sums import organ_rows
from orchestrator.sweeps.preparation import PreparedSweep
from search_spaces.search import Search
from tests.support.tiny_sweep import prepare_tiny

NARROW = {"input.size": 16, "input.spacing_mm": 1.5}
WIDE = {"input.size": 32, "input.spacing_mm": 3.0}
CHANGES = ({}, NARROW, WIDE, {**NARROW, "postprocess.threshold": 0.3})
VIEWS = (View(32), View(16, 1.5), View(32, 3.0), View(16, 1.5))


@pytest.fixture(scope="module")
def sweep(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> PreparedSweep:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GITRACT_CACHE", str(tmp_path_factory.getbasetemp() / "gitract-cache"))
        made = prepare_tiny(tiny, tmp_path_factory.mktemp("spaced") / "run", *CHANGES)
        for spec in sorted(made.specs, key=lambda s: s.candidate.postprocess.threshold < 0.5):
            run_trial(spec, made.data, made.directory.trials / spec.key)
    return made


@pytest.fixture
def run(sweep: PreparedSweep) -> Run:
    return open_run(sweep.directory.path)


def lines_of(run: Run) -> list[CandidateScores]:
    """In the order of ``CHANGES``."""
    found = {line.candidate: line for line in run.board.ranked}
    return [found[candidate] for candidate in run.board.record.candidates]


def kept_sums(line: CandidateScores, case: str, score: Score = COMPETITION) -> np.ndarray:
    """A case's sums, (organs, columns)."""
    return np.array(organ_rows(line.label, line.per_case[case], score.columns))


def dice_of(sweep: PreparedSweep, line: CandidateScores, case: str) -> np.ndarray:
    """Sums of Dice over a case's scans, and how many count, (organs, 2); from masks alone."""
    average, sums = OofAverage(sweep.directory, [line]), np.zeros((len(CONTEST), 2))
    for scan in map(average.scan, average.scans):
        if scan.case == case:
            found = native_masks(scan.probabilities, scan.grid, line.candidate.postprocess)
            for organ, (a, b) in enumerate(zip(found, scan.truth, strict=True)):
                sums[organ] += 2 * (a & b).sum() / (a.sum() + b.sum()), 1
    return sums


def test_scores_count_what_lies_outside_of_the_window(sweep: PreparedSweep, run: Run) -> None:
    assert tuple(line.candidate.input.view for line in lines_of(run)) == VIEWS
    for line, view in zip(lines_of(run), VIEWS, strict=True):
        average, rule = OofAverage(sweep.directory, [line]), line.candidate.postprocess
        sums: dict[str, np.ndarray] = {}
        for name in average.scans:
            scan = average.scan(name)
            assert scan.probabilities.shape[2:] == (view.size, view.size)
            masks = native_masks(scan.probabilities, scan.grid, rule)
            if view == View(16, 1.5):
                top, left = (scan.grid.height - 16) // 2, (scan.grid.width - 16) // 2
                inside = np.zeros(masks.shape, bool)
                inside[..., top : top + 16, left : left + 16] = True
                assert not masks[~inside].any()
                assert scan.truth[~inside].any()
                assert masks.any()
            found = COMPETITION.count(score_scan(masks, scan.truth, "diagonal"))
            sums[scan.case] = sums.get(scan.case, 0) + found
        for case, expected in sums.items():
            assert kept_sums(line, case) == pytest.approx(expected)


def test_sums_of_epochs_are_of_the_same_windows(sweep: PreparedSweep, run: Run) -> None:
    spec = next(s for s in sweep.specs if s.candidate.input.view == View(16, 1.5))
    files = sweep.directory.trial(spec)
    sums = EpochSums.load(files.epochs)
    line = next(c for c in run.board.ranked if c.candidate == spec.candidate)
    best = int(np.argmax(sums.monitored))
    for place, case in enumerate(sums.cases):
        assert sums.sums[best, place] == pytest.approx(kept_sums(line, case))


def test_averages_of_several_views_are_measured_where_they_meet(
    sweep: PreparedSweep, run: Run
) -> None:
    lines = lines_of(run)[:3]
    meter = OofMeter(sweep.directory, lines, [lines[0].candidate.postprocess])
    bag = (2, 1, 1)
    found = meter.sums(bag)
    expected = np.zeros_like(found)
    for name in meter.source.scans:
        parts = meter.source.parts(name)
        grid = NativeGrid.of_scan(parts.rows)
        common = CommonView.of(VIEWS[:3], lambda grid=grid: grid)
        total = common.average(
            Said(part, view, share / 4)
            for part, view, share in zip(parts.each, VIEWS, bag, strict=False)
        )
        scan = parts.scan_of(total, common)
        masks = native_masks(total, scan.grid, lines[0].candidate.postprocess)
        sums = COMPETITION.count(score_scan(masks, scan.truth, "diagonal"))
        expected[meter.cases.tolist().index(scan.case)] += sums
    assert found == pytest.approx(expected, rel=1e-6)
    meter._known.clear()
    for place, line in enumerate(lines):
        alone = meter.sums(tuple(int(place == other) for other in range(3)))
        kept = [kept_sums(line, case) for case in meter.cases.tolist()]
        assert alone == pytest.approx(np.array(kept))


@pytest.mark.parametrize("places", [(0, 1), (1,), (1, 2), (0, 1, 2)])
def test_an_ensemble_predicts_as_it_was_measured(
    sweep: PreparedSweep, run: Run, tmp_path: Path, places: tuple[int, ...]
) -> None:
    """Networks of one fold that did not learn from the scan, of several views or of one."""
    lines, directory = [lines_of(run)[place] for place in places], sweep.directory
    trials = [(directory.trial(r.spec), 1.0) for r in (line.results[0] for line in lines) if r]
    rules = (lines[0].candidate.postprocess,) * 3
    members = Members.of_trials(trials, rules, tmp_path)
    members.save(tmp_path / "members.json")
    loaded = Members.load(tmp_path / "members.json")
    assert loaded == members
    predictor = Predictor(loaded, tmp_path, Runtime("cpu", 1))
    assert predictor.views == tuple(sorted(VIEWS[place] for place in places))
    average = OofAverage(directory, lines)
    held_out = [name for name in average.scans if average.parts(name).fold == 0]
    for scan in map(average.scan, held_out):
        assert scan.mixed == (len(places) > 1)
        expected = native_masks(scan.probabilities, scan.grid, rules)
        found = predictor.masks(average.index, scan.scan)
        assert expected.any()
        assert (found != expected).mean() < 1e-2  # probabilities under 2 % are kept as 0


def test_ensembles_are_made_of_candidates_of_several_views(run: Run) -> None:
    made = run.ensemble(top=3)
    assert {m.candidate.input.view for m in Members.load(made.manifest).members} == set(VIEWS)


def test_pictures_show_predictions_where_they_lie(
    sweep: PreparedSweep, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    line, index = lines_of(run)[1], OofAverage(sweep.directory, lines_of(run)[1:2]).index
    windows: list[Window | None] = []

    def noted(probabilities: np.ndarray, grid: NativeGrid, rule: PostprocessKnobs) -> np.ndarray:
        windows.append(grid.window)
        return native_masks(probabilities, grid, rule)

    for module in (gallery, predictions):
        monkeypatch.setattr(module, "native_masks", noted)
    scan = index.scans[0]
    gallery._scan(sweep.directory, line, index, gallery.ChosenScan(scan, "worst", 0.5, 1, 1))
    one = predictions.ChosenSlice("worst", str(index.rows_of_scan(scan)["id"].iloc[1]), 0.5)
    result = gallery._result_of(line, scan, str(index.rows_of_scan(scan)["case"].iloc[0]))
    predictions._slices(sweep.directory, one, result, index)
    assert windows == [window_of_scan(index.rows_of_scan(scan), View(16, 1.5))] * 2
    assert draw_augmentation(index, line.candidate, set()).axes


def test_the_audit_compares_on_the_common_plane(
    sweep: PreparedSweep, run: Run, tmp_path: Path
) -> None:
    lines = lines_of(run)
    mixed = OofAverage(sweep.directory, lines[:3])
    for name in mixed.scans[:2]:
        scan = mixed.scan(name)
        truth = truth_at(mixed, scan)
        assert truth.shape == scan.probabilities.shape
        grid, known = scan.grid, scan.truth
        again = native_masks(255 * truth.astype(np.uint8), grid, lines[0].candidate.postprocess)
        assert 2 * (again & known).sum() / (again.sum() + known.sum()) > 0.95
    found = audit_run(sweep.directory, run.board, 3)
    assert sorted(s.scan for s in found.scans) == sorted(mixed.scans)
    write_audit(found, tmp_path)
    average = OofAverage(sweep.directory, found.candidates)
    assert len(write_gallery(found, average, tmp_path, 1)) == 2
    spaced = OofAverage(sweep.directory, lines[1:2])
    scan = spaced.scan(spaced.scans[0])
    assert np.array_equal(
        truth_at(spaced, scan).any(axis=(2, 3)),
        native_masks(
            255 * truth_at(spaced, scan).astype(np.uint8), scan.grid, lines[0].candidate.postprocess
        ).any(axis=(2, 3)),
    )
    assert write_gallery(found, spaced, tmp_path, 1)


def test_a_run_of_several_views_is_reported_scored_again_and_verified(
    sweep: PreparedSweep, run: Run
) -> None:
    assert any(path.suffix == ".html" for path in run.write_report())
    again = open_run(sweep.directory.path, score="dice")
    assert again.score_trials() == len(sweep.specs)
    for line, other in zip(lines_of(run), lines_of(again), strict=True):
        for case in line.per_case:
            found = kept_sums(other, case, again.measure)
            assert found == pytest.approx(dice_of(sweep, line, case))
    verified = verify_run(sweep.directory)
    assert verified.faults == ()
    found = run.out_of_fold(OofAverage(sweep.directory, lines_of(run)).scans[0], 1)
    assert found.masks.shape == found.truth.shape


@pytest.mark.parametrize("knob", ["input.size", "input.spacing_mm"])
def test_a_search_takes_sizes_and_spacings_from_lists(knob: str) -> None:
    bounds = [32, 64] if knob == "input.size" else [1.0, 2.0]
    search = Search.parse({knob: bounds}, 4, 0)
    assert len({candidate.input.view for candidate in search.corners()}) == 2
    kind = "randint" if knob == "input.size" else "uniform"
    with pytest.raises(SpaceError, match=f"knob {knob}: expected a list of .* cache of its own"):
        Search.parse({knob: {kind: bounds}}, 4, 0)


def test_a_sweep_says_what_lies_outside(sweep: PreparedSweep) -> None:
    lines = [line for line in asked_lines(sweep) if "outside" in line]
    assert len(lines) == 1, "the wide view shows everything"
    assert lines[0].startswith("input.size 16 at input.spacing_mm 1.5: ")
    assert lines[0].endswith("outside of what the network sees, and count as missed")
