"""A trial that cannot be read costs its candidate the rank, and nobody else anything."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from gitract_core.errors import DivergedError, RunError
from gitract_core.results.trial_result import (
    EpochRecord,
    TrialFiles,
    TrialResult,
    read_history,
    write_history,
)
from orchestrator.results.leaderboard import build_leaderboard
from orchestrator.results.status import read_status
from orchestrator.results.verification import verify_run
from orchestrator.steering.race import Race
from orchestrator.steering.race_rule import RacingRule
from orchestrator.sweeps.labels import candidate_labels
from orchestrator.sweeps.preparation import PreparedSweep, check
from orchestrator.sweeps.preparation import SweepRequest as Request
from tests.support.stub_results import write_result
from tests.support.tiny_sweep import prepare_tiny, tiny_space

LOSSES: tuple[dict[str, object], ...] = ({"loss": "bce"}, {"loss": "dice"})


@pytest.fixture
def sweep(tiny: Path, tmp_path: Path) -> PreparedSweep:
    """A finished one of two candidates, results made up."""
    made = prepare_tiny(tiny, tmp_path / "run", *LOSSES)
    for place, spec in enumerate(made.record.specs()):
        write_result(made, spec, 0.5 + 0.1 * place)
    return made


def edited(file: Path) -> None:
    values = json.loads(file.read_text())
    values["scores"]["score"] = 0.999
    file.write_text(json.dumps(values, indent=1) + "\n")


def verified_faults(sweep: PreparedSweep) -> tuple[str, ...]:
    return verify_run(sweep.directory).faults


def another_figure(file: Path) -> None:
    file.write_bytes(file.read_bytes().replace(b'"score": 0.5', b'"score": 0.9', 1))


DAMAGES: dict[str, Callable[[Path], object]] = {
    "cut short": lambda file: file.write_bytes(file.read_bytes()[:300]),
    "a figure too large": lambda file: file.write_bytes(
        file.read_bytes().replace(b'"best_epoch": 1', b'"best_epoch": 1, "best": {"loss": 5e13}')
    ),
    "edited": edited,
    "one byte": another_figure,
    "a folder": lambda file: (file.unlink(), file.mkdir()),
    "a link to nowhere": lambda file: (file.unlink(), file.symlink_to("nowhere")),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_an_unreadable_result_costs_its_candidate_alone(
    sweep: PreparedSweep, tiny: Path, damage: str
) -> None:
    broken, other = sweep.record.specs()[0], sweep.record.specs()[2]
    DAMAGES[damage](sweep.directory.trial(broken).result)
    board = build_leaderboard(sweep.directory)
    assert [line.candidate for line in board.ranked] == [other.candidate]
    (line,) = board.unranked
    assert line.candidate == broken.candidate
    (reason,) = line.reasons
    assert f"fold 0: {sweep.directory.trial(broken).result}" in reason
    states = {trial.spec: trial.state for trial in read_status(sweep.directory).trials}
    assert states.pop(broken) == "damaged"
    assert set(states.values()) == {"finished"}
    assert any(str(sweep.directory.trial(broken).result) in f for f in verified_faults(sweep))
    space = tiny_space(*LOSSES)
    assert check(Request(tiny, space, sweep.directory.path)).pending == [broken]
    labels = candidate_labels(sweep.record.candidates)
    race = Race(sweep.directory, sweep.record.specs(), RacingRule(1), labels)
    assert broken.key not in race.results
    assert len(race.results) == 3


def test_exchanged_results_are_refused_by_both(sweep: PreparedSweep, tiny: Path) -> None:
    one, other = (sweep.directory.trial(spec).result for spec in sweep.record.specs()[:3:2])
    kept = one.read_bytes()
    shutil.copyfile(other, one)
    other.write_bytes(kept)
    board = build_leaderboard(sweep.directory)
    assert not board.ranked
    assert all("expected key" in line.reasons[0] for line in board.unranked)
    assert len(check(Request(tiny, tiny_space(*LOSSES), sweep.directory.path)).pending) == 2


def test_a_damaged_or_exchanged_failure_is_told_and_blocks_nothing(sweep: PreparedSweep) -> None:
    specs = sweep.record.specs()
    for spec, text in zip(specs[:2], ('{"mess', '{"key": "other", "message": "m"}'), strict=True):
        files = sweep.directory.trial(spec)
        files.result.unlink()
        files.failure.write_text(text)
    board = build_leaderboard(sweep.directory)
    assert len(board.ranked) == 1
    cut, exchanged = board.unranked[0].reasons
    assert "failure.json: expected JSON" in cut
    assert f"failure.json: expected key {specs[1].key}, got other" in exchanged


def test_a_result_that_could_not_be_read_is_not_written(sweep: PreparedSweep) -> None:
    spec = sweep.record.specs()[0]
    files = TrialFiles(sweep.directory.path / "new")
    good = sweep.directory.result(spec)
    assert good
    for figures in ({"loss": 5e13}, {"loss": -1e13}):
        history = {**good.history, "at_best": figures}
        bad = TrialResult(spec, good.scores, good.per_case, history, good.cost, good.environment)
        with pytest.raises(DivergedError, match=r"at_best.*diverged"):
            bad.save(files.result)
    assert not files.directory.exists()
    history = {**good.history, "at_best": {"loss": float("inf"), "dice": float("nan")}}
    TrialResult(spec, good.scores, good.per_case, history, good.cost, good.environment).save(
        files.result
    )
    assert TrialResult.load(files.result, spec).history["at_best"] == {"loss": None, "dice": None}


def test_a_history_that_could_not_be_read_is_not_written(tmp_path: Path) -> None:
    file = tmp_path / "history.csv"
    nan, inf = float("nan"), float("inf")
    fine = EpochRecord(1, 1.0, inf, 0.5, nan, *[0.5] * 6, 1e-3, 1.0)
    write_history(file, [fine])
    assert read_history(file)[0].loss == inf
    bad = EpochRecord(2, 1.0, 1e101, *[0.5] * 8, 1e-3, 1.0)
    with pytest.raises(DivergedError, match="epoch 2"):
        write_history(file, [fine, bad])
    assert len(read_history(file)) == 1
    file.write_text(file.read_text().replace(",0.5", ",1e101", 1))
    with pytest.raises(RunError, match="beyond"):
        read_history(file)
