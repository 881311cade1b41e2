"""Several sweeps into one run: which candidates a report is about, and how one is removed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gitract_core.errors import RunError
from gitract_core.results.trial_result import TrialFiles
from gitract_core.spec import Candidate, TrialSpec
from gitract_core.trial.reuse import remember_training
from orchestrator.api.run import Run, open_run
from orchestrator.cli.app import app
from orchestrator.cli.main import main  # noqa: F401 - adds the commands
from orchestrator.sweeps.preparation import PreparedSweep, SweepRequest, prepare
from search_spaces import SearchSpace
from tests.support.stub_results import write_result
from tests.support.tiny_sweep import KNOBS

LOSSES = ("bce", "dice", "focal")


def candidates(epochs: int, *losses: str) -> tuple[Candidate, ...]:
    changes = ({"loss": loss, "training.epochs": epochs} for loss in losses)
    return tuple(Candidate.from_knobs({**KNOBS, **change}) for change in changes)


def swept(data: Path, out: Path, asked: tuple[Candidate, ...]) -> PreparedSweep:
    """A finished sweep; longer trainings are better, and so are losses that come later."""
    sweep = prepare(SweepRequest(data, SearchSpace("tiny", "", asked, 2, 0), out))
    for spec in sweep.pending:
        loss, epochs = spec.candidate.loss, spec.candidate.training.epochs
        write_result(sweep, spec, 0.3 + 0.1 * LOSSES.index(loss) + 0.01 * epochs)
        (sweep.directory.trial(spec).best).write_text(f"weights of {spec.key}")
        remember_training(spec, sweep.directory.trial(spec))
    return sweep


@pytest.fixture
def run(tiny: Path, tmp_path: Path) -> Run:
    """Two losses, then the same with more epochs and a third loss."""
    swept(tiny, tmp_path / "run", candidates(2, "bce", "dice"))
    swept(tiny, tmp_path / "run", candidates(4, *LOSSES))
    return open_run(tmp_path / "run")


def test_the_report_is_about_the_last_sweep_and_names_the_others(run: Run) -> None:
    assert [line.label for line in run.board.ranked] == ["focal", "dice", "bce"]
    assert run.board.others == ("A bce, epochs 2", "B dice, epochs 2")
    assert list(run.letters) == ["C", "D", "E"]
    every = run.showing(every=True)
    assert len(every.board.ranked) == 5
    assert every.board.others == ()
    assert every.letters["A"].label == "bce, epochs 2"
    said = CliRunner().invoke(app, ["report", str(run.path)]).output
    assert "report --all): A bce, epochs 2; B dice, epochs 2" in " ".join(said.split())


def test_a_space_chooses_its_candidates(run: Run, tmp_path: Path) -> None:
    space = {**KNOBS, "loss": ["bce", "dice"], "training.epochs": 2}
    shown = run.showing(space)
    assert [line.label for line in shown.board.ranked] == ["dice", "bce"]
    assert list(shown.letters) == ["A", "B"]
    with pytest.raises(RunError, match=r"expected candidates of .*, got none of the 1 of custom"):
        run.showing({**KNOBS, "loss": "iou"})


def test_the_same_sweep_again_asks_for_all_of_its_own(run: Run, tiny: Path) -> None:
    swept(tiny, run.path, candidates(2, "bce", "dice"))
    assert list(open_run(run.path).letters) == ["A", "B"]
    swept(tiny, run.path, (*candidates(2, "bce", "dice"), *candidates(4, *LOSSES)))
    assert len(open_run(run.path).board.ranked) == 5
    assert "asked" not in json.loads((run.path / "sweep.json").read_text())


def test_candidates_of_other_sweeps_can_be_compared(run: Run) -> None:
    found = run.compare("C", "A").iloc[0]
    assert found["difference"] == pytest.approx(0.02, abs=0.005)
    longer = run.compare("training.epochs=4", "training.epochs=2").iloc[0]
    assert longer["pairs"] == 2


def test_a_removed_candidate_leaves_its_letter_and_its_trials(run: Run, tiny: Path) -> None:
    gone = [s for s in run.directory.record().specs() if s.candidate == run.letters["D"].candidate]
    run.remove("D")
    again = open_run(run.path)
    assert [line.label for line in again.board.ranked] == ["focal", "bce"]
    assert list(again.showing(every=True).letters) == ["A", "B", "C", "E"]
    assert not any(run.directory.trial(spec).directory.exists() for spec in gone)
    assert json.loads((run.path / "sweep.json").read_text())["removed"] == [3]
    swept(tiny, run.path, candidates(4, *LOSSES))
    assert list(open_run(run.path).letters) == ["C", "E", "F"]
    assert open_run(run.path).letters["F"].label == "dice"


@pytest.mark.parametrize("name", ["A", "bce, epochs 2"])
def test_a_candidate_of_an_earlier_sweep_is_removed_by_letter_or_label(run: Run, name: str) -> None:
    run.remove(name)
    assert list(open_run(run.path).showing(every=True).letters) == ["B", "C", "D", "E"]


def test_a_rank_is_that_of_the_report(run: Run) -> None:
    run.remove(1)
    assert [line.label for line in open_run(run.path).board.ranked] == ["dice", "bce"]


def test_a_training_that_another_candidate_shares_stays(tiny: Path, tmp_path: Path) -> None:
    changes = ({"postprocess.threshold": value} for value in (0.5, 0.4, 0.3))
    asked = tuple(Candidate.from_knobs({**KNOBS, "loss": "bce", **c}) for c in changes)
    sweep = prepare(SweepRequest(tiny, SearchSpace("t", "", asked, 2, 0), tmp_path / "run"))
    first, second = (sweep.record.specs([c]) for c in asked[:2])
    for spec in (*first, *second):
        write_result(sweep, spec, 0.5)
        files, twin = sweep.directory.trial(spec), sweep.directory.trial(first[spec.fold])
        if files != twin:
            files.best.hardlink_to(twin.best)
        else:
            files.best.write_text("weights")
            files.last.write_text("state")
            remember_training(spec, files)
    run = open_run(tmp_path / "run")
    run.remove("A")
    for before, spec in zip(first, second, strict=True):
        assert not run.directory.trial(before).directory.exists()
        assert run.directory.trial(spec).best.read_text() == "weights"
        assert run.directory.trial(spec).last.read_text() == "state"
    notes = {note.read_text() for note in run.directory.trials.glob(".trained/*/*")}
    assert notes == {spec.key for spec in second}
    run.remove("B")
    assert not list(run.directory.trials.glob(".trained/*/*"))


def test_what_an_ensemble_uses_stays(run: Run) -> None:
    manifest = run.path / "ensembles" / "top1" / "members.json"
    manifest.parent.mkdir(parents=True)
    used: TrialSpec = run.letters["E"].finished[0].spec
    manifest.write_text(json.dumps({"weights": f"../../trials/{used.key}/best.safetensors"}))
    with pytest.raises(RunError, match="a candidate that no ensemble uses, got one of top1"):
        run.remove("E")
    assert TrialFiles(run.directory.trials / used.key).result.is_file()


def test_the_only_candidate_and_unknown_ones_are_refused(tiny: Path, tmp_path: Path) -> None:
    swept(tiny, tmp_path / "run", candidates(2, "bce"))
    run = open_run(tmp_path / "run")
    with pytest.raises(RunError, match="another candidate beside it, got the only one"):
        run.remove("A")
    with pytest.raises(RunError, match="a rank, a letter or a label of the run, got 'Z'"):
        run.remove("Z")
    with pytest.raises(RunError, match="a rank from 1 to 1, got 2"):
        run.remove("2")


def test_the_command_asks_or_wants_yes(run: Run) -> None:
    asked = CliRunner().invoke(app, ["remove", str(run.path), "A"])
    assert isinstance(asked.exception, RunError)
    assert "pass --yes" in str(asked.exception)
    assert "A" in run.showing(every=True).letters
    done = CliRunner().invoke(app, ["remove", str(run.path), "A", "--yes"])
    assert done.exit_code == 0
    assert done.output.startswith("removed A (bce, epochs 2), 2 trials, 2 of them finished")
    assert "A" not in open_run(run.path).showing(every=True).letters


def test_what_a_search_proposes_is_asked_for(run: Run) -> None:
    record = run.directory.record()
    (proposed,) = candidates(6, "bce")
    assert record.with_proposed(proposed).last_asked[-1] == proposed
    assert len(record.with_proposed(proposed).last_asked) == 4
