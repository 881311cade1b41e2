from __future__ import annotations

import dataclasses
import json
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

from gitract_core.errors import RunError, TrialError
from gitract_core.metrics import competition_score
from gitract_core.organs import CONTEST
from gitract_core.prediction.probabilities import read_oof
from gitract_core.results.trial_result import (
    EpochRecord,
    TrialFiles,
    TrialResult,
    read_history,
    summarize_history,
)
from gitract_core.trial.run import iterate_trial, run_trial
from tests.support.tiny_contest import slow_encode
from tests.support.tiny_sweep import prepare_tiny


def _weights(directory: Path) -> dict[str, np.ndarray]:
    return load_file(TrialFiles(directory).best)


def _without_times(directory: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(TrialFiles(directory).result.read_text())
    del values["cost"], values["seal"], values["files"]["history.csv"]  # with its seconds
    return values


def test_same_seed_gives_the_same_weights_and_another_seed_does_not(
    tiny: Path, tmp_path: Path
) -> None:
    sweep = prepare_tiny(tiny, tmp_path / "run")
    spec = sweep.specs[0]
    seen: list[int] = []
    run_trial(spec, sweep.data, tmp_path / "a", lambda record: seen.append(record.epoch))
    run_trial(spec, sweep.data, tmp_path / "b")
    assert seen == [1, 2, 3]
    first, second = _weights(tmp_path / "a"), _weights(tmp_path / "b")
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert _without_times(tmp_path / "a") == _without_times(tmp_path / "b")
    run_trial(sweep.specs[1], sweep.data, tmp_path / "c")
    other = _weights(tmp_path / "c")
    assert not all(np.array_equal(first[name], other[name]) for name in first)


def test_resumed_trial_ends_bit_identical(tiny: Path, tmp_path: Path) -> None:
    sweep = prepare_tiny(tiny, tmp_path / "run")
    spec = sweep.specs[0]
    run_trial(spec, sweep.data, tmp_path / "whole")
    stopped = iterate_trial(spec, sweep.data, tmp_path / "parts")
    assert [r.epoch for r in islice(stopped, 1)] == [1]
    stopped.close()  # type: ignore[attr-defined]
    assert [r.epoch for r in iterate_trial(spec, sweep.data, tmp_path / "parts")] == [2, 3]
    first, second = _weights(tmp_path / "whole"), _weights(tmp_path / "parts")
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert _without_times(tmp_path / "whole") == _without_times(tmp_path / "parts")
    assert not TrialFiles(tmp_path / "parts").checkpoint.exists()
    assert list(iterate_trial(spec, sweep.data, tmp_path / "parts")) == []


def test_damaged_checkpoint_starts_the_trial_anew(tiny: Path, tmp_path: Path) -> None:
    sweep = prepare_tiny(tiny, tmp_path / "run")
    stopped = iterate_trial(sweep.specs[0], sweep.data, tmp_path / "trial")
    next(stopped)
    stopped.close()  # type: ignore[attr-defined]
    checkpoint = TrialFiles(tmp_path / "trial").checkpoint
    checkpoint.write_bytes(checkpoint.read_bytes()[:100])
    left_over = checkpoint.with_name(".history.csv.killed.part")
    left_over.write_text("epoch")
    again = [r.epoch for r in iterate_trial(sweep.specs[0], sweep.data, tmp_path / "trial")]
    assert again == [1, 2, 3]
    assert not left_over.exists()


def test_result_is_the_score_of_the_written_predictions(tiny: Path, tmp_path: Path) -> None:
    sweep = prepare_tiny(tiny, tmp_path / "run", {"training.epochs": 6, "loss": "bce + dice"})
    spec = sweep.specs[0]
    result = run_trial(spec, sweep.data, tmp_path / "trial")
    index = sweep.data.cache(32).index
    held_out = index.table[index.table["case"].isin(sweep.data.plan.cases(0))]
    rows, truth = [], []
    for scan, slices in held_out.groupby("scan"):
        probabilities = read_oof(TrialFiles(tmp_path / "trial").oof, str(scan))
        for place, row in enumerate(slices.to_dict("records")):
            for channel, organ in enumerate(CONTEST.names):
                mask = _enlarged(probabilities[channel, place], row["height"], row["width"])
                rows.append((row["id"], organ, slow_encode(mask)))
                truth.append((row["id"], organ, row[organ], row["height"], row["width"]))
    score = competition_score(
        pd.DataFrame(rows, columns=["id", "class", "predicted"]),
        pd.DataFrame(truth, columns=["id", "class", "segmentation", "height", "width"]),
    )
    # Pixels whose probability is one half but for the last bit may fall on either side.
    near = partial(pytest.approx, abs=1e-3)
    assert result.scores["score"] == near(score.score)
    assert result.scores["per_class"]["stomach"]["dice"] == near(score.per_class["stomach"]["dice"])
    sums = result.per_case.values()
    dice = sum(sum(s["dice_sum"]) for s in sums) / sum(sum(s["dice_rows"]) for s in sums)
    assert dice == near(score.dice)
    table = pd.read_parquet(TrialFiles(tmp_path / "trial").scores)
    assert table[table["level"] == "slice"]["dice"].mean() == near(score.dice)


def _enlarged(plane: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bilinear, pixel centers aligned, pixel by pixel."""
    size = len(plane)
    y = np.clip((np.arange(height) + 0.5) * size / height - 0.5, 0, size - 1)
    x = np.clip((np.arange(width) + 0.5) * size / width - 0.5, 0, size - 1)
    y0, x0 = y.astype(int), x.astype(int)
    y1, x1 = np.minimum(y0 + 1, size - 1), np.minimum(x0 + 1, size - 1)
    fy, fx = (y - y0)[:, None], (x - x0)[None]
    p = plane.astype(float)
    top = p[y0][:, x0] * (1 - fx) + p[y0][:, x1] * fx
    bottom = p[y1][:, x0] * (1 - fx) + p[y1][:, x1] * fx
    enlarged: np.ndarray = top * (1 - fy) + bottom * fy >= 127.5
    return enlarged


def test_a_net_learns_the_tiny_discs(tiny: Path, tmp_path: Path) -> None:
    changes = {"training.epochs": 30, "loss": "bce + dice", "augmentation.kinds": "none"}
    sweep = prepare_tiny(tiny, tmp_path / "run", {**changes, "training.patience": 30})
    result = run_trial(sweep.specs[0], sweep.data, tmp_path / "trial")
    assert result.scores["dice"] > 0.6
    records = read_history(TrialFiles(tmp_path / "trial").history)
    assert records[-1].loss < records[0].loss
    best = min(records, key=lambda r: r.loss)
    assert result.history["best_epoch"] == best.epoch


def test_diverged_loss_ends_the_trial(tiny: Path, tmp_path: Path) -> None:
    sweep = prepare_tiny(tiny, tmp_path / "run", {"optimizer.learning_rate": 9.0})
    spec = sweep.specs[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "gitract_core.training.loop.Training._train", lambda self, after_step: float("nan")
        )
        with pytest.raises(TrialError, match=r"epoch 1: expected a finite loss.*diverged"):
            run_trial(spec, sweep.data, tmp_path / "trial")
    assert not TrialFiles(tmp_path / "trial").result.exists()


def test_other_data_or_folds_are_refused(tiny: Path, tmp_path: Path) -> None:
    import dataclasses

    sweep = prepare_tiny(tiny, tmp_path / "run")
    other = dataclasses.replace(sweep.specs[0], data_fingerprint="0" * 16)
    with pytest.raises(RunError, match="data set 0000"):
        run_trial(other, sweep.data, tmp_path / "trial")


def test_damaged_result_is_refused(tiny: Path, tmp_path: Path) -> None:
    sweep = prepare_tiny(tiny, tmp_path / "run")
    run_trial(sweep.specs[0], sweep.data, tmp_path / "trial")
    file = TrialFiles(tmp_path / "trial").result
    text = file.read_text()
    assert TrialResult.load(file).spec == sweep.specs[0]
    other = text.replace('"fold": 0', '"fold": 1')
    file.write_text(other)
    with pytest.raises(RunError, match="expected digest"):
        TrialResult.load(file)
    values = json.loads(other)
    del values["seal"]
    file.write_text(json.dumps(values))
    with pytest.raises(RunError, match="expected key"):
        TrialResult.load(file)
    file.write_text(text[:200])
    with pytest.raises(RunError, match="expected JSON"):
        TrialResult.load(file)


def test_the_best_of_a_curve_that_begins_with_nan() -> None:
    nan = float("nan")
    values = {f.name: nan for f in dataclasses.fields(EpochRecord)}
    later = [{"dice": 0.5, "loss": 0.7}, {"dice": 0.4, "loss": 0.6}]
    records = [EpochRecord(**{**values, **some}) for some in ({}, *later)]
    best = summarize_history(records, 2)["best"]
    assert (best["dice"], best["loss"]) == (0.5, 0.6)
    assert np.isnan(best["iou"])
