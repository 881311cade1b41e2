"""What is written down before anything trains, and what the report says deviates from it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import orchestrator
from gitract_core.errors import GitractError, RunError
from gitract_core.spec import Candidate
from orchestrator.api.registering import register_sweep
from orchestrator.api.run import Run, open_run
from orchestrator.cli.main import app
from orchestrator.results.verification import verify_run
from orchestrator.storage.local_folder import LocalRun
from orchestrator.sweeps.preparation import PreparedSweep
from orchestrator.sweeps.registration import (
    Registration,
    deviations,
    in_words,
    read_registration,
    registration_file,
)
from tests.support.stub_results import write_result
from tests.support.tiny_sweep import prepare_tiny, tiny_space

LOSSES = ({"loss": "bce"}, {"loss": "dice"})


@pytest.fixture
def sweep(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PreparedSweep:
    monkeypatch.setenv("GITRACT_CACHE", str(tmp_path / "cache"))
    return prepare_tiny(tiny, tmp_path / "run", *LOSSES)


def finish(sweep: PreparedSweep) -> None:
    for spec in sweep.specs:
        write_result(sweep, spec, 0.6 if spec.candidate.loss == "dice" else 0.5)


def run_of(sweep: PreparedSweep, margin: float | None = None) -> Run:
    return Run(sweep.directory, LocalRun(sweep.directory.path), margin)


def test_what_is_registered_is_read_again(sweep: PreparedSweep) -> None:
    written = register_sweep(sweep, 0.01)
    found = read_registration(sweep.directory)
    assert found == written
    assert found
    assert found.margin == 0.01
    assert found.candidates == sweep.record.candidates
    assert (found.registered, found.version) == (written.registered, orchestrator.__version__)
    values = json.loads(registration_file(sweep.directory).read_text())
    assert set(values) >= {"score", "margin", "candidates", "exclude"}
    assert "0.4 Dice" in values["score"]


def test_nothing_is_registered_by_itself(sweep: PreparedSweep) -> None:
    finish(sweep)
    assert read_registration(sweep.directory) is None
    verdict = run_of(sweep).verdict
    assert verdict
    assert "egistered" not in verdict.in_words
    assert run_of(sweep).to_json()["registration"] is None


def test_the_same_again_goes_on_and_anything_else_is_refused(
    tiny: Path, sweep: PreparedSweep
) -> None:
    first = register_sweep(sweep, None)
    content = registration_file(sweep.directory).read_bytes()
    write_result(sweep, sweep.specs[0], 0.5)
    assert register_sweep(prepare_tiny(tiny, sweep.directory.path, *LOSSES), 0.005) == first
    with pytest.raises(RunError, match="other the margin"):
        register_sweep(sweep, 0.01)
    more = prepare_tiny(tiny, sweep.directory.path, *LOSSES, {"loss": "focal"})
    with pytest.raises(RunError, match="other candidates") as error:
        register_sweep(more, None)
    assert "\n" not in str(error.value)
    assert registration_file(sweep.directory).read_bytes() == content


def test_after_a_result_it_is_too_late(sweep: PreparedSweep) -> None:
    write_result(sweep, sweep.specs[0], 0.5)
    with pytest.raises(RunError, match="expected a run without results, got 1 finished"):
        register_sweep(sweep, None)
    assert not registration_file(sweep.directory).exists()


def test_the_report_says_that_nothing_deviates_or_what_does(
    tiny: Path, sweep: PreparedSweep
) -> None:
    register_sweep(sweep, 0.01)
    finish(sweep)
    verdict = run_of(sweep).verdict
    assert verdict
    assert verdict.statistics.margin == 0.01  # the registered one is the report's
    assert "2 candidates, a margin of 0.01. Nothing deviates from it." in verdict.in_words
    later = prepare_tiny(tiny, sweep.directory.path, {"loss": "focal"})
    finish(later)
    other = run_of(later, 0.02).verdict
    assert other
    expected = "Deviating from it: added: focal; a margin of 0.02 in place of 0.01."
    assert expected in other.in_words
    assert run_of(later).to_json()["registration"]["margin"] == 0.01


def test_every_kind_of_deviation_is_named(sweep: PreparedSweep) -> None:
    record = sweep.record
    registered = dataclasses.replace(
        Registration.of(record, [*record.candidates, Candidate(loss="iou")], 0.005),
        exclude=("case1_day1",),
        repeats=2,
    )
    said = deviations(registered, dataclasses.replace(record, exclude=("case2_day1",)), 0.005, "x")
    assert said[0].startswith("removed: 'iou, widths paper")
    assert said[1:] == [
        "another score: x",
        "excluded too: case2_day1",
        "not excluded: case1_day1",
        "1 fold plan in place of 2",
    ]
    assert "Nothing deviates" in in_words(registered, [])


def test_candidates_that_a_registered_search_proposes_do_not_deviate(sweep: PreparedSweep) -> None:
    first, second = sweep.record.candidates
    registered = dataclasses.replace(Registration.of(sweep.record, [first], 0.005), to_come=1)
    assert deviations(registered, sweep.record, 0.005) == []
    none = dataclasses.replace(registered, to_come=0)
    assert deviations(none, sweep.record, 0.005) == ["added: dice"]
    assert second.loss == "dice"


def test_a_registered_search_goes_on(sweep: PreparedSweep) -> None:
    """What it proposed meanwhile is in the record, and fewer candidates are to come."""
    first, second = sweep.record.candidates
    begun = dataclasses.replace(Registration.of(sweep.record, [first], 0.005), to_come=3)
    later = dataclasses.replace(begun, candidates=(first, second), to_come=2)
    assert begun.differences(later) == []
    assert begun.differences(dataclasses.replace(later, to_come=3)) == ["candidates"]
    assert begun.differences(dataclasses.replace(later, candidates=(second,), to_come=3)) == [
        "candidates"
    ]
    other = dataclasses.replace(begun, exclude=("case1_day1",), repeats=2, score="x")
    assert begun.differences(other) == ["the score", "fold plans", "excluded scans"]


@pytest.mark.parametrize(
    "change", [{"margin": 2}, {"candidates": []}, {"score": None}, {"format": 2}]
)
def test_a_damaged_registration_is_refused(sweep: PreparedSweep, change: dict[str, object]) -> None:
    register_sweep(sweep, None)
    file = registration_file(sweep.directory)
    values = json.loads(file.read_text())
    del values["seal"]
    file.write_text(json.dumps({**values, **change}))
    with pytest.raises(RunError, match=r"registration\.json"):
        read_registration(sweep.directory)


def test_an_edited_registration_is_refused_and_named(sweep: PreparedSweep) -> None:
    register_sweep(sweep, 0.01)
    file = registration_file(sweep.directory)
    assert verify_run(sweep.directory).ok
    file.write_text(file.read_text().replace("0.01", "0.02"))
    with pytest.raises(RunError, match=r"registration\.json: expected digest"):
        read_registration(sweep.directory)
    (fault,) = verify_run(sweep.directory).faults
    assert str(file) in fault


def test_a_sweep_registers_before_it_trains(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sweep of which every trial fails has its registration all the same."""
    monkeypatch.setenv("GITRACT_CACHE", str(tmp_path / "cache"))
    seen: list[bool] = []
    file = tmp_path / "run" / "registration.json"
    run = orchestrator.sweep(
        tiny,
        {"loss": ["bce"], "folds": 2, **_small()},
        tmp_path / "run",
        local=True,
        progress=False,
        tensorboard=False,
        register=True,
        margin=0.02,
        on_event=lambda event: seen.append(file.is_file()),
    )
    assert seen
    assert all(seen)
    assert run.registration
    assert run.registration.margin == 0.02
    assert open_run(run.path).verdict is not None


def _small() -> dict[str, object]:
    knobs = tiny_space().candidates[0].knobs()
    return {
        "network": {"widths": "4,8", "depth": 1},
        "input": {"size": 32, "channels": 1},
        "optimizer": {"batch_size": 4, "learning_rate": 0.01},
        "training": {"epochs": 1, "patience": knobs["training.patience"]},
    }


@pytest.mark.parametrize("margin", [-0.1, 1.0, float("nan")])
def test_a_margin_is_a_part_of_the_score(sweep: PreparedSweep, margin: float) -> None:
    with pytest.raises(GitractError, match="margin: expected 0 to under 1"):
        orchestrator.sweep(sweep.record.data_directory, margin=margin)
    finish(sweep)
    with pytest.raises(GitractError, match="margin: expected 0 to under 1"):
        open_run(sweep.directory.path, margin=margin).verdict  # noqa: B018 - a property


def test_the_command_takes_a_margin_and_says_what_was_registered(sweep: PreparedSweep) -> None:
    register_sweep(sweep, None)
    finish(sweep)
    path = str(sweep.directory.path)
    said = " ".join(CliRunner().invoke(app, ["report", path, "--margin", ".2"]).stdout.split())
    assert "no worse than the best by more than 0.2 (by rank): yes: 1, 2" in said
    assert "Deviating from it: a margin of 0.2 in place of 0.005." in said
    found = json.loads(CliRunner().invoke(app, ["report", path, "--json"]).stdout)
    assert found["registration"]["margin"] == found["statistics"]["margin"] == 0.005
    assert {row["no_worse"] for row in found["leaderboard"]} <= {"yes", "no", "cannot say"}
