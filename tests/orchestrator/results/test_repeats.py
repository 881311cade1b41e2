"""Repeated cross-validation in a sweep: further fold plans beside what is there."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from gitract_core.data.folds import FoldPlan, further_plans
from gitract_core.data.slices import SliceIndex
from gitract_core.errors import DataError, RunError
from gitract_core.prediction.probabilities import OofStore
from gitract_core.trial.run import run_trial
from orchestrator.ensembles.making import make_ensemble
from orchestrator.ensembles.selection import Method
from orchestrator.out_of_fold.masks import OofAverage
from orchestrator.report import table_rows, write_markdown
from orchestrator.report.page import page_values
from orchestrator.results.leaderboard import Leaderboard, build_leaderboard
from orchestrator.results.status import read_status
from orchestrator.results.verdict import judge
from orchestrator.sweeps.preparation import PreparedSweep, SweepRequest, prepare
from orchestrator.sweeps.run_directory import SweepDirectory
from tests.support.command_line import cli
from tests.support.tiny_sweep import tiny_space

LOSSES = ({"loss": "bce"}, {"loss": "bce + dice"})


def sweep_of(data: Path, out: Path, repeats: int | None) -> PreparedSweep:
    return prepare(SweepRequest(data, tiny_space(*LOSSES), out, repeats=repeats))


def train(sweep: PreparedSweep) -> None:
    for spec in sweep.pending:
        run_trial(spec, sweep.data, sweep.directory.trial(spec).directory)


@pytest.fixture(scope="module")
def run(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> SweepDirectory:
    """A run of one plan that was given a second one."""
    out = tmp_path_factory.mktemp("repeats") / "run"
    train(sweep_of(tiny, out, None))
    train(sweep_of(tiny, out, 2))
    return SweepDirectory(out)


def board_of(run: SweepDirectory) -> Leaderboard:
    return build_leaderboard(run)


def test_further_plans_part_the_cases_otherwise(tiny: Path) -> None:
    index = SliceIndex.from_directory(tiny)
    first = FoldPlan.make(index, 2)
    plans = [first, *further_plans(index, [first], 3)]
    assert len({plan.parts for plan in plans}) == 3  # all there are of four cases in two pairs
    assert further_plans(index, plans, 3) == []
    assert further_plans(index, plans[:2], 3) == plans[2:]  # not by how many are asked for
    with pytest.raises(DataError, match=r"--repeats: expected 4 different fold plans, got 3"):
        further_plans(index, plans, 4)


def test_a_repeat_reuses_what_is_there(tiny: Path, tmp_path: Path) -> None:
    once = sweep_of(tiny, tmp_path / "run", None)
    assert len(once.pending) == 4
    train(once)
    before = {p: p.stat().st_mtime_ns for p in once.directory.trials.rglob("result.json")}
    twice = sweep_of(tiny, tmp_path / "run", 2)
    assert len(twice.specs) == 8
    assert {s.key for s in twice.pending} == {s.key for s in twice.specs} - {
        s.key for s in once.specs
    }
    assert len({(s.seed, s.folds_fingerprint) for s in twice.specs}) == 2
    train(twice)
    assert all(p.stat().st_mtime_ns == at for p, at in before.items())
    assert not sweep_of(tiny, tmp_path / "run", None).pending  # as often as before
    with pytest.raises(RunError, match=r"--repeats: expected 2 to 100, as before or more, got 1"):
        sweep_of(tiny, tmp_path / "run", 1)


def test_a_new_run_may_begin_with_repeats(tiny: Path, tmp_path: Path) -> None:
    sweep = sweep_of(tiny, tmp_path / "run", 2)
    again = sweep_of(tiny, tmp_path / "other", None)
    grown = sweep_of(tiny, tmp_path / "other", 2)
    assert (
        {s.key for s in sweep.specs} == {s.key for s in grown.specs} > {s.key for s in again.specs}
    )


def test_ranking_is_over_all_folds(run: SweepDirectory) -> None:
    board = board_of(run)
    assert not board.unranked
    line = board.ranked[0]
    scores = [r.scores["score"] for r in line.finished]
    assert len(scores) == 4
    assert line.mean() == pytest.approx(np.mean(scores))
    verdict = judge(board)
    assert verdict is not None
    assert (verdict.statistics.n_plans, verdict.statistics.n_cases) == (2, 4)
    assert verdict.statistics.candidates[0].score == pytest.approx(line.mean())
    row = table_rows(board, verdict)[0]
    assert row["folds"] == "4/4"
    assert row["fold3_score"] == pytest.approx(scores[3])


def test_a_candidate_without_its_repeat_is_not_ranked(tiny: Path, tmp_path: Path) -> None:
    train(sweep_of(tiny, tmp_path / "run", None))
    sweep = sweep_of(tiny, tmp_path / "run", 2)
    for spec in sweep.pending[:3]:
        run_trial(spec, sweep.data, sweep.directory.trial(spec).directory)
    board = board_of(sweep.directory)
    assert len(board.ranked) == len(board.unranked) == 1
    assert board.unranked[0].reasons[0].endswith("not finished")


def test_out_of_fold_is_the_mean_over_plans(run: SweepDirectory) -> None:
    """Each plan's own network that did not see the case, read from its file."""
    board, record = board_of(run), run.record()
    line = board.ranked[0]
    average = OofAverage(run, [line])
    scan = average.scans[0]
    case = scan.removeprefix("case").partition("_")[0]
    said = []
    for plan, repeat in zip(run.plans(record), record.plans, strict=True):
        fold = plan.fold_of_case[case]
        (result,) = [
            r
            for r in line.finished
            if (r.spec.folds_fingerprint, r.spec.fold) == (repeat.folds_fingerprint, fold)
        ]
        said.append(OofStore(run.trial(result.spec).oof)[scan].astype(float))
    np.testing.assert_allclose(average.parts(scan).each[0], np.mean(said, axis=0), rtol=1e-6)
    assert not np.array_equal(*said)


def test_ensemble_takes_the_networks_of_all_plans(run: SweepDirectory) -> None:
    made = make_ensemble(run, board_of(run), Method(1))
    assert len(made.members.members) == 4
    assert len({member.trial for member in made.members.members}) == 4
    assert 0 <= made.announced.score <= 1


def test_tables_page_and_status_number_folds_on(run: SweepDirectory, tmp_path: Path) -> None:
    board = board_of(run)
    verdict = judge(board)
    write_markdown(board, tmp_path / "table.md", verdict)
    assert "| fold 0 | fold 1 | fold 2 | fold 3 |" in (tmp_path / "table.md").read_text()
    values = page_values(run, board, verdict)
    assert values["left_out"] == []
    assert [fold["fold"] for fold in values["folds"]["folds"]] == [0, 1, 2, 3]
    curves = values["curves"]["candidates"][0]["folds"]
    assert [curve["fold"] for curve in curves] == [0, 1, 2, 3]
    trials = read_status(run).to_json()["trials"]
    assert [trial["fold"] for trial in trials[:4]] == [0, 1, 2, 3]


def test_a_plan_that_was_changed_is_refused(tiny: Path, tmp_path: Path) -> None:
    sweep_of(tiny, tmp_path / "run", 2)
    file = tmp_path / "run" / "folds-2.json"
    values = json.loads(file.read_text())
    values["fold_of_case"] = {c: 1 - f for c, f in values["fold_of_case"].items()}
    file.write_text(json.dumps(values))
    with pytest.raises(RunError, match=r"folds-2\.json: expected digest"):
        sweep_of(tiny, tmp_path / "run", None)
    (tmp_path / "run" / "digests.json").unlink()
    with pytest.raises(RunError, match=r"folds-2\.json: expected fingerprint"):
        sweep_of(tiny, tmp_path / "run", None)
    file.unlink()
    with pytest.raises(RunError, match=r"folds-2\.json"):
        sweep_of(tiny, tmp_path / "run", None)


def test_the_command(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITRACT_CACHE", str(tmp_path / "cache"))
    space = 'folds: 2\nloss: bce\nnetwork: {widths: "4,8", depth: 1}\ninput: {size: 32}\n'
    (tmp_path / "space.yaml").write_text(space + "training: {epochs: 1}\n")
    wanted = ("--local", "--data", tiny, "--space", "space.yaml")
    done = cli(tmp_path, "sweep", *wanted)
    assert "Fitting 2 folds for 1 candidate, totalling 2 trials" in done.stdout
    plan = cli(tmp_path, "plan", *wanted, "--repeats", "2", "--json")
    assert json.loads(plan.stdout)["trials"] == 4
    assert json.loads(plan.stdout)["finished"] == 2
    done = cli(tmp_path, "sweep", *wanted, "--repeats", "2", "--race")
    assert "Fitting 2 x 2 folds for 1 candidate, totalling 4 trials" in done.stdout
    assert "2 of them are finished already" in done.stdout
    assert "fold 3: score" in done.stderr
    assert "over 2 x 2 folds" in cli(tmp_path, "report").stdout
