"""Sweeps that propose candidates: as many as asked for, and what a resume keeps."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gitract_core.errors import SpaceError
from gitract_core.spec import Candidate
from orchestrator.results.leaderboard import build_leaderboard
from orchestrator.results.status import read_status
from orchestrator.steering.search import Searching, foreseen
from orchestrator.sweeps.preparation import SweepRequest, check, prepare
from search_spaces import SearchSpace
from tests.support.searching_sweep import asked, event, prepared, run, search, space, tried
from tests.support.stub_results import write_result
from tests.support.tiny_sweep import KNOBS


def test_as_many_candidates_as_asked_for_are_trained_on_every_fold(
    tiny: Path, tmp_path: Path
) -> None:
    sweep = prepared(tiny, tmp_path / "run", search(9))
    assert (len(tried(sweep)), sweep.record.to_come, sweep.trials_to_come) == (3, 6, 12)
    executor = run(sweep, slots=3)
    assert len(executor.started) == len({s.key for s in executor.started}) == 18
    board = build_leaderboard(sweep.directory)
    assert len(board.ranked) == 9
    assert sweep.directory.record().to_come == 0


def test_an_interrupted_search_goes_on_as_if_it_had_not_been(tiny: Path, tmp_path: Path) -> None:
    whole = prepared(tiny, tmp_path / "whole", search(8))
    run(whole)
    for most in (1, 7, 2, 1, 0, 100):
        sweep = prepared(tiny, tmp_path / "parts", search(8))
        run(sweep, most=most)
    assert tried(sweep) == tried(whole)
    results = list((tmp_path / "parts" / "trials").glob("*/result.json"))
    assert len(results) == 16


def test_what_was_proposed_before_a_kill_is_trained_after_it(tiny: Path, tmp_path: Path) -> None:
    sweep = prepared(tiny, tmp_path / "run", search(5))
    run(sweep, most=4)
    course = Searching(prepared(tiny, tmp_path / "run", search(5)), None, lambda specs: None)
    before = set(tried(sweep))
    specs = course.more()  # and here the process is killed
    (new,) = set(tried(sweep)) - before
    assert [s.candidate for s in specs] == [new, new]
    again = prepared(tiny, tmp_path / "run", search(5))
    assert set(specs) <= set(again.pending)
    executor = run(again)
    assert len(tried(again)) == 5
    assert set(specs) <= set(executor.started)


def test_more_samples_go_on_from_what_is_there(tiny: Path, tmp_path: Path) -> None:
    run(prepared(tiny, tmp_path / "run", search(4)))
    sweep = prepared(tiny, tmp_path / "run", search(9))
    assert not set(tried(sweep)[:4]) & {s.candidate for s in sweep.pending}
    executor = run(sweep)
    assert len(tried(sweep)) == 9
    assert len(executor.started) == 10
    fewer = prepared(tiny, tmp_path / "run", search(3))
    assert not fewer.pending
    assert fewer.record.to_come == 0


def test_what_others_tried_inside_the_space_counts_and_what_lies_outside_does_not(
    tiny: Path, tmp_path: Path
) -> None:
    inside = Candidate.from_knobs({**KNOBS, "loss": "bce", "augmentation.probability": 0.25})
    outside = Candidate.from_knobs(
        {**inside.knobs(), "network.depth": 2, "network.widths": "4,8,8"}
    )
    prepare(SweepRequest(tiny, SearchSpace("grid", "", (inside, outside), 2, 0), tmp_path / "run"))
    sweep = prepared(tiny, tmp_path / "run", search(6))
    assert inside in {s.candidate for s in sweep.specs}
    assert outside not in {s.candidate for s in sweep.specs}
    run(sweep)
    assert len(tried(sweep)) == 7


def test_knobs_that_are_set_are_not_searched(tiny: Path, tmp_path: Path) -> None:
    sweep = prepared(tiny, tmp_path / "run", search(6), loss="dice")
    run(sweep)
    assert {c.loss for c in tried(sweep)} == {"dice"}
    assert len({c.optimizer.learning_rate for c in tried(sweep)}) == 6


def test_what_optuna_is_told(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A value only of all folds; running, failed and impossible ones by their names."""
    seen = asked(monkeypatch)
    sweep = prepared(tiny, tmp_path / "run", search(13))
    course = Searching(sweep, None, lambda specs: None)
    whole, half, failed, diverged, waiting = list(course.trials.values())
    for spec in (*whole, half[0]):
        write_result(sweep, spec, 0.5 + 0.1 * spec.fold)
        course(event(spec, "finished"))
    course(event(failed[1], "failed", "disk"))
    course(event(diverged[0], "failed", "diverged"))
    course.more()
    states = [seen[0][specs[0].candidate] for specs in (whole, half, failed, diverged, waiting)]
    assert [o.state for o in states] == ["finished", "running", "failed", "dropped", "running"]
    assert states[0].score == pytest.approx(0.55)


def test_a_plan_counts_what_is_to_come(tiny: Path, tmp_path: Path) -> None:
    found = search(9, loss=["bce", "dice", "focal"], **{"input.size": [32, 48, 64, 80, 96]})
    checked = check(SweepRequest(tiny, space(found), tmp_path / "run"))
    assert len(checked.specs) == 6
    assert [view.size for view in checked.views] == [32, 48, 64, 80, 96], (
        "caches of what may be proposed are built before"
    )
    plan = foreseen(checked)
    assert len({s.key for s in plan.pending}) == 18
    assert len(plan.record.candidates) == 9
    assert foreseen(plan).pending[:18] == plan.pending[:18]


def test_status_tells_how_many_are_to_come(tiny: Path, tmp_path: Path) -> None:
    sweep = prepared(tiny, tmp_path / "run", search(9))
    assert read_status(sweep.directory).to_come == 6
    run(sweep)
    status = read_status(sweep.directory)
    assert (status.to_come, len(status.trials)) == (0, 18)


def test_records_without_a_search_are_read(tiny: Path, tmp_path: Path) -> None:
    sweep = prepared(tiny, tmp_path / "run", search(9))
    values = json.loads(sweep.directory.record_file.read_text())
    del values["to_come"]
    sweep.directory.record_file.write_text(json.dumps(values))
    (sweep.directory.path / "digests.json").unlink()  # which those records lack
    assert sweep.directory.record().to_come == 0


def test_losses_and_networks_of_a_search_are_checked_before_anything_runs(
    tiny: Path, tmp_path: Path
) -> None:
    with pytest.raises(SpaceError, match="dice"):
        check(SweepRequest(tiny, space(search(9, loss=["bce", "dicee"])), tmp_path / "run"))


def test_a_proposal_that_is_trained_already_does_not_end_the_search(
    tiny: Path, tmp_path: Path
) -> None:
    """A record that was put back to an older one: results are there that it does not name."""
    sweep = prepared(tiny, tmp_path / "run", search(5))
    older = sweep.directory.record()
    run(sweep)
    sweep.directory.write(older)
    again = run(prepared(tiny, tmp_path / "run", search(5)))
    assert not again.started
    assert len(tried(sweep)) == 5
