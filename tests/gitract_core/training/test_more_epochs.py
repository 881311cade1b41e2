"""A sweep asked for more epochs, or another patience, reuses what is there, and ends the same."""

from __future__ import annotations

import random
from itertools import product
from pathlib import Path

import pytest

from gitract_core.device import Runtime
from gitract_core.knobs import TrainingKnobs
from gitract_core.results.trial_result import EpochRecord, TrialFiles, TrialResult, read_history
from gitract_core.spec import TrialSpec
from gitract_core.training.early_stopping import ending
from gitract_core.trial.reuse import epochs_ready
from gitract_core.trial.run import iterate_trial, run_trial
from orchestrator.results.leaderboard import build_leaderboard
from orchestrator.results.verdict import judge
from orchestrator.sweeps.preparation import PreparedSweep
from tests.support.faulty_trials import same_but_for_cost
from tests.support.killed_trainings import Killed, Steps, epochs_of
from tests.support.tiny_sweep import prepare_tiny

RESTLESS: dict[str, object] = {
    "loss": "bce + dice",
    "optimizer.learning_rate": 0.03,
    "augmentation.kinds": "none",
}
"""With these the validation loss goes up and down, so that patience and best epochs matter."""


def asked(data: Path, out: Path, *changes: dict[str, object]) -> tuple[PreparedSweep, TrialSpec]:
    """The sweep, and the trial of its last change on the first fold."""
    sweep = prepare_tiny(data, out, *({**RESTLESS, **c} for c in changes))
    candidate = {**dict(sweep.record.candidates[-1].knobs()), **RESTLESS, **changes[-1]}
    return sweep, next(s for s in sweep.specs if s.fold == 0 and s.candidate.knobs() == candidate)


def train(sweep: PreparedSweep, spec: TrialSpec, runtime: Runtime | None = None) -> list[int]:
    """Run a trial at its place; the epochs that it ran."""
    place = sweep.directory.trials / spec.key
    return [r.epoch for r in iterate_trial(spec, sweep.data, place, runtime)]


def assert_as_alone(sweep: PreparedSweep, spec: TrialSpec, alone: Path) -> None:
    found = sweep.directory.trial(spec)
    expected = run_trial(spec, sweep.data, alone / spec.key)
    assert same_but_for_cost(TrialResult.load(found.result), expected)
    assert found.best.read_bytes() == TrialFiles(alone / spec.key).best.read_bytes()
    assert found.scores.read_bytes() == TrialFiles(alone / spec.key).scores.read_bytes()
    assert epochs_of(found) == epochs_of(TrialFiles(alone / spec.key))


def test_more_epochs_go_on_from_the_last_state_and_end_bit_identical(
    tiny: Path, tmp_path: Path
) -> None:
    sweep, short = asked(tiny, tmp_path / "run", {"training.epochs": 3})
    assert train(sweep, short) == [1, 2, 3]
    kept = {f.name: f.read_bytes() for f in sweep.directory.trial(short).directory.iterdir()}
    assert {"last.pt", "result.json"} <= kept.keys()
    assert "checkpoint.pt" not in kept
    sweep, long = asked(tiny, tmp_path / "run", {"training.epochs": 6})
    assert epochs_ready(long, sweep.directory.trial(long)) == 3
    assert train(sweep, long) == [4, 5, 6]
    assert_as_alone(sweep, long, tmp_path / "alone" / "trials")
    after = {f.name: f.read_bytes() for f in sweep.directory.trial(short).directory.iterdir()}
    assert after == kept, "the shorter one is as it was"
    records = read_history(sweep.directory.trial(long).history)
    cost = TrialResult.load(sweep.directory.trial(long).result).cost
    assert cost["seconds"] == pytest.approx(sum(r.seconds for r in records)), "of all epochs"


def test_killed_while_it_goes_on_it_still_ends_the_same(tiny: Path, tmp_path: Path) -> None:
    sweep, short = asked(tiny, tmp_path / "run", {"training.epochs": 2})
    with Steps().counted() as steps:
        train(sweep, short)
    sweep, long = asked(tiny, tmp_path / "run", {"training.epochs": 4})
    with Steps(steps.count // 2 + 1).counted(), pytest.raises(Killed):
        train(sweep, long)
    assert train(sweep, long) == [4]
    assert_as_alone(sweep, long, tmp_path / "alone" / "trials")


def test_every_number_of_epochs_and_patience_ends_as_alone(tiny: Path, tmp_path: Path) -> None:
    """In a random order, so that each finds others before it that are longer and shorter."""
    grid: list[dict[str, object]] = [
        {"training.epochs": epochs, "training.patience": patience}
        for epochs, patience in product((1, 2, 4, 7, 9), (1, 2, 3))
    ]
    random.Random(1).shuffle(grid)
    sweep, _ = asked(tiny, tmp_path / "run", *grid)
    places = {
        (int(str(c["training.epochs"])), int(str(c["training.patience"]))): n
        for n, c in enumerate(grid)
    }
    specs = [s for s in sweep.specs if s.fold == 0]
    knobs = [s.candidate.training for s in specs]
    specs = [
        s
        for _, s in sorted(
            zip([places[k.epochs, k.patience] for k in knobs], specs, strict=True),
            key=lambda pair: pair[0],
        )
    ]
    ran = {spec.key: len(train(sweep, spec)) for spec in specs}
    for spec in specs:
        assert_as_alone(sweep, spec, tmp_path / "alone" / spec.key)
    needed = [TrialResult.load(sweep.directory.trial(s).result).history["epochs"] for s in specs]
    assert len(set(needed)) > 3, "the history is too plain to test anything"
    assert 0 < sum(ran.values()) < sum(needed) / 2
    assert list(ran.values()).count(0) > 3


def test_ended_by_patience_it_is_taken_over(tiny: Path, tmp_path: Path) -> None:
    patient: dict[str, object] = {"training.patience": 1, "training.epochs": 30}
    sweep, short = asked(tiny, tmp_path / "run", patient)
    ran = len(train(sweep, short))
    assert ran < 30
    assert not sweep.directory.trial(short).last.exists(), "no more epochs can follow"
    sweep, long = asked(tiny, tmp_path / "run", {**patient, "training.epochs": 60})
    assert epochs_ready(long, sweep.directory.trial(long)) == 60
    assert train(sweep, long) == []
    assert_as_alone(sweep, long, tmp_path / "alone" / "trials")
    cost = TrialResult.load(sweep.directory.trial(long).result).cost
    assert cost["training_of_trial"] == short.key


COSINE: dict[str, object] = {"optimizer.schedule": "cosine"}


def test_with_cosine_no_epoch_is_reused(tiny: Path, tmp_path: Path) -> None:
    sweep, short = asked(tiny, tmp_path / "run", {**COSINE, "training.epochs": 2})
    train(sweep, short)
    assert not sweep.directory.trial(short).last.exists()
    for change in ({"training.epochs": 3}, {"training.epochs": 1}):
        sweep, other = asked(tiny, tmp_path / "run", {**COSINE, **change})
        assert epochs_ready(other, sweep.directory.trial(other)) == 0
        assert train(sweep, other)[0] == 1
    restless = {**COSINE, "training.patience": 1}
    sweep, ended = asked(tiny, tmp_path / "run", {**restless, "training.epochs": 30})
    assert len(train(sweep, ended)) < 30, "by patience, which epochs would not change otherwise"
    sweep, other = asked(tiny, tmp_path / "run", {**restless, "training.epochs": 60})
    assert train(sweep, other)[0] == 1
    patient = {**COSINE, "training.epochs": 2, "training.patience": 9}
    sweep, other = asked(tiny, tmp_path / "run", patient)
    assert train(sweep, other) == [], "patience decides no rate"
    assert_as_alone(sweep, other, tmp_path / "alone" / "trials")


@pytest.mark.parametrize(
    "change",
    [{"optimizer.weight_decay": 0.1}, {"training.monitor": "dice"}, {"loss": "bce"}],
    ids=str,
)
def test_nothing_else_may_differ(change: dict[str, object], tiny: Path, tmp_path: Path) -> None:
    sweep, short = asked(tiny, tmp_path / "run", {"training.epochs": 2})
    train(sweep, short)
    sweep, other = asked(tiny, tmp_path / "run", {**change, "training.epochs": 3})
    assert epochs_ready(other, sweep.directory.trial(other)) == 0
    assert train(sweep, other) == [1, 2, 3]


@pytest.mark.parametrize("fault", ["not kept", "cut short", "no history", "no result"])
def test_without_a_whole_last_state_it_trains_anew(fault: str, tiny: Path, tmp_path: Path) -> None:
    sweep, short = asked(tiny, tmp_path / "run", {"training.epochs": 2})
    train(sweep, short, Runtime("cpu", 1, keep_state=fault != "not kept"))
    files = sweep.directory.trial(short)
    assert files.last.exists() == (fault != "not kept")
    if fault == "cut short":
        files.last.write_bytes(files.last.read_bytes()[:1000])
    if fault == "no history":
        files.history.unlink()
    if fault == "no result":
        files.result.write_text("{")
    sweep, long = asked(tiny, tmp_path / "run", {"training.epochs": 3})
    assert train(sweep, long) == [1, 2, 3]
    assert_as_alone(sweep, long, tmp_path / "alone" / "trials")


def test_the_end_is_that_of_a_plain_loop() -> None:
    draw = random.Random(2)
    for _ in range(300):
        losses = [draw.choice([1.0, 2.0, 3.0, float("nan")]) for _ in range(8)]
        knobs = TrainingKnobs(epochs=draw.randint(1, 10), patience=draw.randint(1, 5))
        best, waited, expected = 0, 0, None
        for epoch, loss in enumerate(losses, 1):
            beats = (
                best == 0
                or loss < losses[best - 1]
                or (losses[best - 1] != losses[best - 1] and loss == loss)
            )
            best, waited = (epoch, 0) if beats else (best, waited + 1)
            if epoch == knobs.epochs or waited == knobs.patience:
                expected = (epoch, best)
                break
        assert ending([record(n, x) for n, x in enumerate(losses, 1)], knobs) == expected


def record(epoch: int, loss: float) -> EpochRecord:
    return EpochRecord(epoch, 0, loss, *[0.0] * 10)


def test_the_same_networks_count_once(tiny: Path, tmp_path: Path) -> None:
    """In an ensemble, and as the luck of one training in the statistics."""
    patient: dict[str, object] = {"training.patience": 1, "training.epochs": 30}
    other: dict[str, object] = {"loss": "bce", "training.epochs": 1}
    sweep, _ = asked(tiny, tmp_path / "run", patient, {**patient, "training.epochs": 60}, other)
    for spec in sweep.specs:
        train(sweep, spec)
    board = build_leaderboard(sweep.directory)
    assert len(board.ranked) == 3
    assert {line.candidate.loss for line in board.top(2)} == {"bce", "bce + dice"}
    verdict = judge(board)
    assert verdict
    two = [c for c in verdict.statistics.candidates if "60" in c.name or "30" in c.name]
    assert [c.score for c in two] == [two[0].score] * 2
    assert all(c.tied for c in two) or not any(c.tied for c in two)
