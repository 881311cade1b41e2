"""Which epoch is the best, when patience ends a training, and that both outlive an interruption.

Validation figures are scripted, so that loss and Dice disagree about the best epoch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from gitract_core.device import Runtime
from gitract_core.knobs import TrainingKnobs
from gitract_core.metrics.epoch import EpochCounts, EpochMetrics
from gitract_core.prediction.probabilities import OofStore
from gitract_core.results.trial_result import (
    EpochRecord,
    TrialFiles,
    TrialResult,
    read_history,
    summarize_history,
)
from gitract_core.training.checkpoint import Checkpoints, restore
from gitract_core.training.early_stopping import ending, has_ended, is_better
from gitract_core.training.loop import Training
from gitract_core.trial.held_out_prediction import open_oof
from gitract_core.trial.run import iterate_trial
from tests.support.tiny_sweep import prepare_tiny
from tests.support.tiny_training import made_up_training

NAN = float("nan")


@dataclass(frozen=True)
class Script:
    """Validation figures, epoch by epoch."""

    losses: Sequence[float]
    dices: Sequence[float]

    def play(self, training: Training, patch: pytest.MonkeyPatch) -> Training:
        """The training, judged by these figures from now on."""
        trained = training.step.trained
        compute, loss_of = EpochCounts.compute, trained.loss

        def computed(counts: EpochCounts) -> EpochMetrics:
            return dataclasses.replace(compute(counts), dice=self.dices[len(training.records)])

        def loss(logits: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
            if training.network.training:
                return loss_of(logits, masks)
            return torch.tensor(self.losses[len(training.records)])

        patch.setattr(EpochCounts, "compute", computed)
        training.step.trained = dataclasses.replace(trained, loss=loss)
        return training


DISAGREE = Script([0.5, 0.4, 0.6, 0.7, 0.8, 0.9], [0.1, 0.2, 0.3, 0.5, 0.4, 0.5])
"""The best by loss is the second epoch, the best by Dice the fourth; the sixth only equals it."""


def judged(
    script: Script, patch: pytest.MonkeyPatch, monitor: str, patience: int, epochs: int = 6
) -> Training:
    knobs: dict[str, object] = {
        "training.monitor": monitor,
        "training.patience": patience,
        "training.epochs": epochs,
    }
    return script.play(made_up_training(knobs), patch)


def until_finished(training: Training) -> Training:
    while not training.finished:
        training.run_epoch()
    return training


@pytest.mark.parametrize(
    ("monitor", "patience", "epochs", "best", "done"),
    [
        ("loss", 9, 6, 2, 6),
        ("dice", 9, 6, 4, 6),
        ("loss", 1, 6, 2, 3),
        ("loss", 2, 6, 2, 4),
        ("dice", 1, 6, 4, 5),
        ("dice", 2, 6, 4, 6),
        ("dice", 9, 3, 3, 3),
        ("loss", 9, 1, 1, 1),
    ],
)
def test_best_epoch_and_patience_follow_what_is_monitored(
    monitor: str,
    patience: int,
    epochs: int,
    best: int,
    done: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    training = until_finished(judged(DISAGREE, monkeypatch, monitor, patience, epochs))
    assert (training.best_epoch, len(training.records)) == (best, done)
    knobs = training.candidate.training
    assert ending(training.records, knobs) == (done, best), "as the history alone tells it"
    assert ending(training.records[:-1], knobs) is None


@pytest.mark.parametrize("monitor", ["loss", "dice"])
def test_figures_that_are_not_numbers_are_beaten_by_any(
    monitor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = Script([NAN, 0.9, NAN, 0.8], [NAN, 0.1, NAN, 0.2])
    training = judged(script, monkeypatch, monitor, 9, 4)
    found = []
    while not training.finished:
        training.run_epoch()
        found.append(training.best_epoch)
    assert found == [1, 2, 2, 4]


def record(**figures: float) -> EpochRecord:
    values: dict[str, Any] = {f.name: 0.5 for f in dataclasses.fields(EpochRecord)}
    return EpochRecord(**{**values, "epoch": 1, **figures})


def test_better_is_less_loss_or_more_dice_and_never_equal() -> None:
    assert is_better(record(loss=0.4), record(), "loss")
    assert is_better(record(dice=0.6), record(), "dice")
    for monitor, figures in (("loss", {"dice": 0.9}), ("dice", {"loss": 0.1}), ("loss", {})):
        assert not is_better(record(**figures), record(), monitor)
        assert not is_better(record(), record(**figures), monitor)
    assert not is_better(record(loss=0.6), record(), "loss")
    assert not is_better(record(dice=0.4), record(), "dice")


def test_the_end_is_at_the_last_epoch_or_when_patience_is_used_up() -> None:
    knobs = TrainingKnobs(epochs=10, patience=3)
    ended = [(9, 7), (9, 6), (10, 10), (11, 11), (3, 0), (2, 0), (0, 0)]
    assert [has_ended(*state, knobs) for state in ended] == [
        False,
        True,
        True,
        True,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize("monitor", ["loss", "dice"])
@pytest.mark.parametrize("interrupted", [1, 3, 5])
def test_a_resumed_training_knows_its_best_epoch_and_keeps_those_weights(
    interrupted: int, monitor: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    best, files = {"loss": 2, "dice": 4}[monitor], TrialFiles(tmp_path)
    weights = {}

    def go_on(training: Training, epochs: int) -> None:
        checkpoints = Checkpoints(training, files, 0)
        for _ in range(epochs):
            training.run_epoch()
            checkpoints.after_epoch()
            state = training.network.state_dict()
            weights[len(training.records)] = {n: v.clone() for n, v in state.items()}
            kept = load_file(files.best)
            now = weights[training.best_epoch]
            assert all(torch.equal(kept[name], now[name]) for name in now)

    with monkeypatch.context() as patch:
        go_on(judged(DISAGREE, patch, monitor, 9), interrupted)
    again = judged(DISAGREE, monkeypatch, monitor, 9)
    restore(again, files.checkpoint)
    so_far = min(interrupted, best)
    assert (again.best_epoch, len(again.records)) == (so_far, interrupted)
    go_on(again, 6 - interrupted)
    assert again.best_epoch == best
    assert [r.epoch for r in read_history(files.history)] == [1, 2, 3, 4, 5, 6]
    last = weights[6]
    assert any(not torch.equal(last[name], weights[best][name]) for name in last)


def test_patience_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two epochs without a better one before the interruption count after it."""
    files = TrialFiles(tmp_path)
    with monkeypatch.context() as patch:
        training = judged(DISAGREE, patch, "loss", 3)
        for _ in range(4):
            training.run_epoch()
        Checkpoints(training, files, 0).after_epoch()
    again = judged(DISAGREE, monkeypatch, "loss", 3)
    restore(again, files.checkpoint)
    assert not again.finished
    again.run_epoch()
    assert again.finished


@pytest.mark.parametrize("monitor", ["loss", "dice"])
def test_an_interrupted_trial_ends_with_the_best_epoch(
    monitor: str, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The result names it, and what was kept are its weights."""
    knobs = {"training.monitor": monitor, "training.epochs": 5, "optimizer.learning_rate": 0.03}
    sweep = prepare_tiny(tiny, tmp_path / "run", {"network.widths": "2,4", **knobs})
    spec, files = sweep.specs[0], TrialFiles(tmp_path / "trial")
    scripted = iter([0.1, 0.3, 0.2, 0.2, 0.2])
    compute = EpochCounts.compute
    monkeypatch.setattr(
        EpochCounts,
        "compute",
        lambda counts: dataclasses.replace(compute(counts), dice=next(scripted)),
    )
    kept = []
    for stop in (3, 5):
        running = iterate_trial(spec, sweep.data, files.directory)
        for seen in running:
            kept.append(files.best.read_bytes())
            if seen.epoch == stop < 5:
                running.close()  # type: ignore[attr-defined]
                break
    history = TrialResult.load(files.result).history
    losses = [r.loss for r in read_history(files.history)]
    best = 2 if monitor == "dice" else 1 + losses.index(min(losses))
    assert (history["best_epoch"], history["epochs"]) == (best, 5)
    assert files.best.read_bytes() == kept[best - 1]
    assert history["at_best"]["loss"] == pytest.approx(losses[best - 1])
    seconds = sum(r.seconds for r in read_history(files.history))
    assert TrialResult.load(files.result).cost["seconds"] == pytest.approx(seconds)
    scored = dict(OofStore(files.oof))
    files.oof.unlink()
    again = open_oof(spec, files, sweep.data, Runtime("cpu", 1))
    assert all(np.array_equal(scored[scan], again[scan]) for scan in again), "of those weights"


def test_a_summary_takes_each_figure_of_the_best_epoch_and_the_best_of_each_figure() -> None:
    names = [f.name for f in dataclasses.fields(EpochRecord) if f.name != "epoch"]
    records = [
        EpochRecord(epoch, **{name: base + 0.01 * n for n, name in enumerate(names)})
        for epoch, base in ((1, 0.3), (2, 0.5), (3, 0.1))
    ]
    summary = summarize_history(records, 1)
    assert (summary["best_epoch"], summary["epochs"]) == (1, 3)
    assert summary["at_best"] == {
        n: v for n, v in dataclasses.asdict(records[0]).items() if n != "seconds"
    }
    for name, value in summary["best"].items():
        lowest = name in ("train_loss", "loss")
        assert value == getattr(records[2 if lowest else 1], name)
    assert set(summary["best"]) == set(names) - {"learning_rate", "seconds"}
