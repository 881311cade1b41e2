"""What a resumed trial relies on is looked at first: it is mended, or the trial begins anew."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from gitract_core.device import Runtime
from gitract_core.errors import RunError
from gitract_core.results.trial_result import TrialFiles, TrialResult
from gitract_core.spec import TrialSpec
from gitract_core.training.checkpoint import restore
from gitract_core.training.checkpoint_file import is_whole
from gitract_core.trial.data import TrialData
from gitract_core.trial.run import iterate_trial, run_trial
from orchestrator.sweeps.preparation import PreparedSweep
from tests.support.faulty_trials import same_but_for_cost
from tests.support.rehearsed_steps import make
from tests.support.tiny_sweep import prepare_tiny

Change = Callable[[Path], object]


def set_to(file: Path, value: float) -> None:
    weights = load_file(file)
    for tensor in weights.values():
        if tensor.dtype.kind == "f":
            tensor[...] = value
    save_file(weights, file)


def flip(file: Path, place: int) -> None:
    content = bytearray(file.read_bytes())
    content[place] ^= 0x10
    file.write_bytes(content)


DAMAGES: dict[str, Change] = {
    "gone": lambda file: file.unlink(),
    "cut short": lambda file: file.write_bytes(file.read_bytes()[:-50]),
    "empty": lambda file: file.write_bytes(b""),
    "zeroed": lambda file: set_to(file, 0.0),
    "NaN": lambda file: set_to(file, float("nan")),
    "one byte": lambda file: flip(file, -5),
}


def stopped(spec: TrialSpec, data: TrialData, place: Path, epochs: int) -> TrialFiles:
    """A trial that was stopped after so many epochs."""
    trial = iterate_trial(spec, data, place)
    assert len(list(islice(trial, epochs))) == epochs
    trial.close()  # type: ignore[attr-defined]
    return TrialFiles(place)


@pytest.fixture
def sweep(tiny: Path, tmp_path: Path) -> PreparedSweep:
    """Two folds of three epochs."""
    return prepare_tiny(tiny, tmp_path / "run", {"training.patience": 9})


class Log:
    """A trial's log."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.runtime = Runtime(say=self.lines.append)

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


@pytest.fixture
def log() -> Log:
    return Log()


def let_the_best_be(patch: pytest.MonkeyPatch, *, last: bool) -> None:
    """The last of the epochs, or the first."""
    patch.setattr("gitract_core.training.early_stopping.is_better", lambda *_: last)


@pytest.mark.parametrize("damage", DAMAGES)
def test_best_weights_of_the_last_epoch_are_written_anew(
    sweep: PreparedSweep,
    log: Log,
    tmp_path: Path,
    damage: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec = sweep.specs[0]
    let_the_best_be(monkeypatch, last=True)
    files = stopped(spec, sweep.data, tmp_path / "parts", 2)
    kept = files.best.read_bytes()
    DAMAGES[damage](files.best)
    let_the_best_be(monkeypatch, last=False)
    monkeypatch.setattr("gitract_core.training.checkpoint.ending", lambda *_: None)
    trained = iterate_trial(spec, sweep.data, files.directory, log.runtime)
    assert [record.epoch for record in trained] == [3]
    assert "best.safetensors: written anew from the checkpoint" in log.text
    assert files.best.read_bytes() == kept
    assert TrialResult.load(files.result).history["best_epoch"] == 2


@pytest.mark.parametrize("damage", DAMAGES)
def test_best_weights_of_an_earlier_epoch_begin_the_trial_anew(
    sweep: PreparedSweep,
    log: Log,
    tmp_path: Path,
    damage: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec = sweep.specs[0]
    let_the_best_be(monkeypatch, last=False)
    files = stopped(spec, sweep.data, tmp_path / "parts", 2)
    kept = files.best.read_bytes()
    DAMAGES[damage](files.best)
    trained = iterate_trial(spec, sweep.data, files.directory, log.runtime)
    assert [record.epoch for record in trained] == [
        1,
        2,
        3,
    ]
    said = log.text
    assert "begins anew, for its state is of no use" in said
    assert "best.safetensors: expected weights of epoch 1" in said
    assert files.best.read_bytes() == kept


def test_killed_between_the_checkpoint_and_the_best_weights(
    sweep: PreparedSweep, log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checkpoint is of the best epoch, the file of an earlier one."""
    spec = sweep.specs[0]
    let_the_best_be(monkeypatch, last=True)
    expected = run_trial(spec, sweep.data, tmp_path / "whole")
    files = stopped(spec, sweep.data, tmp_path / "parts", 1)
    earlier = files.best.read_bytes()
    stopped(spec, sweep.data, files.directory, 1)
    files.best.write_bytes(earlier)
    trained = iterate_trial(spec, sweep.data, files.directory, log.runtime)
    assert [record.epoch for record in trained] == [3]
    found = TrialResult.load(files.result, spec)
    assert same_but_for_cost(found, expected)
    assert files.best.read_bytes() == TrialFiles(tmp_path / "whole").best.read_bytes()


def test_weights_of_another_trial_are_not_taken(sweep: PreparedSweep, tmp_path: Path) -> None:
    """Other folds have networks of the same shape."""
    one, other = sweep.specs[:2]
    first = stopped(one, sweep.data, tmp_path / "one", 1)
    second = stopped(other, sweep.data, tmp_path / "other", 1)
    shutil.copyfile(second.best, first.best)
    expected = run_trial(one, sweep.data, tmp_path / "whole")
    assert same_but_for_cost(run_trial(one, sweep.data, first.directory), expected)


@pytest.mark.parametrize("damage", ["of another fold", "one byte", "its digest", "longer"])
def test_a_checkpoint_that_is_not_this_trials_begins_it_anew(
    sweep: PreparedSweep, log: Log, tmp_path: Path, damage: str
) -> None:
    one, other = sweep.specs[:2]
    files = stopped(one, sweep.data, tmp_path / "one", 1)
    if damage == "of another fold":
        shutil.copyfile(
            stopped(other, sweep.data, tmp_path / "other", 1).checkpoint, files.checkpoint
        )
        assert is_whole(files.checkpoint)
    elif damage == "longer":
        longer = prepare_tiny(
            sweep.record.data_directory, tmp_path / "more", {"training.epochs": 9}
        )
        state = stopped(longer.specs[0], sweep.data, tmp_path / "other", 4).checkpoint
        shutil.copyfile(state, files.checkpoint)
    else:
        middle = len(files.checkpoint.read_bytes()) // 2
        flip(files.checkpoint, middle if damage == "one byte" else -3)
        assert not is_whole(files.checkpoint)
    trained = iterate_trial(one, sweep.data, files.directory, log.runtime)
    assert [record.epoch for record in trained] == [
        1,
        2,
        3,
    ]
    assert "checkpoint.pt: expected a checkpoint of this trial" in log.text


def test_every_byte_of_a_checkpoint_counts(sweep: PreparedSweep, tmp_path: Path) -> None:
    files = stopped(sweep.specs[0], sweep.data, tmp_path / "one", 1)
    content = files.checkpoint.read_bytes()
    random = np.random.default_rng(0)
    before = make(sweep)
    restore(before, files.checkpoint)
    for place in random.integers(0, len(content), 60):
        flip(files.checkpoint, int(place))
        training = make(sweep)
        try:
            restore(training, files.checkpoint)
        except RunError:
            pass
        else:  # in what marks the digest: nothing else can be wrong then
            ours, theirs = training.network.state_dict(), before.network.state_dict()
            assert all(torch.equal(ours[name], theirs[name]) for name in ours)
        files.checkpoint.write_bytes(content)


def test_a_checkpoint_of_an_earlier_version_is_read(
    sweep: PreparedSweep, log: Log, tmp_path: Path
) -> None:
    spec = sweep.specs[0]
    expected = run_trial(spec, sweep.data, tmp_path / "whole")
    files = stopped(spec, sweep.data, tmp_path / "parts", 1)
    state = torch.load(files.checkpoint, weights_only=True)
    del state["training"], state["best_stamp"]
    torch.save(state, files.checkpoint)
    trained = iterate_trial(spec, sweep.data, files.directory, log.runtime)
    assert [record.epoch for record in trained] == [
        2,
        3,
    ]
    assert same_but_for_cost(run_trial(spec, sweep.data, files.directory), expected)
    again = stopped(spec, sweep.data, tmp_path / "again", 1)
    torch.save(state, again.checkpoint)
    again.best.unlink()
    assert same_but_for_cost(run_trial(spec, sweep.data, again.directory), expected)
