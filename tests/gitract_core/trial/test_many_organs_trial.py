"""Trials on data sets of other organs than the contest's, some of their annotation unknown."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import load_file

from gitract_core.data import gray
from gitract_core.data.cache import build_cache
from gitract_core.data.folds import FoldPlan
from gitract_core.data.images import scan_to_bytes
from gitract_core.data.slices import SliceIndex
from gitract_core.device import Runtime
from gitract_core.errors import RunError
from gitract_core.organs import CONTEST
from gitract_core.prediction.device_slices import slices_on
from gitract_core.prediction.members import Members, Predictor
from gitract_core.prediction.probabilities import read_oof
from gitract_core.prediction.submission import check_submission
from gitract_core.results.score_table import read_scores
from gitract_core.results.trial_result import TrialFiles, TrialResult
from gitract_core.spec import Candidate, TrialSpec
from gitract_core.training.loop import Training
from gitract_core.trial.data import TrialData
from gitract_core.trial.run import fold_slices, run_trial
from gitract_core.view import View
from tests.support.organ_squares import SIDE, organ_names, write_organ_squares
from tests.support.tiny_sweep import KNOBS

CPU = torch.device("cpu")
ONE_THREAD = Runtime("cpu", 1)


@pytest.fixture
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Caches of this test alone, so that data of one fingerprint are read anew."""
    monkeypatch.setenv("GITRACT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def hides(scan: str, organ: str) -> bool:
    """The last organ is unknown throughout, the one before it in the scans of one patient."""
    return organ == "organ_1" or (organ == "organ_2" and scan.startswith("case1_"))


def trial_of(data: Path, **knobs: object) -> tuple[TrialSpec, TrialData]:
    """A trial of fold 0 of 2 on a data set, and the data."""
    index = SliceIndex.from_directory(data)
    plan = FoldPlan.make(index, 2)
    dotted = {name.replace("__", "."): value for name, value in knobs.items()}
    candidate = Candidate.from_knobs({**KNOBS, "loss": "bce + dice", **dotted})
    spec = TrialSpec(candidate, 0, 2, 0, index.fingerprint, plan.fingerprint)
    return spec, TrialData(data, index.fingerprint, plan)


@pytest.mark.parametrize("count", [2, 40])
def test_from_data_to_a_submission(tmp_path: Path, count: int) -> None:
    names = organ_names(count)
    spec, data = trial_of(write_organ_squares(tmp_path / "data", names), training__epochs=2)
    result = run_trial(spec, data, tmp_path / "trial", runtime=ONE_THREAD)
    files = TrialFiles(tmp_path / "trial")
    assert TrialResult.load(files.result).organs.names == names
    assert set(result.scores["per_class"]) == set(names)
    assert set(result.per_case) == set(data.plan.cases(0))
    assert all(len(s) == count for sums in result.per_case.values() for s in sums.values())
    assert "known" not in json.loads(files.result.read_text())
    index = SliceIndex.from_directory(tmp_path / "data")
    held_out = index.scan_table["case"].isin(data.plan.cases(0))
    scan = index.scan_table["scan"][held_out].iloc[0]
    assert read_oof(files.oof, scan).shape == (count, 4, SIDE, SIDE)
    table = read_scores(files.scores, organs=index.organs)
    assert set(table["class"]) == set(names)
    members = Members.load(tmp_path / "trial")
    assert members.organs.names == names
    members.save(tmp_path / "members.json")
    assert Members.load(tmp_path / "members.json") == members
    predictor = Predictor(members, tmp_path / "trial", ONE_THREAD)
    images = SliceIndex.from_directory(tmp_path / "data" / "train")
    rows = [row for scan in images.scans for row in predictor.rows(images, scan)]
    assert [row[1] for row in rows[: 2 * count]] == [*names, *names]
    submission = pd.DataFrame(rows, columns=["id", "class", "predicted"])
    sizes = images.table[["id", "height", "width"]]
    faults = check_submission(submission, sizes, organs=members.organs)
    assert [f for f in faults if f.row is not None] == []
    assert check_submission(submission, sizes)[0].message.startswith("unknown class")


def of(directory: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Weights and result of a trial, without its cost."""
    files = TrialFiles(directory)
    values: dict[str, Any] = json.loads(files.result.read_text())
    del values["cost"], values["seal"], values["files"]["history.csv"]  # with its seconds
    return load_file(files.best), values


def test_masks_that_nobody_vouches_for_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for hidden in (True, False):
        folder = tmp_path / str(hidden)
        monkeypatch.setenv("GITRACT_CACHE", str(folder / "cache"))
        write_organ_squares(folder / "data", organ_names(3), unknown=hides, hidden_masks=hidden)
        spec, data = trial_of(folder / "data")
        run_trial(spec, data, folder / "trial", runtime=ONE_THREAD)
        found.append(of(folder / "trial"))
    (weights, values), (other_weights, other_values) = found
    assert all(np.array_equal(weights[name], other_weights[name]) for name in weights)
    assert values == other_values
    assert values["known"]["organ_3"] == 1
    assert values["known"]["organ_1"] == 0
    assert values["scores"]["per_class"]["organ_1"] == dict.fromkeys(("dice", "hausdorff", "score"))
    assert values["scores"]["per_class"]["organ_3"]["score"] is not None
    assert values["scores"]["score"] is not None
    assert all(sums["dice_rows"][2] == 0 for sums in values["per_case"].values())


def test_cached_bits_that_are_not_known_do_not_train(tmp_path: Path, caches: Path) -> None:
    """The same with masks that differ in the cache itself; known ones do make a difference."""
    data = write_organ_squares(tmp_path / "data", organ_names(3), unknown=hides)
    spec, trial = trial_of(data)
    cache = build_cache(SliceIndex.from_directory(data), SIDE)
    known = cache.index.known
    assert known is not None
    slices = slices_on(cache, CPU)
    assert slices.masks is not None
    noise = torch.randint(0, 8, slices.masks.shape, dtype=torch.uint8)
    bits = torch.from_numpy((~known @ np.array([1, 2, 4])).astype(np.uint8)).view(-1, 1, 1, 1)
    trained = []
    for masks in (slices.masks, slices.masks ^ (noise & bits), slices.masks ^ (noise & ~bits)):
        rows = fold_slices(cache, replace(slices, masks=masks), trial.plan, 0)
        training = Training(spec, rows, CPU)
        records = [training.run_epoch() for _ in range(2)]
        weights = torch.cat([p.flatten() for p in training.network.parameters()])
        trained.append((weights, [replace(r, seconds=0) for r in records]))
    assert torch.equal(trained[0][0], trained[1][0])
    assert trained[0][1] == trained[1][1]
    assert not torch.equal(trained[0][0], trained[2][0])


def test_without_unknown_entries_the_plain_path_is_taken(tmp_path: Path) -> None:
    """A column of states that are all known gives the weights of the data set without it."""
    found = []
    for name, unknown in (("plain", None), ("stated", lambda scan, organ: False)):
        folder = tmp_path / name
        write_organ_squares(folder / "data", organ_names(2), unknown=unknown)
        spec, data = trial_of(folder / "data", training__epochs=1)
        assert slices_on(data.cache(SIDE), CPU).known is None
        run_trial(spec, data, folder / "trial", runtime=ONE_THREAD)
        found.append(of(folder / "trial"))
    assert all(np.array_equal(found[0][0][n], found[1][0][n]) for n in found[0][0])
    assert found[0][1] == found[1][1]


@pytest.fixture
def contest_trial(tiny: Path, tmp_path: Path) -> TrialFiles:
    spec, data = trial_of(tiny, training__epochs=1)
    run_trial(spec, data, tmp_path / "trial", runtime=ONE_THREAD)
    return TrialFiles(tmp_path / "trial")


def test_results_and_manifests_of_the_version_before_are_of_the_contest(
    contest_trial: TrialFiles, tmp_path: Path
) -> None:
    members = Members.load(contest_trial.directory)
    members.save(tmp_path / "members.json")
    for file in (contest_trial.result, tmp_path / "members.json"):
        values = json.loads(file.read_text())
        assert values.pop("organs") == list(CONTEST)
        assert values.pop("gray") == "percentile99.5-v1"
        del values["seal"]
        file.write_text(json.dumps(values))
    result = TrialResult.load(contest_trial.result)
    assert (result.organs, result.gray, result.known) == (CONTEST, "percentile99.5-v1", {})
    again = Members.load(tmp_path / "members.json")
    assert (again.organs, again.gray) == (CONTEST, "percentile99.5-v1")
    assert again.postprocess == members.postprocess


def test_sums_must_be_of_the_organs(contest_trial: TrialFiles) -> None:
    values = json.loads(contest_trial.result.read_text())
    values["organs"] = ["liver", "spleen"]
    del values["seal"]
    contest_trial.result.write_text(json.dumps(values))
    with pytest.raises(RunError, match="expected 2 sums, one an organ"):
        TrialResult.load(contest_trial.result)


def inverted(scan: np.ndarray) -> np.ndarray:
    return np.asarray(255 - scan_to_bytes(scan), np.uint8)


def test_prediction_scales_as_training_did(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scaling = gray.GrayScaling(lambda scan: scan, inverted)
    known = MappingProxyType({**gray.GRAY_SCALINGS, "inverted-v1": scaling})
    monkeypatch.setattr(gray, "GRAY_SCALINGS", known)
    spec, data = trial_of(tiny, training__epochs=1)
    plain = data.cache(32)
    other = replace(data, gray="inverted-v1")
    assert np.array_equal(other.cache(32).images, 255 - plain.images)
    result = run_trial(spec, other, tmp_path / "trial", runtime=ONE_THREAD)
    assert result.gray == "inverted-v1"
    members = Members.load(tmp_path / "trial")
    assert members.gray == "inverted-v1"
    seen: list[np.ndarray] = []
    predictor = Predictor(members, tmp_path / "trial", ONE_THREAD)
    masks_of = predictor.masks_of

    def noted(images: dict[View, np.ndarray], *more: Any) -> np.ndarray:
        seen.append(images[View(32)])
        return masks_of(images, *more)

    monkeypatch.setattr(predictor, "masks_of", noted)
    scan = plain.index.scans[0]
    predictor.masks(plain.index, scan)
    rows = plain.index.rows_of_scan(scan).index
    assert np.array_equal(seen[0], 255 - plain.images[rows, 0])
    run_trial(spec, data, tmp_path / "plain", runtime=ONE_THREAD)
    both = [(TrialFiles(tmp_path / name), 1.0) for name in ("trial", "plain")]
    with pytest.raises(RunError, match="scaled by inverted-v1"):
        Members.of_trials(both, members.postprocess, tmp_path)
    monkeypatch.undo()
    (tmp_path / "lost").mkdir()
    members.save(tmp_path / "lost" / "members.json")
    with pytest.raises(RunError, match="gray scaling: expected a known name"):
        Members.load(tmp_path / "lost")
