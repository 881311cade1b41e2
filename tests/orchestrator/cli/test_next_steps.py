"""Every command that is named as the next one works for the run as it stands."""

from __future__ import annotations

import dataclasses
import io
import shlex
from pathlib import Path

import pytest
from rich.console import Console

from gitract_core.results.trial_result import write_history
from orchestrator.api.run import open_run
from orchestrator.cli.status import _summary
from orchestrator.cli.terminal.next_steps import after_sweep, export_of
from orchestrator.report.progress_table import SweepProgress
from orchestrator.results.status import read_status
from orchestrator.sweeps.events import SweepEvent
from orchestrator.sweeps.preparation import PreparedSweep, SweepRequest, prepare
from search_spaces import load_space
from tests.support.finished_trials import records
from tests.support.stub_results import write_result
from tests.support.tiny_sweep import tiny_space

CHANGES: tuple[dict[str, object], ...] = (
    {"loss": "bce"},
    {"loss": "dice"},
    {"loss": "dice", "postprocess.threshold": 0.4},
)


def sweep_of(data: Path, out: Path, command: str = "gitract-cv sweep --data d") -> PreparedSweep:
    return prepare(SweepRequest(data, tiny_space(*CHANGES), out, command=command))


@pytest.mark.parametrize(("ranked", "top"), [(1, "1"), (2, "2"), (3, "2")])
def test_an_ensemble_takes_as_many_as_are_trained(
    tiny: Path, tmp_path: Path, ranked: int, top: str
) -> None:
    """Candidates that share their networks are one member."""
    sweep = sweep_of(tiny, tmp_path / "a run")
    for spec in sweep.record.specs(sweep.record.candidates[:ranked]):
        write_result(sweep, spec, 0.5)
    run = open_run(tmp_path / "a run")
    words = shlex.split(after_sweep(run, "sweep again"))
    assert words == ["gitract-cv", "ensemble", str(tmp_path / "a run"), "--top", top]
    assert len(run.board.top(int(words[-1]))) == int(top)


def test_nothing_ranked_asks_for_the_sweep_again(tiny: Path, tmp_path: Path) -> None:
    sweep_of(tiny, tmp_path / "run")
    assert after_sweep(open_run(tmp_path / "run"), "gitract-cv sweep X") == "gitract-cv sweep X"


def test_a_bundle_goes_into_a_new_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ensemble = Path("my runs/ensembles/top1-equal")
    assert export_of(ensemble) == "gitract-cv export 'my runs/ensembles/top1-equal'"
    (tmp_path / "bundle").mkdir()
    assert export_of(ensemble).endswith(" --out bundle-top1-equal")


def test_status_names_the_command_that_goes_on(tiny: Path, tmp_path: Path) -> None:
    sweep = sweep_of(tiny, tmp_path / "run")
    said = _summary(read_status(sweep.directory))
    assert said[-1].endswith("the same sweep command goes on from here: gitract-cv sweep --data d")


def test_what_was_removed_is_not_trained_again_by_the_command_that_goes_on(
    tiny: Path, tmp_path: Path
) -> None:
    out = tmp_path / "a run"
    asked = tiny_space({"loss": "bce + 0.5*dice"}, {"loss": "dice"}, {"loss": "focal"})
    command = f"gitract-cv sweep --data {tiny} --space old.yaml --set loss=dice --out '{out}'"
    sweep = prepare(SweepRequest(tiny, asked, out, command=command))
    open_run(out).remove("dice")
    (said,) = (line for line in _summary(read_status(sweep.directory)) if "goes on" in line)
    words = shlex.split(said.partition("this command goes on from here: ")[2])
    assert words[:6] == ["gitract-cv", "sweep", "--data", str(tiny), "--out", str(out)]
    assert words[6] == "--space"
    space = load_space(words[7])
    again = prepare(SweepRequest(tiny, space, out, command=shlex.join(words)))
    assert again.record.candidates == (asked.candidates[0], asked.candidates[2])
    assert len(again.pending) == 4
    assert _summary(read_status(again.directory))[-1].endswith(
        f"same sweep command goes on from here: {shlex.join(words)}"
    )


def test_a_search_may_propose_what_was_removed(tiny: Path, tmp_path: Path) -> None:
    sweep = sweep_of(tiny, tmp_path / "run")
    sweep.directory.write(dataclasses.replace(sweep.record, to_come=2))
    open_run(tmp_path / "run").remove("A")
    said = _summary(read_status(sweep.directory))[-1]
    assert said.endswith("the last sweep's command would train what was removed")


def test_sweep_and_status_agree_on_the_time_left(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One trial is finished, one runs and was at it in an earlier sweep, one waits, one shares."""
    sweep = sweep_of(tiny, tmp_path / "run")
    finished, running = sweep.specs[:2]
    write_result(sweep, finished, 0.5)
    files = sweep.directory.trial(running)
    files.directory.mkdir(parents=True)
    write_history(files.history, records(1, seconds=4.0))
    progress = SweepProgress(Console(file=io.StringIO()), sweep.directory, sweep.specs, at_once=1)
    write_history(files.history, records(2, seconds=4.0))
    progress(SweepEvent("epoch", running.key, 2, {"dice": 0.5, "seconds": 4.0}))
    monkeypatch.setattr("orchestrator.results.status.is_locked", lambda lock: lock == files.lock)
    status = read_status(sweep.directory)
    assert status.seconds_left > 0
    assert progress.seconds_left() == pytest.approx(status.seconds_left)


def test_trials_of_an_earlier_sweep_are_not_waited_for(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep_of(tiny, tmp_path / "run")
    asked = tiny_space({"loss": "bce", "training.epochs": 5})
    second = prepare(SweepRequest(tiny, asked, tmp_path / "run"))
    for spec in second.specs:
        write_result(second, spec, 0.5)
    status = read_status(second.directory)
    assert status.is_done
    assert _summary(status)[-1] == "all is done"
