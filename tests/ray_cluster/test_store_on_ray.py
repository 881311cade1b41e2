"""A race on Ray into an object store: begun, interrupted, and resumed by another machine."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from gitract_core.results.trial_result import TrialResult
from gitract_core.trial.run import run_trial
from orchestrator.storage.remote_run import RemoteRun
from orchestrator.sweeps.run_directory import SweepDirectory
from tests.support.faulty_trials import same_but_for_cost
from tests.support.s3_server import Server, names, server
from tests.support.stored_sweeps import run, started_sweep, sweep, wait_for
from tests.support.waiting import LONG_SECONDS

__all__ = ["server"]  # a fixture

pytestmark = [pytest.mark.ray, pytest.mark.slow]


def test_race_on_ray_is_interrupted_and_goes_on_elsewhere(
    server: Server, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = ("--set", "training.epochs=25", "--race", "--race-keep", "1", "--cpus-per-trial", "1")
    command = [part for part in sweep(tiny, tmp_path, *flags) if part != "--local"]
    begun = started_sweep(command, tmp_path / "first")
    wait_for(server, "checkpoint.pt", begun)
    begun.send_signal(signal.SIGINT)
    assert begun.wait(LONG_SECONDS) == 130
    assert not [name for name in names(server, "runs/a") if "lease" in name]
    done = run(*command, cache=tmp_path / "second")
    assert done.returncode == 0, done.stderr
    stored = names(server, "runs/a")
    assert "racing.json" in stored
    assert not [name for name in stored if "checkpoint" in name or "lease" in name]
    assert len(json.loads(done.stdout)["leaderboard"]) == 2

    monkeypatch.setenv("GITRACT_CACHE", str(tmp_path / "third"))
    directory = SweepDirectory(RemoteRun("s3://bucket/runs/a").pull())
    record = directory.record()
    results = {s.key: s for s in record.specs() if directory.trial(s).is_finished()}
    assert len(results) >= 3, "one candidate at least on both folds"
    spec = next(iter(results.values()))
    alone = run_trial(spec, directory.data(record), tmp_path / "undisturbed")
    assert same_but_for_cost(TrialResult.load(directory.trial(spec).result), alone)
