"""Every epoch is scored at native size as its weights would be, however the training goes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gitract_core.device import Runtime
from gitract_core.errors import RunError
from gitract_core.metrics import score_scan
from gitract_core.metrics.scan_truth import ScanTruth
from gitract_core.metrics.score import COMPETITION
from gitract_core.prediction.probabilities import to_bytes
from gitract_core.results.epoch_sums import EpochSums
from gitract_core.results.trial_result import TrialFiles, TrialResult, read_history
from gitract_core.spec import TrialSpec
from gitract_core.training.epoch_scorer import EpochScorer, as_bytes
from gitract_core.trial.run import iterate_trial, run_trial
from tests.support.epochs_by_hand import saved_weights_of_every_epoch, scored_by_hand
from tests.support.kept_epochs import plan_of, trial
from tests.support.killed_trainings import Killed, Steps
from tests.support.tiny_sweep import prepare_tiny


@pytest.mark.parametrize(
    "knobs",
    [
        {},
        {"training__ema": 0.7, "training__monitor": "dice"},
        {"postprocess__threshold": 0.3, "postprocess__fill_gaps": 2},
    ],
    ids=str,
)
def test_sums_are_those_of_the_saved_weights_of_each_epoch(
    knobs: dict[str, object], tiny: Path, tmp_path: Path
) -> None:
    spec, data = trial(tiny, plan_of(tiny), **knobs)
    weights = saved_weights_of_every_epoch(spec, data, tmp_path / "trial")
    files = TrialFiles(tmp_path / "trial")
    found, records = EpochSums.load(files.epochs), read_history(files.history)
    assert len(weights) == len(records) == len(found.sums) == 5
    for epoch, file in enumerate(weights, 1):
        by_hand = scored_by_hand(spec, data, file, tmp_path)
        assert found.of(epoch).keys() == by_hand.keys() == set(data.plan.cases(0))
        for case, sums in by_hand.items():
            for name, values in sums.items():
                assert found.of(epoch)[case][name] == pytest.approx(values, abs=1e-9), (case, name)
    monitor = spec.candidate.training.monitor
    curve = [r.dice if monitor == "dice" else -r.loss for r in records]
    assert found.monitored.tolist() == curve
    result = TrialResult.load(files.result)
    assert found.of(result.history["best_epoch"]) == result.per_case
    assert len({sums.tobytes() for sums in found.sums}) > 1, "epochs that differ"


@pytest.mark.parametrize("minutes", [0, 1e-3])
@pytest.mark.parametrize("killed_in", [1, 3])
def test_killed_anywhere_the_sums_are_those_of_an_uninterrupted_training(
    minutes: float, killed_in: int, tiny: Path, tmp_path: Path
) -> None:
    spec, data = trial(tiny, plan_of(tiny), training__epochs=4, optimizer__batch_size=2)
    with Steps().counted() as steps:
        run_trial(spec, data, tmp_path / "whole")
    parts, runtime = TrialFiles(tmp_path / "parts"), Runtime("cpu", 1, checkpoint_minutes=minutes)
    with Steps(steps.count // 4 * killed_in + 1).counted(), pytest.raises(Killed):
        run_trial(spec, data, parts.directory, runtime=runtime)
    run_trial(spec, data, parts.directory, runtime=runtime)
    assert parts.epochs.read_bytes() == TrialFiles(tmp_path / "whole").epochs.read_bytes()
    assert not [t for t in threading.enumerate() if t.name.startswith("score")]


def test_stopped_after_an_epoch_the_last_one_is_scored_again(tiny: Path, tmp_path: Path) -> None:
    """Its scoring was under way when the process ended; only its weights are left."""
    spec, data = trial(tiny, plan_of(tiny), training__epochs=3)
    run_trial(spec, data, tmp_path / "whole")
    going = iterate_trial(spec, data, tmp_path / "parts")
    next(going)
    next(going)
    going.close()
    files = TrialFiles(tmp_path / "parts")
    state = torch.load(files.checkpoint, weights_only=True)
    state["epoch_sums"]["sums"] = state["epoch_sums"]["sums"][:1]
    torch.save(state, files.checkpoint)
    run_trial(spec, data, files.directory)
    assert files.epochs.read_bytes() == TrialFiles(tmp_path / "whole").epochs.read_bytes()


def test_what_an_older_version_trained_is_not_known(tiny: Path, tmp_path: Path) -> None:
    spec, data = trial(tiny, plan_of(tiny), training__epochs=3)
    going = iterate_trial(spec, data, tmp_path)
    next(going)
    going.close()
    files = TrialFiles(tmp_path)
    state = torch.load(files.checkpoint, weights_only=True)
    del state["epoch_sums"], state["average"]
    torch.save(state, files.checkpoint)
    run_trial(spec, data, tmp_path)
    assert files.result.is_file()
    assert not files.epochs.exists()


@pytest.mark.parametrize("keep", ["inner", "last"])
def test_who_does_not_look_at_the_held_out_fold_has_no_such_file(
    keep: str, tiny: Path, tmp_path: Path
) -> None:
    run_trial(*trial(tiny, plan_of(tiny), training__keep=keep, training__epochs=2), tmp_path)
    assert not TrialFiles(tmp_path).epochs.exists()


def test_trials_that_share_a_training_share_the_file_where_it_is_theirs(
    tiny: Path, tmp_path: Path
) -> None:
    """Other post-processing gives other sums, which nobody has reckoned."""
    sweep = prepare_tiny(
        tiny,
        tmp_path / "run",
        {"training.epochs": 4},
        {"training.epochs": 4, "training.patience": 4},
        {"training.epochs": 4, "postprocess.threshold": 0.3},
        {"training.epochs": 6},
        {"training.epochs": 7, "postprocess.threshold": 0.3},
    )
    specs = sorted((s for s in sweep.specs if s.fold == 0), key=lambda s: _order(s))
    for spec in specs:
        run_trial(spec, sweep.data, sweep.directory.trials / spec.key)
    first, patient, threshold, longer, other = (sweep.directory.trial(s) for s in specs)
    assert patient.epochs.read_bytes() == first.epochs.read_bytes()
    assert not threshold.epochs.exists()
    assert not other.epochs.exists()
    assert len(EpochSums.load(longer.epochs).sums) == 6
    run_trial(specs[3], sweep.data, tmp_path / "alone")
    assert longer.epochs.read_bytes() == TrialFiles(tmp_path / "alone").epochs.read_bytes()


def _order(spec: TrialSpec) -> tuple[int, float, bool]:
    knobs = spec.candidate
    return knobs.training.epochs, -knobs.postprocess.threshold, knobs.training.patience == 4


def test_an_annotation_that_cannot_be_read_fails_the_trial(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RunError("scan", "a mask", "none", "mend it")

    monkeypatch.setattr(EpochScorer, "_score", broken)
    spec, data = trial(tiny, plan_of(tiny), training__epochs=3)
    with pytest.raises(RunError, match="mend it"):
        run_trial(spec, data, tmp_path)
    assert not TrialFiles(tmp_path).result.exists()


def test_bytes_are_those_of_the_last_prediction() -> None:
    logits = torch.linspace(-12, 12, 20_001).view(1, 1, 3, -1)
    logits = torch.cat([logits, logits.flip(-1)], 0)
    assert np.array_equal(as_bytes(logits).numpy(), to_bytes(logits.sigmoid().numpy()))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), density=st.sampled_from([0.0, 0.001, 0.05, 0.6]))
def test_a_kept_truth_scores_to_the_bit_as_a_scan_is_scored(seed: int, density: float) -> None:
    random = np.random.default_rng(seed)
    shape = (3, *random.integers(1, 24, 3))
    truth = random.random(shape) < random.choice([0.0, 0.01, 0.3])
    known = None if seed % 2 else random.random(shape[:2]) < 0.8
    kept = ScanTruth.of(truth, known)
    for _ in range(3):
        masks = random.random(shape) < density
        expected, found = score_scan(masks, truth, known=known), kept.score(iter(masks))
        for name in ("intersection_px", "prediction_px", "truth_px", "hausdorff"):
            np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), name)
        np.testing.assert_array_equal(COMPETITION.count(found), COMPETITION.count(expected))


def _saved(tmp_path: Path, change: Callable[[dict[str, object]], object]) -> Path:
    arrays: dict[str, object] = {
        "cases": np.array(["1", "2"]),
        "monitored": np.array([-0.5, -0.4, -0.6]),
        "sums": np.ones((3, 2, 3, 4)),
    }
    change(arrays)
    np.savez(tmp_path / "epochs.npz", **arrays)  # type: ignore[arg-type]
    return tmp_path / "epochs.npz"


@pytest.mark.parametrize(
    "change",
    [
        lambda arrays: arrays.pop("sums"),
        lambda arrays: arrays.update(sums=np.ones((2, 2, 3, 4))),
        lambda arrays: arrays.update(sums=np.full((3, 2, 3, 4), np.nan)),
        lambda arrays: arrays.update(sums=-np.ones((3, 2, 3, 4))),
        lambda arrays: arrays.update(cases=np.array(["1", None], dtype=object)),
        lambda arrays: arrays.update(monitored=np.zeros(0), sums=np.ones((0, 2, 3, 4))),
        lambda arrays: arrays.update(sums=np.ones(4)),
    ],
    ids=["missing", "fewer epochs", "NaN", "negative", "objects", "no epoch", "flat"],
)
def test_a_damaged_file_is_told_in_one_line(
    change: Callable[[dict[str, object]], object], tmp_path: Path
) -> None:
    with pytest.raises(RunError, match=r"epochs\.npz") as caught:
        EpochSums.load(_saved(tmp_path, change))
    assert "\n" not in str(caught.value)


def test_a_whole_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    read = EpochSums.load(_saved(tmp_path, lambda _: None))
    read.save(tmp_path / "again.npz")
    again = EpochSums.load(tmp_path / "again.npz")
    assert again.cases == read.cases == ("1", "2")
    assert np.array_equal(again.sums, read.sums)
    (tmp_path / "again.npz").write_bytes(b"PK\x03\x04" + bytes(100))
    with pytest.raises(RunError):
        EpochSums.load(tmp_path / "again.npz")
    with pytest.raises(RunError):
        EpochSums.load(tmp_path / "none.npz")
