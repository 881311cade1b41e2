"""The score that a candidate would have had the other folds chosen its epochs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from gitract_core.errors import RunError, SpaceError
from gitract_core.metrics.score import COMPETITION
from gitract_core.results.trial_result import TrialFiles, TrialResult, read_history
from gitract_core.spec import Candidate, TrialSpec
from orchestrator.api.comparison import ranked_candidate
from orchestrator.api.run import open_run
from orchestrator.results.candidate_scores import CandidateScores
from orchestrator.results.epoch_choice import EpochChoice, epoch_of_the_others, refuse_unlike
from orchestrator.results.epoch_words import epochs_in_words
from orchestrator.results.leaderboard import Leaderboard, build_leaderboard
from orchestrator.results.verdict import judge
from orchestrator.sweeps.preparation import PreparedSweep, SweepRequest
from search_spaces import load_space
from tests.support.epochs_by_hand import saved_weights_of_every_epoch, scored_by_hand
from tests.support.made_up_epochs import epoch_sums, write_trial
from tests.support.tiny_sweep import SPACE, prepare_tiny

MADE = Path(__file__).parents[2] / "old_runs"


def test_the_mean_curve_of_the_others_decides() -> None:
    first, second = np.array([0.1, 0.9, 0.3]), np.array([0.1, 0.2, 0.7, 0.9])
    assert epoch_of_the_others([first], 3) == 2
    assert epoch_of_the_others([second], 9) == 4
    assert epoch_of_the_others([second], 2) == 2, "it has no later one"
    assert epoch_of_the_others([first, second], 9) == 2, "of the epochs that both have"
    assert epoch_of_the_others([np.array([-np.inf, -1.0])], 2) == 2
    assert epoch_of_the_others([np.array([-np.inf, -np.inf])], 2) == 1


def test_it_is_the_score_of_the_saved_weights_of_those_epochs(tiny: Path, tmp_path: Path) -> None:
    """By hand: every epoch's weights are kept, those that the others choose are scored anew."""
    restless: dict[str, object] = {
        "loss": "bce + dice", "optimizer.learning_rate": 0.03, "training.epochs": 5,
    }  # fmt: skip
    sweep = prepare_tiny(tiny, tmp_path / "run", restless)
    weights = {
        spec.fold: saved_weights_of_every_epoch(spec, sweep.data, sweep.directory.trials / spec.key)
        for spec in sweep.specs
    }
    by_fold = {spec.fold: spec for spec in sweep.specs}
    expected, kept = [], []
    for fold, spec in sorted(by_fold.items()):
        curve = [r.loss for r in read_history(sweep.directory.trial(by_fold[1 - fold]).history)]
        chosen = min(range(len(curve)), key=curve.__getitem__)
        sums = scored_by_hand(spec, sweep.data, weights[fold][chosen], tmp_path)
        total = np.sum(
            [[sums[case][name] for name in COMPETITION.columns] for case in sums], axis=(0, 2)
        )
        expected.append(0.4 * total[0] / total[1] + 0.6 * total[2] / total[3])
        kept.append(TrialResult.load(sweep.directory.trial(spec).result).scores["score"])
    (line,) = build_leaderboard(sweep.directory).ranked
    assert line.mean() == pytest.approx(np.mean(kept))
    assert line.epoch_choice.cross_fitted == pytest.approx(np.mean(expected), abs=1e-9)
    assert line.epoch_choice.flattered_by == pytest.approx(np.mean(kept) - np.mean(expected))


def candidate_of(
    where: Path, curves: Sequence[np.ndarray], *, cases: int = 3, keep: str = "held_out"
) -> CandidateScores:
    """A candidate whose folds have these scores epoch by epoch, and are judged by them."""
    candidate = Candidate.from_knobs({"training.keep": keep, "training.monitor": "dice"})
    results, files = [], []
    for fold, curve in enumerate(curves):
        spec = TrialSpec(candidate, fold, len(curves), 0, "data", "plan")
        place = TrialFiles(where / str(fold))
        sums = epoch_sums([f"{fold}-{case}" for case in range(cases)], curve, curve)
        results.append(write_trial(place, spec, sums))
        files.append(place.epochs)
    return CandidateScores(
        candidate, where.name, tuple(results), epoch_files=tuple(files), n_folds=len(curves)
    )


def test_candidates_are_flattered_unlikewise_and_the_figure_says_by_how_much(
    tmp_path: Path,
) -> None:
    """Equally good epochs; one candidate's scores jump from epoch to epoch, another's do not."""
    random, folds, epochs, runs = np.random.default_rng(5), 5, 20, 60
    found = {0.0: [0.0, 0.0], 0.03: [0.0, 0.0]}
    for run in range(runs):
        for jump, sums in found.items():
            curves = 0.6 + random.normal(0, jump, (folds, epochs))
            line = candidate_of(tmp_path / f"{run} {jump}", list(curves), cases=1)
            choice = line.epoch_choice
            assert choice.cross_fitted is not None
            sums[0] += choice.announced / runs
            sums[1] += choice.cross_fitted / runs
    most = float(np.mean(np.max(random.normal(0, 0.03, (20_000, epochs)), axis=1)))
    assert found[0.0] == pytest.approx([0.6, 0.6])
    assert found[0.03][0] == pytest.approx(0.6 + most, abs=0.003), "flattered by .056"
    assert found[0.03][1] == pytest.approx(0.6, abs=0.005)


def test_a_shared_file_counts_as_far_as_the_trial_went(tmp_path: Path) -> None:
    """A candidate with fewer epochs takes over a longer training's file."""
    short = [np.array([0.2, 0.5, 0.4]), np.array([0.2, 0.4, 0.45])]
    line = candidate_of(tmp_path / "a", short)
    expected = line.epoch_choice.cross_fitted
    results = []
    for place, curve in enumerate(short):
        longer = np.array([*curve, 0.9, 0.8])
        cases = [f"{place}-{case}" for case in range(3)]
        epoch_sums(cases, longer, longer).save(line.epoch_files[place])
        file = TrialFiles(tmp_path / "a" / str(place)).result
        line.finished[place].save(file)
        results.append(TrialResult.load(file))
    again = CandidateScores(
        line.candidate, "b", tuple(results), epoch_files=line.epoch_files, n_folds=2
    )
    assert again.epoch_choice.cross_fitted == expected == pytest.approx((0.4 + 0.4) / 2)


def test_repeats_choose_within_their_own_plan(tmp_path: Path) -> None:
    """Another plan's folds look at the same patients."""
    curves = [np.array(c) for c in ([0.1, 0.2], [0.3, 0.1], [0.5, 0.6], [0.7, 0.8])]
    four = candidate_of(tmp_path / "a", curves)
    two = CandidateScores(
        four.candidate, "a", four.results, epoch_files=four.epoch_files, n_folds=2
    )
    assert two.epoch_choice.cross_fitted == pytest.approx(np.mean([0.1, 0.1, 0.6, 0.8]))


def made_up_run(
    data: Path, out: Path, *keeps: str, known: bool = True
) -> tuple[PreparedSweep, Leaderboard]:
    """Candidates of these rules; ``held_out`` ones score .60 at best and .50 by the others.

    Candidates of other rules score .55; all have .01 more in the second fold.
    """
    sweep = prepare_tiny(
        data,
        out,
        *({"training.keep": k, "loss": f"{n + 1}*bce"} for n, k in enumerate(keeps)),
    )
    jumping = [np.array([0.5, 0.6, 0.4]), np.array([0.6, 0.5, 0.4])]
    for spec in sweep.specs:
        flat = spec.candidate.training.keep != "held_out"
        curve = np.array([0.1, 0.3, 0.55]) if flat else jumping[spec.fold]
        cases = sweep.data.plan.cases(spec.fold)
        sums = epoch_sums(cases, curve + 0.01 * spec.fold, curve)
        write_trial(sweep.directory.trial(spec), spec, sums, keep_sums=known)
    return sweep, build_leaderboard(sweep.directory)


def test_candidates_of_one_rule_are_ranked_as_the_paper_does_with_the_figure_beside(
    tiny: Path, tmp_path: Path
) -> None:
    _, board = made_up_run(tiny, tmp_path / "run", "held_out", "held_out")
    for line in board.ranked:
        assert line.mean() == pytest.approx(0.605)
        assert line.epoch_choice.cross_fitted == pytest.approx(0.505)
    words = epochs_in_words(board)
    assert "the other folds choose, the first scores 0.5050 instead of 0.6050" in words
    row = board.to_rows()[0]
    assert row["score"] == row["score_announced"] == pytest.approx(0.605)
    assert row["flattered_by"] == pytest.approx(0.1)


def test_an_equal_score_is_not_told_twice(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, board = made_up_run(tiny, tmp_path / "run", "held_out")
    same = EpochChoice("held_out", 0.605, 0.605)
    monkeypatch.setattr(CandidateScores, "epoch_choice", property(lambda _: same))
    assert "the other folds choose, the first scores 0.6050 as well." in epochs_in_words(board)


def test_candidates_of_unlike_rules_are_ranked_by_the_cross_fitted_figures(
    tiny: Path, tmp_path: Path
) -> None:
    """And intervals, folds, organs and comparisons are of the same sums."""
    sweep, board = made_up_run(tiny, tmp_path / "run", "held_out", "last", "inner")
    rules = [line.epoch_choice.rule for line in board.ranked]
    assert rules[-1] == "held_out", "it would be first by its flattered score"
    assert [line.mean() for line in board.ranked] == pytest.approx([0.555, 0.555, 0.505])
    last = board.ranked[-1]
    assert last.folds() == pytest.approx([0.5, 0.51])
    assert last.organ_mean("stomach", "dice") == pytest.approx(0.505)
    assert last.epoch_choice.flattered_by == pytest.approx(0.1)
    assert [line.epoch_choice.flattered_by for line in board.ranked[:2]] == [0, 0]
    verdict = judge(board)
    assert verdict is not None
    assert verdict.statistics.candidates[-1].score == pytest.approx(0.505)
    assert "all figures of the former" in epochs_in_words(board).lower()
    run = open_run(sweep.directory.path)
    values = json.loads(json.dumps(run.to_json()))["leaderboard"]
    assert [row["epoch_choice"]["rule"] for row in values] == rules
    assert values[-1]["epoch_choice"]["flattered_by"] == pytest.approx(0.1)
    table = run.leaderboard()
    assert table["flattered_by"].tolist() == pytest.approx([0, 0, 0.1])
    assert table["mean_test_score"].tolist() == pytest.approx([0.555, 0.555, 0.505])
    assert run.compare(1, 3)["difference"][0] == pytest.approx(0.05)


def test_where_the_figure_is_not_known_they_are_not_ranked_together(
    tiny: Path, tmp_path: Path
) -> None:
    _, board = made_up_run(tiny, tmp_path / "run", "held_out", "last", known=False)
    assert [line.candidate.training.keep for line in board.ranked] == ["last"]
    (left,) = board.unranked
    assert left.complete
    assert "so they are not ranked together" in left.reasons[0]
    assert left.epoch_choice.to_json() == {"rule": "held_out", "flattered_by": None}
    with pytest.raises(RunError, match="expected a ranked candidate, got the scored patients"):
        ranked_candidate(board, left.label)


def test_of_one_rule_they_are_ranked_though_the_figure_is_not_known(
    tiny: Path, tmp_path: Path
) -> None:
    _, board = made_up_run(tiny, tmp_path / "run", "held_out", "held_out", known=False)
    assert len(board.ranked) == 2
    assert {line.epoch_choice.flattered_by for line in board.ranked} == {None}
    assert "is not known" in epochs_in_words(board)
    assert board.to_rows()[0]["score_cross_fitted"] is None


def test_a_damaged_file_makes_the_figure_unknown_and_nothing_else(
    tiny: Path, tmp_path: Path
) -> None:
    sweep, _ = made_up_run(tiny, tmp_path / "run", "held_out", "held_out")
    sweep.directory.trial(sweep.specs[0]).epochs.write_bytes(b"PK")
    board = build_leaderboard(sweep.directory)
    assert len(board.ranked) == 2
    known = [line.epoch_choice.flattered_by is not None for line in board.ranked]
    assert sorted(known) == [False, True]
    assert "For 1 of 2 candidates it is not known" in epochs_in_words(board)


def test_the_file_of_another_trial_is_as_good_as_none(tiny: Path, tmp_path: Path) -> None:
    """Exchanged with one of the same fold, or put where the trial left none."""
    sweep, _ = made_up_run(tiny, tmp_path / "run", "held_out", "held_out")
    first, second = (sweep.directory.trial(s) for s in sweep.specs if s.fold == 0)
    cases = sweep.data.plan.cases(0)
    other = epoch_sums(cases, np.array([0.1, 0.6, 0.4]), np.array([0.5, 0.6, 0.4]))
    other.save(first.epochs)
    board = build_leaderboard(sweep.directory)
    known = [line.epoch_choice.flattered_by is not None for line in board.ranked]
    assert sorted(known) == [False, True]
    content = second.epochs.read_bytes()
    second.epochs.unlink()
    second.scores.write_bytes(b"of this trial")
    result = TrialResult.load(second.result)
    result.save(second.result)
    second.epochs.write_bytes(content)
    board = build_leaderboard(sweep.directory)
    assert {line.epoch_choice.flattered_by for line in board.ranked} == {None}


def test_a_run_of_an_earlier_version_says_that_it_is_not_known() -> None:
    values = open_run(MADE / "finished").to_json()
    choices = [row["epoch_choice"] for row in values["leaderboard"]]
    assert choices
    assert all(choice == {"rule": "held_out", "flattered_by": None} for choice in choices)
    assert "By how much is not known" in values["epoch_choice"]


def test_nobody_is_told_of_flattery_where_there_is_none(tiny: Path, tmp_path: Path) -> None:
    _, board = made_up_run(tiny, tmp_path / "run", "last", "inner")
    assert len(board.ranked) == 2
    assert epochs_in_words(board) == ""


def test_a_race_and_a_search_do_not_compare_unlike_rules(tiny: Path, tmp_path: Path) -> None:
    held_out, last = (Candidate.from_knobs({"training.keep": k}) for k in ("held_out", "last"))
    with pytest.raises(SpaceError, match=r"--race: .*training\.keep held_out and last"):
        refuse_unlike([held_out, last], "--race")
    inner = Candidate.from_knobs({"training.keep": "inner"})
    refuse_unlike([last, inner], "--race")
    search = "search: {method: tpe, samples: 4}\n" + SPACE
    for keep, fine in (("[held_out, last]", False), ("[inner, last]", True), ("[held_out]", True)):
        (tmp_path / "space.yaml").write_text(f"{search}training: {{keep: {keep}}}\n")
        request = SweepRequest(tiny, load_space(tmp_path / "space.yaml"), tmp_path / "run")
        if fine:
            assert request.candidates()
        else:
            with pytest.raises(SpaceError, match=r"knob training\.keep: expected one value"):
                request.candidates()
