"""Whose training a trial takes over, or goes on from: told from histories alone, without training.

Finished trials are made up: a history, weights that are a text, and a result.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from gitract_core.results.trial_result import (
    EpochRecord,
    TrialFiles,
    TrialResult,
    read_history,
    summarize_history,
    write_history,
)
from gitract_core.spec import TrialSpec
from gitract_core.training.early_stopping import ending
from gitract_core.trial.reuse import (
    adopt_training,
    epochs_ready,
    go_on_from_another,
    remember_training,
)
from tests.support.tiny_training import spec_of

LOSSES = (0.9, 0.5, 0.6, 0.7, 0.4, 0.8)
"""The best of the first four is the second; of all six, the fifth."""


def wanted(epochs: int, patience: int = 99, **changes: Any) -> TrialSpec:
    knobs = {"training.epochs": epochs, "training.patience": patience, **changes.pop("knobs", {})}
    return spec_of(knobs, **changes)


class Trials:
    """A folder of trials."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def files(self, spec: TrialSpec) -> TrialFiles:
        files = TrialFiles(self.directory / spec.key)
        files.directory.mkdir(parents=True, exist_ok=True)
        return files

    def finish(self, spec: TrialSpec, losses: Sequence[float], *, last: bool = True) -> TrialFiles:
        """As if it had run through these losses and ended."""
        files = self.files(spec)
        values = {f.name: 0.5 for f in dataclasses.fields(EpochRecord)}
        records = [
            EpochRecord(**{**values, "epoch": n, "loss": loss, "seconds": float(n)})  # type: ignore[arg-type]
            for n, loss in enumerate(losses, 1)
        ]
        best = 1 + losses.index(min(losses))
        write_history(files.history, records)
        files.best.write_text(f"weights of epoch {best} of {spec.key}")
        if last:
            files.last.write_text(f"state after epoch {len(losses)} of {spec.key}")
        scores = {"dice": 0.5, "hausdorff": 0.5, "score": 0.5}
        cost = {"seconds": sum(r.seconds for r in records), "peak_memory_bytes": 1}
        history = summarize_history(records, best)
        TrialResult(spec, scores, {}, history, cost, {"parameters": 1}).save(files.result)
        remember_training(spec, files)
        return files


@pytest.fixture
def trials(tmp_path: Path) -> Trials:
    return Trials(tmp_path / "trials")


def taken_over(trials: Trials, spec: TrialSpec) -> TrialResult | None:
    files = trials.files(spec)
    ready = epochs_ready(spec, files)
    found = adopt_training(spec, files)
    assert (ready == spec.candidate.training.epochs) == (found is not None)
    if found:
        records = read_history(files.history)
        assert (len(records), found.history["best_epoch"]) == ending(
            records, spec.candidate.training
        )
        assert found.history == summarize_history(records, found.history["best_epoch"])
        assert found.cost["seconds"] == sum(r.seconds for r in records)
    return found


@pytest.mark.parametrize(
    ("epochs", "patience", "found"),
    [
        (2, 99, None),  # its weights are those of epoch 2, and the longer trial kept those of 5
        (4, 99, None),
        (5, 99, (5, 5)),
        (6, 98, (6, 5)),
        (6, 1, None),  # patience would end it after 3 epochs with those of 2
        (9, 2, None),
        (9, 3, None),  # it would not have ended: the fifth is better
        (7, 99, None),  # it goes on
    ],
)
def test_a_longer_training_is_taken_over_if_it_kept_the_weights_in_question(
    epochs: int, patience: int, found: tuple[int, int] | None, trials: Trials
) -> None:
    other = trials.finish(wanted(6), LOSSES)
    spec = wanted(epochs, patience)
    result = taken_over(trials, spec)
    if found is None:
        assert result is None
        assert not trials.files(spec).best.exists()
        return
    assert result is not None
    assert (result.history["epochs"], result.history["best_epoch"]) == found
    assert trials.files(spec).best.read_text() == other.best.read_text()


@pytest.mark.parametrize(("epochs", "patience", "done"), [(3, 99, 3), (9, 1, 3), (9, 2, 4)])
def test_a_training_whose_best_epoch_came_early_serves_shorter_ones(
    epochs: int, patience: int, done: int, trials: Trials
) -> None:
    trials.finish(wanted(4), LOSSES[:4])
    result = taken_over(trials, wanted(epochs, patience))
    assert result is not None
    assert (result.history["epochs"], result.history["best_epoch"]) == (done, 2)


@pytest.mark.parametrize(
    "changes",
    [
        {"fold": 1},
        {"seed": 1},
        {"knobs": {"loss": "dice"}},
        {"knobs": {"training.monitor": "dice"}},
        {"knobs": {"optimizer.weight_decay": 0.1}},
        {"knobs": {"augmentation.kinds": "flip"}},
        {"knobs": {"input.context": 3}},
        {"knobs": {"network.widths": "4,4"}},
        {"knobs": {"optimizer.schedule": "cosine"}},
    ],
    ids=str,
)
def test_nothing_of_another_training_is_taken(changes: dict[str, Any], trials: Trials) -> None:
    trials.finish(wanted(6), LOSSES)
    for epochs in (6, 8):
        spec = wanted(epochs, **changes)
        assert taken_over(trials, spec) is None
        go_on_from_another(spec, trials.files(spec))
        assert not trials.files(spec).checkpoint.exists()
        assert epochs_ready(spec, trials.files(spec)) == 0


def test_with_cosine_the_number_of_epochs_is_part_of_the_training(trials: Trials) -> None:
    """Each epoch's rate depends on it; patience decides none."""
    cosine = {"optimizer.schedule": "cosine"}
    trials.finish(wanted(6, knobs=cosine), LOSSES)
    for epochs in (5, 8):
        spec = wanted(epochs, knobs=cosine)
        assert taken_over(trials, spec) is None
        go_on_from_another(spec, trials.files(spec))
        assert not trials.files(spec).checkpoint.exists()
    assert taken_over(trials, wanted(6, 98, knobs=cosine)) is not None


def test_trials_that_differ_in_anything_have_keys_of_their_own() -> None:
    specs = [
        wanted(6),
        wanted(7),
        wanted(6, 98),
        wanted(6, fold=1),
        wanted(6, seed=1),
        wanted(6, knobs={"postprocess.threshold": 0.3}),
        dataclasses.replace(wanted(6), n_folds=6),
        dataclasses.replace(wanted(6), data_fingerprint="f" * 16),
        dataclasses.replace(wanted(6), folds_fingerprint="f" * 16),
    ]
    assert len({spec.key for spec in specs}) == len(specs)
    assert [TrialSpec.from_json(spec.to_json()) for spec in specs] == specs


@pytest.mark.parametrize("field", ["data_fingerprint", "folds_fingerprint"])
def test_nothing_of_other_data_or_folds_is_taken(field: str, trials: Trials) -> None:
    trials.finish(wanted(6), LOSSES)
    spec = dataclasses.replace(wanted(6, 98), **{field: "f" * 16})
    assert taken_over(trials, spec) is None


def test_post_processing_alone_shares_a_training(trials: Trials) -> None:
    trials.finish(wanted(6), LOSSES)
    spec = wanted(6, knobs={"postprocess.threshold": 0.3})
    assert taken_over(trials, spec) is not None


def test_a_longer_trial_goes_on_from_the_longest_state(trials: Trials) -> None:
    for epochs in (1, 4, 2):
        trials.finish(wanted(epochs), LOSSES[:epochs])
    spec = wanted(6)
    files = trials.files(spec)
    assert epochs_ready(spec, files) == 4
    go_on_from_another(spec, files)
    longest = wanted(4).key
    assert files.checkpoint.read_text() == f"state after epoch 4 of {longest}"
    assert files.best.read_text() == f"weights of epoch 2 of {longest}"
    assert [r.loss for r in read_history(files.history)] == list(LOSSES[:4])


def test_a_state_beyond_the_trials_own_end_is_not_gone_on_from(trials: Trials) -> None:
    """Patience of 1 ends it after the third epoch; the state is after the sixth."""
    trials.finish(wanted(6), LOSSES)
    spec = wanted(9, 1)
    go_on_from_another(spec, trials.files(spec))
    assert not trials.files(spec).checkpoint.exists()


def test_a_checkpoint_of_its_own_is_kept(trials: Trials) -> None:
    trials.finish(wanted(4), LOSSES[:4])
    spec = wanted(6)
    files = trials.files(spec)
    files.checkpoint.write_text("its own")
    go_on_from_another(spec, files)
    assert files.checkpoint.read_text() == "its own"


def test_without_a_last_state_there_is_nothing_to_go_on_from(trials: Trials) -> None:
    trials.finish(wanted(4), LOSSES[:4], last=False)
    spec = wanted(6)
    assert epochs_ready(spec, trials.files(spec)) == 0
    go_on_from_another(spec, trials.files(spec))
    assert not trials.files(spec).checkpoint.exists()


def test_a_history_of_another_length_than_the_result_says_is_not_trusted(trials: Trials) -> None:
    other = trials.finish(wanted(6), LOSSES)
    write_history(other.history, read_history(other.history)[:5])
    assert taken_over(trials, wanted(5, 98)) is None
