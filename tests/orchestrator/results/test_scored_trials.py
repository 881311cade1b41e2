"""A run ranked by the score that is asked for: its own, or one that comes later."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from gitract_core.data.volumes import scan_masks, scan_spacing_mm
from gitract_core.errors import GitractError
from gitract_core.knobs import PostprocessKnobs
from gitract_core.metrics import COMPETITION
from gitract_core.metrics.scan_score import score_scan
from gitract_core.metrics.score import Mixture
from gitract_core.metrics.score_expression import parse_score
from gitract_core.metrics.surfaces.distances import InMillimeters
from gitract_core.organs import CONTEST
from gitract_core.prediction.postprocess import NativeGrid, native_masks
from gitract_core.prediction.probabilities import OofStore
from gitract_core.results.trial_result import TrialResult
from gitract_core.spec import TrialSpec
from gitract_core.trial.run import run_trial
from orchestrator.api.run import Run, open_run
from orchestrator.api.scoring import score_before
from orchestrator.cli.main import app
from orchestrator.ensembles.making import make_ensemble
from orchestrator.ensembles.selection import Method
from orchestrator.ensembles.to_come import interval_to_come
from orchestrator.out_of_fold import scoring_again
from orchestrator.out_of_fold.average_scores import OofMeter
from orchestrator.report.page.gathering import ensemble_values
from orchestrator.report.progress_table import SweepProgress
from orchestrator.results.scored_trials import ScoredTrials, UnscoredError, kept_files
from orchestrator.results.verification import verify_run
from orchestrator.steering.race import Race
from orchestrator.steering.race_rule import RacingRule
from orchestrator.sweeps.labels import candidate_labels
from orchestrator.sweeps.preparation import PreparedSweep, SweepRequest, prepare
from orchestrator.tracking.tracker import TrackedRun
from tests.support.made_up_masks import finish_with_masks, shrunk, with_blob
from tests.support.tiny_report import Page
from tests.support.tiny_sweep import tiny_space

CHANGES = {"bce": shrunk, "dice": with_blob}
FAR = "hd95_mm@20mm"
MIXED = "0.4*dice[stomach=2] + 0.4*hd95_mm@20mm + 0.2*surface_dice@3mm"


def prepared(data: Path, out: Path, score: str | None = None) -> PreparedSweep:
    """Two candidates, two folds; nothing is trained."""
    space = tiny_space(*({"loss": loss} for loss in CHANGES))
    return prepare(SweepRequest(data, space, out, score=score))


def swept(data: Path, out: Path, score: str | None = None) -> PreparedSweep:
    """The same with its trials: one predicts masks that are too small, one finds too much."""
    sweep = prepared(data, out, score)
    for spec in sweep.pending:
        finish_with_masks(sweep, spec, CHANGES[spec.candidate.loss])
    return sweep


@pytest.fixture
def sweep(tiny: Path, tmp_path: Path) -> PreparedSweep:
    """Swept by the contest's score."""
    return swept(tiny, tmp_path / "run")


def by(sweep: PreparedSweep, score: str | None = None) -> Run:
    return open_run(sweep.directory.path, score=score)


def ranking(run: Run) -> list[str]:
    return [line.label for line in run.board.ranked]


def reckoned(sweep: PreparedSweep, loss: str, score: Mixture) -> float:
    """A candidate's mean over folds, from its files, scan by scan."""
    folds, index = [], sweep.data.cache(32).index
    for spec in (s for s in sweep.specs if s.candidate.loss == loss):
        total = np.zeros(len(score.columns))
        for scan, probabilities in OofStore(sweep.directory.trial(spec).oof).items():
            rows = index.rows_of_scan(scan)
            masks = native_masks(probabilities, NativeGrid.of_scan(rows), PostprocessKnobs())
            asked = InMillimeters(scan_spacing_mm(rows), score.needs)
            truth = scan_masks(rows, organs=CONTEST)
            total += score.count(score_scan(masks, truth, in_mm=asked)).sum(axis=0)
        folds.append(float(score.of(total)))
    return float(np.mean(folds))


@pytest.mark.parametrize(("score", "first"), [("dice", "dice"), (FAR, "bce"), (MIXED, "bce")])
def test_scores_rank_one_run_each_in_its_own_way(
    sweep: PreparedSweep, score: str, first: str
) -> None:
    run, measure = by(sweep, score), parse_score(score, CONTEST)
    assert len(run.board.ranked) == 2
    assert ranking(run)[0] == first
    for line in run.board.ranked:
        expected = reckoned(sweep, line.label, measure)
        assert line.mean() == pytest.approx(expected, abs=1e-12)
    assert run.verdict is not None
    best = run.verdict.statistics.candidates[0]  # intervals and ties are of the same score
    assert (best.name, best.score) == (first, pytest.approx(run.board.ranked[0].mean()))
    assert by(sweep).board.score is COMPETITION


def test_the_command_ranks_by_another_score_and_shows_its_parts(sweep: PreparedSweep) -> None:
    path = str(sweep.directory.path)
    said = CliRunner().invoke(app, ["report", path, "--score", MIXED, "--json"])
    values = json.loads(said.stdout)
    assert values["score"]["text"] == MIXED
    assert "surface Dice at 3 mm over scans" in values["score"]["name"]
    first = values["leaderboard"][0]
    parts = ("dice", "hd95_score@20mm", "surface_dice@3mm")
    weights = (0.4, 0.4, 0.2)
    assert first["score"] == pytest.approx(
        sum(w * first[part] for w, part in zip(weights, parts, strict=True))
    )
    assert "hausdorff" not in first
    assert 0 < first["stomach_surface_dice@3mm"] <= 1
    text = CliRunner().invoke(app, ["report", path, "--score", MIXED]).stdout
    for word in ("HD95", "SD 3", "0.2 surface Dice at 3 mm over scans", "a missed organ is 0"):
        assert word in " ".join(text.split())
    assert "Haus." not in text
    assert "Haus." in CliRunner().invoke(app, ["report", path]).stdout


def test_the_page_shows_the_score_that_ranks(sweep: PreparedSweep, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    run = by(sweep, FAR)
    run.report(html=page, csv=tmp_path / "t.csv", markdown=tmp_path / "t.md")
    data = Page(page.read_text()).data
    assert data["leaderboard"]["score"].startswith("HD95 score (limit 20 mm) over scans")
    assert [part["key"] for part in data["leaderboard"]["parts"]] == ["hd95_score@20mm"]
    assert data["leaderboard"]["rows"][0]["candidate"] == "bce"
    assert data["cases"]["measure"] == "HD95 20mm"
    assert np.nanmax(data["cases"]["score"][0]) <= 1
    assert "hausdorff" not in (tmp_path / "t.csv").read_text()
    assert "HD95 20mm" in (tmp_path / "t.md").read_text()


def test_what_was_scored_again_is_kept_and_a_damaged_file_made_anew(
    sweep: PreparedSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = ranking(by(sweep, FAR)), by(sweep, FAR).board.ranked[0].mean()
    kept = sorted((sweep.directory.path / "report" / "scores").glob("*/*.json"))
    assert len(kept) == 4
    whole = kept[0].read_bytes()
    scored = list[str]()
    real = scoring_again._Scoring.per_case

    def noted(self: Any, result: TrialResult) -> Any:
        scored.append(result.spec.key)
        return real(self, result)

    monkeypatch.setattr(scoring_again._Scoring, "per_case", noted)
    assert ranking(by(sweep, FAR)) == before[0]
    assert scored == []
    kept[0].write_bytes(whole.replace(b"0.", b"1.", 1))
    again = by(sweep, FAR)
    assert (ranking(again), again.board.ranked[0].mean()) == before
    assert scored == [kept[0].stem]
    assert kept[0].read_bytes() == whole


def test_kept_sums_are_verified_and_go_with_their_candidate(sweep: PreparedSweep) -> None:
    run = by(sweep, FAR)
    assert len(run.board.ranked) == 2
    assert not [f for f in verify_run(run.directory).faults if "report/scores" in f]
    damaged = kept_files(run.directory)[0]
    damaged.write_bytes(damaged.read_bytes().replace(b"0.", b"1.", 1))
    (fault,) = [f for f in verify_run(run.directory).faults if "report/scores" in f]
    assert str(damaged) in fault
    run.remove("bce")
    assert len(kept_files(run.directory)) == 2


def test_sums_of_an_earlier_training_are_not_taken(sweep: PreparedSweep) -> None:
    assert ranking(by(sweep, FAR)) == ["bce", "dice"]
    for spec in sweep.specs:  # trained again, with another outcome
        files = sweep.directory.trial(spec)
        files.result.unlink()
        finish_with_masks(sweep, spec, with_blob if spec.candidate.loss == "bce" else shrunk)
    assert ranking(by(sweep, FAR)) == ["dice", "bce"]


def test_without_probabilities_the_line_says_so(sweep: PreparedSweep) -> None:
    gone, damaged = (sweep.directory.trial(s).oof for s in sweep.specs[:2])
    gone.unlink()
    damaged.write_bytes(damaged.read_bytes()[:-50])
    run = by(sweep, "surface_dice@1mm")
    assert ranking(run) == ["dice"]
    (line,) = run.board.unranked
    assert line.label == "bce"
    assert "no out-of-fold probabilities" in line.reasons[0]
    assert [str(gone) in line.reasons[0], str(damaged) in line.reasons[1]] == [True, True]
    assert len(by(sweep).board.ranked) == 2  # by the contest's all are


def test_a_bad_score_is_one_line(sweep: PreparedSweep) -> None:
    for score, complaint in (("dise", "did you mean 'dice'"), ("dice[liver=2]", "an organ of the")):
        with pytest.raises(GitractError, match=complaint):
            _ = by(sweep, score).board


def test_a_sweep_by_its_own_score_leaves_its_sums_and_the_contests(
    tiny: Path, tmp_path: Path
) -> None:
    """The same training with and without: equal keys, equal figures of the contest."""
    results = {}
    for name, score in (("own", MIXED), ("contest", None)):
        sweep = prepared(tiny, tmp_path / name, score)
        spec = sweep.specs[0]
        results[name] = run_trial(spec, sweep.data, sweep.directory.trial(spec).directory)
    own, contest = results["own"], results["contest"]
    assert own.spec.key == contest.spec.key
    assert (own.scores, own.per_case) == (contest.scores, contest.per_case)
    assert own.own["score"] == MIXED
    content = json.loads(
        (tmp_path / "contest" / "trials" / own.spec.key / "result.json").read_text()
    )
    assert "own" not in content
    assert "score" not in json.loads((tmp_path / "contest" / "sweep.json").read_text())
    assert json.loads((tmp_path / "own" / "sweep.json").read_text())["score"] == MIXED
    trials = ScoredTrials(open_run(tmp_path / "own").directory)
    seen = trials.result(own.spec)
    assert seen is not None
    assert seen.per_case == own.own["per_case"]
    assert seen.scores["contest"] == contest.scores
    again = scoring_again._Scoring.of(trials).per_case(own)
    for case, sums in again.items():
        for column, values in sums.items():
            assert values == pytest.approx(own.own["per_case"][case][column], abs=1e-12)


def test_a_run_ranks_by_its_own_score_until_a_sweep_asks_for_another(
    tiny: Path, tmp_path: Path
) -> None:
    sweep = swept(tiny, tmp_path / "run", FAR)
    assert ranking(by(sweep)) == ["bce", "dice"]
    assert not (sweep.directory.path / "report" / "scores").exists()  # all trials left them
    assert ranking(by(sweep, "dice")) == ["dice", "bce"]
    contest = by(sweep, "contest").board
    assert contest.score is COMPETITION
    assert contest.ranked[0].mean() == pytest.approx(reckoned(sweep, "bce", COMPETITION))
    counts = [t.score for t in by(sweep).status().trials]
    assert counts == [ScoredTrials(sweep.directory).result(s).scores["score"] for s in sweep.specs]
    assert prepared(tiny, tmp_path / "run").record.score == FAR  # not asked again
    later = prepared(tiny, tmp_path / "run", " 1.0 * surface_dice@9 mm ")
    assert later.record.score == "surface_dice@9mm"
    assert later.pending == []  # nothing is trained again
    with pytest.raises(UnscoredError, match="none, and no out-of-fold"):
        ScoredTrials(later.directory).result(later.specs[0])
    assert len(ranking(by(later))) == 2
    found = ScoredTrials(later.directory).result(later.specs[0])
    assert found is not None
    assert 0 < found.scores["surface_dice@9mm"] <= 1


def test_a_race_decides_by_the_runs_score(tiny: Path, tmp_path: Path) -> None:
    found = {}
    for score in ("dice", FAR):
        sweep = swept(tiny, tmp_path / score, score)
        seen: dict[TrialSpec, float] = {}
        labels = candidate_labels(tuple(s.candidate for s in sweep.specs))
        race = Race(sweep.directory, sweep.specs, RacingRule(keep=1), labels)
        for spec in sweep.specs:
            seen[spec] = race.results[spec.key].scores["score"]
        best = max(seen, key=seen.__getitem__)
        found[score] = best.candidate.loss
        assert {d.after_folds for d in race.decisions} == {1}
    assert found == {"dice": "dice", FAR: "bce"}


def test_a_race_takes_a_trial_that_cannot_be_scored_for_a_failed_one(
    tiny: Path, tmp_path: Path
) -> None:
    swept(tiny, tmp_path / "run", "dice")
    later = prepared(tiny, tmp_path / "run", FAR)
    lost = later.specs[0]
    later.directory.trial(lost).oof.unlink()
    say, text = Console(file=io.StringIO()), Console(file=io.StringIO())
    score_before(later, say=text, shown=say)
    assert "3 finished trials scored again" in text.file.getvalue()  # type: ignore[attr-defined]
    labels = candidate_labels(tuple(s.candidate for s in later.specs))
    race = Race(later.directory, later.specs, RacingRule(keep=1), labels)
    assert race.failed == {lost.key}
    assert lost.candidate not in race.racing  # nobody waits for it
    assert len(race.results) == 3


def test_trackers_and_listeners_are_told_the_runs_score(tiny: Path, tmp_path: Path) -> None:
    sweep = swept(tiny, tmp_path / "run", f"0.5*dice + 0.5*{FAR}")
    spec, tracked = sweep.specs[0], TrackedRun(sweep.directory, sweep.specs)
    found = tracked.final_scores(spec)
    assert list(found) == ["score", "dice", "hd95_score_at_20mm"]  # MLflow takes no @
    assert found["score"] == pytest.approx((found["dice"] + found["hd95_score_at_20mm"]) / 2)
    progress = SweepProgress(Console(file=io.StringIO()), sweep.directory, sweep.specs)
    assert progress.cells[spec.key].score == found["score"]


def test_an_ensemble_is_chosen_and_announced_by_the_score(sweep: PreparedSweep) -> None:
    for score, first in (("dice", "dice"), (MIXED, "bce"), (FAR, "bce")):
        run = by(sweep, score)
        made = make_ensemble(sweep.directory, run.board, Method(1, "greedy"))
        assert [line.label for line, _ in made.chosen] == [first]
        assert made.announced.score == pytest.approx(run.board.ranked[0].mean())
        announced = json.loads((made.directory / "oof_score.json").read_text())
        assert announced["measure"] == parse_score(score, CONTEST).text
        low, high = interval_to_come(announced, 3)
        assert not low > high
    (listed,) = ensemble_values(sweep.directory, FAR)  # the last one has replaced the others
    assert listed["measure"] == FAR
    assert ensemble_values(sweep.directory) == []
    run = by(sweep, MIXED)
    meter = OofMeter(sweep.directory, run.board.ranked, (PostprocessKnobs(),), score=run.measure)
    left = meter.sums((1, 0))
    meter._known.clear()  # measured from masks, organ by organ
    np.testing.assert_allclose(meter.sums((1, 0)), left, atol=1e-9)
