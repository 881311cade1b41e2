"""Equal losses written differently are one candidate, and runs keep the spelling that they have."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from gitract_core.errors import SpaceError
from orchestrator.sweeps.preparation import SweepRequest, check, prepare
from orchestrator.sweeps.run_digests import write_noted
from tests.support.searching_sweep import prepared, run, search, space, tried
from tests.support.stub_results import write_result
from tests.support.tiny_sweep import tiny_space

SPELLED = ("bce+dice", "bce + dice", "bce + 1.0*dice")


def losses(run: Path) -> list[str]:
    return [c["loss"] for c in json.loads((run / "sweep.json").read_text())["candidates"]]


def test_equal_losses_are_one_candidate(tiny: Path, tmp_path: Path) -> None:
    changes = [{"loss": loss} for loss in SPELLED]
    sweep = prepare(SweepRequest(tiny, tiny_space(*changes), tmp_path / "run"))
    assert [c.loss for c in sweep.record.candidates] == ["bce + dice"]
    overrides = (("loss", "bce+dice"),)
    request = SweepRequest(tiny, tiny_space(), tmp_path / "set", overrides=overrides)
    assert [c.loss for c in request.candidates()] == ["bce + dice"]


def test_a_run_of_another_spelling_is_found_finished(tiny: Path, tmp_path: Path) -> None:
    """Before losses were normalized a run's record held what its space said."""
    sweep = prepare(SweepRequest(tiny, tiny_space({"loss": "bce + dice"}), tmp_path / "run"))
    (candidate,) = sweep.record.candidates
    older = dataclasses.replace(candidate, loss="bce+dice")
    record = dataclasses.replace(sweep.record, candidates=(older,))
    sweep.directory.write(record)
    for spec in record.specs():
        write_result(sweep, spec, 0.5)
    changes = [{"loss": loss} for loss in (*SPELLED, "dice")]
    again = prepare(SweepRequest(tiny, tiny_space(*changes), tmp_path / "run"))
    assert [spec.candidate.loss for spec in again.pending] == ["dice", "dice"]
    assert losses(tmp_path / "run") == ["bce+dice", "dice"]
    rule = {"loss": "bce+dice", "postprocess.threshold": 0.3}  # it can reuse those trainings
    more = prepare(SweepRequest(tiny, tiny_space(rule), tmp_path / "run"))
    assert {spec.candidate.trained for spec in more.pending} == {older}


def test_a_loss_that_is_gone_does_not_end_a_run(tiny: Path, tmp_path: Path) -> None:
    sweep = prepare(SweepRequest(tiny, tiny_space({"loss": "dice"}), tmp_path / "run"))
    text = sweep.directory.record_file.read_text()
    changed = text.replace('"dice"', '"brier"').encode()
    write_noted(sweep.directory.path, "sweep.json", changed)
    prepare(SweepRequest(tiny, tiny_space({"loss": "bce"}), tmp_path / "run"))
    assert losses(tmp_path / "run") == ["brier", "bce"]


def test_a_search_tries_equal_losses_once(tiny: Path, tmp_path: Path) -> None:
    found = search(9, loss=[*SPELLED, "focal"])
    sweep = prepared(tiny, tmp_path / "run", found)
    run(sweep)
    assert sorted(c.loss for c in tried(sweep)) == ["bce + dice", "focal"]
    assert check(SweepRequest(tiny, space(found), tmp_path / "run")).pending == []


def test_a_search_of_another_spelling_goes_on(tiny: Path, tmp_path: Path) -> None:
    """Its old trials stay; the same losses are tried again under their one name."""
    found = search(2, loss=["bce+dice", "focal"])
    sweep = prepared(tiny, tmp_path / "run", found)
    run(sweep)
    file = sweep.directory.record_file
    changed = file.read_text().replace("bce + dice", "bce+dice").encode()
    write_noted(sweep.directory.path, "sweep.json", changed)
    run(prepared(tiny, tmp_path / "run", found))
    assert sorted(losses(tmp_path / "run")) == ["bce + dice", "bce+dice", "focal"]


def test_a_loss_that_is_no_text_is_refused(tiny: Path, tmp_path: Path) -> None:
    found = search(2, loss=["bce", "focal"], **{"optimizer.learning_rate": {"uniform": [0.1, 1]}})
    with pytest.raises(SpaceError, match="knob loss"):
        check(SweepRequest(tiny, space(found), tmp_path / "run", (), (("loss", 3),)))
