from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from gitract_core.data.cache import build_cache
from gitract_core.data.slices import SliceIndex
from gitract_core.errors import DataError
from gitract_core.metrics.annotation_audit import (
    ScanEvidence,
    examine_scan,
    rank_scans,
    slice_disagreement_px,
)
from gitract_core.organs import CONTEST, Organs
from gitract_core.phantom import write_phantom
from gitract_core.phantom.faults import plant_faults
from gitract_core.spec import Candidate
from gitract_core.trial.run import run_trial
from orchestrator.out_of_fold.annotation_audit import _examine, audit_run, write_audit
from orchestrator.out_of_fold.masks import OofAverage, OofScan
from orchestrator.report.suspects import write_gallery
from orchestrator.results.leaderboard import build_leaderboard
from tests.support.tiny_contest import disc
from tests.support.tiny_sweep import prepare_tiny
from tests.support.warm import run_warm


def blob(seed: int) -> np.ndarray:
    """Three organs of one scan, boolean (3, 12, 40, 40), apart from each other."""
    random = np.random.default_rng(seed)
    z, y, x = np.mgrid[:12, :40, :40]
    organs = []
    for center in ((14, 12), (26, 14), (20, 28)):
        row, column = np.array(center) + random.uniform(-2, 2, 2)
        reach = np.sqrt(np.clip(1 - ((z - 5.5) / random.uniform(4, 5.5)) ** 2, 0, None))
        organs.append(np.hypot(y - row, x - column) < random.uniform(4, 6) * reach)
    return np.stack(organs)


def prediction_of(truth: np.ndarray, seed: int, quality: float) -> np.ndarray:
    """A model's view: blurred, shifted a little, with noise; float32 0 to 1."""
    random = np.random.default_rng(seed)
    values = ndimage.gaussian_filter(truth.astype(np.float32), (0, 0.7, 1.0, 1.0))
    values = ndimage.shift(values, (0, 0, *random.uniform(-1, 1, 2)), order=1)
    noise = ndimage.gaussian_filter(random.normal(size=truth.shape), (0, 1, 2, 2)) * 3
    return np.clip(values * quality + 0.1 * noise, 0, 1).astype(np.float32)


def test_each_fault_is_explained_as_what_it_is() -> None:
    truth = blob(0)
    seen = prediction_of(truth, 1, 1.0)
    clean = examine_scan(seen, truth)
    assert np.nanmin(clean.dice) > 0.5
    assert max(clean.swap[1], clean.shift_px[1], clean.missing[1]) < 0.03
    swapped = examine_scan(seen, truth[[1, 0, 2]])
    assert swapped.swap[0] == (0, 1)
    assert swapped.swap[1] > 0.4
    moved = examine_scan(seen, np.roll(truth, (3, -5), axis=(2, 3)))
    assert np.abs(np.array(moved.shift_px[0]) - (-3, 5)).max() <= 1
    assert moved.shift_px[1] > 0.2
    dropped = truth.copy()
    dropped[:, 4:7] = False
    missing = examine_scan(seen, dropped)
    assert missing.missing[0] == (4, 6)
    assert missing.missing[1] > 0.05


def test_the_best_move_is_that_of_a_plain_search() -> None:
    truth = np.roll(blob(2), (4, -3), axis=(2, 3))
    seen = prediction_of(blob(2), 3, 1.0)
    (rows, columns), gain = examine_scan(seen, truth).shift_px
    best, where = -1.0, (0, 0)
    for down in range(-14, 15):
        for right in range(-14, 15):
            wide = np.pad(truth, ((0, 0), (0, 0), (14, 14), (14, 14)))
            moved = wide[:, :, 14 - down : 54 - down, 14 - right : 54 - right]
            overlap = float((seen * moved).sum())
            if overlap > best:
                best, where = overlap, (down, right)
    assert (rows, columns) == where
    before = float((seen * truth).sum())
    assert gain == pytest.approx(2 * (best - before) / float(seen.sum() + truth.sum()), abs=1e-3)


def test_planted_faults_come_first_among_scans_of_mixed_difficulty() -> None:
    """Fifty scans, two faulty, many times over: at least 90 % within the first 8 %."""
    found = planted = 0
    for draw in range(6):
        random = np.random.default_rng(draw)
        evidence: dict[str, ScanEvidence] = {}
        faulty = {int(s): kind for kind, s in enumerate(random.choice(50, 3, replace=False))}
        for scan in range(50):
            truth = blob(1000 * draw + scan)
            seen = prediction_of(truth, scan, random.uniform(0.6, 1.0))
            kind = faulty.get(scan)
            if kind == 0:
                truth = truth[[0, 2, 1]]
            elif kind == 1:
                truth = np.roll(truth, (4, 4), axis=(2, 3))
            elif kind == 2:
                truth = truth.copy()
                truth[:, 3:7] = False
            evidence[str(scan)] = examine_scan(seen, truth)
        ranked = rank_scans(evidence, 40, organs=CONTEST)
        first = {suspect.scan for suspect in ranked[: round(0.08 * len(ranked))]}
        found += len(first & {str(scan) for scan in faulty})
        planted += len(faulty)
    assert found >= 0.9 * planted


def test_a_scan_without_organs_on_either_side_is_not_suspected() -> None:
    nothing = np.zeros((3, 4, 8, 8))
    evidence = {str(i): examine_scan(blob(i).astype(float), blob(i)) for i in range(5)}
    evidence["empty"] = examine_scan(nothing, nothing > 0)
    assert evidence["empty"].shift_px == ((0, 0), 0.0)
    assert rank_scans(evidence, 8, organs=CONTEST)[-1].suspicion == 0
    with pytest.raises(DataError, match="audit"):
        examine_scan(nothing, nothing[:2] > 0)


def test_only_confident_contradiction_counts_in_a_slice() -> None:
    truth = np.zeros((3, 1, 2, 2), bool)
    truth[0, 0, 0, 0] = True
    p = np.zeros((3, 1, 2, 2))
    p[0, 0] = [[0.1, 0.5], [0.9, 0.2]]
    wrong = slice_disagreement_px(p, truth)
    assert wrong[0, 0] == pytest.approx(0.8 + 0.8)
    assert wrong[1:].sum() == 0


@pytest.mark.parametrize("count", [1, 2, 15])
def test_any_number_of_organs_is_examined(count: int) -> None:
    truth = np.concatenate([blob(seed) for seed in range(-(-count // 3))])[:count]
    seen = np.stack([prediction_of(one[None], 1, 1.0)[0] for one in truth])
    found = examine_scan(seen, truth)
    assert found.dice.shape == (count,)
    if count == 1:
        assert found.swap[1] == 0  # there is nothing to swap with
        return
    order = [1, 0, *range(2, count)]
    places, gain = examine_scan(seen, truth[order]).swap
    assert places == (0, 1)
    assert gain > 1 / count


def test_what_is_not_known_explains_nothing() -> None:
    """An organ that nobody looked for is no swap, no shift and no slice without annotation."""
    truth = blob(0)
    seen = truth * np.float32(0.9)
    whole = examine_scan(seen, truth)
    known = np.array([1, 1, 0])[:, None, None, None]
    partly = examine_scan(seen * known, truth * known > 0)
    assert np.isnan(partly.dice[2])
    assert partly.dice[:2] == pytest.approx(whole.dice[:2])
    assert max(partly.swap[1], partly.shift_px[1], partly.missing[1]) < 0.02
    organs = Organs(("liver", "spleen", "aorta"))
    suspects = rank_scans({"whole": whole, "partly": partly}, 40, organs=organs)
    assert max(one.suspicion for one in suspects) < 0.05


@pytest.fixture(scope="module")
def faulty_phantom(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    clean, faulty = (tmp_path_factory.mktemp(name) / "phantom" for name in ("clean", "faulty"))
    for folder in (clean, faulty):
        write_phantom(folder, cases=5, seed=3, slices_per_scan=16)
    plant_faults(faulty, 0.5, seed=1)
    return clean, faulty


def test_planted_faults_are_what_the_list_says(faulty_phantom: tuple[Path, Path]) -> None:
    before, after = (SliceIndex.from_directory(folder) for folder in faulty_phantom)
    listed = pd.read_csv(faulty_phantom[1] / "faults.csv")
    assert set(listed["kind"]) == {"swapped", "moved", "dropped"}
    organs = ["large_bowel", "small_bowel", "stomach"]
    for scan in before.scans:
        old, new = (index.rows_of_scan(scan)[organs] for index in (before, after))
        kind = dict(zip(listed["scan"], listed["kind"], strict=True)).get(scan)
        assert new.equals(old) == (kind is None)
        if kind == "swapped":
            assert sorted(map(tuple, old.T.to_numpy())) == sorted(map(tuple, new.T.to_numpy()))
        if kind == "dropped":
            lost = (old != "").any(axis=1) & (new == "").all(axis=1)
            assert 0.2 <= lost.sum() / (old != "").any(axis=1).sum() <= 0.55
            assert new[~lost].equals(old[~lost])
        if kind == "moved":
            assert (new != "").sum().sum() >= 0.9 * (old != "").sum().sum()
    with pytest.raises(DataError, match="no faults yet"):
        plant_faults(faulty_phantom[1], 0.1)


def test_an_audit_of_a_run_lists_scans_slices_borders_and_draws_them(
    faulty_phantom: tuple[Path, Path], tmp_path: Path
) -> None:
    sweep = prepare_tiny(faulty_phantom[1], tmp_path / "run", {"loss": "bce + dice"})
    for spec in sweep.specs:
        run_trial(spec, sweep.data, sweep.directory.trials / spec.key)
    board = build_leaderboard(sweep.directory)
    found = audit_run(sweep.directory, board, 1)
    index = SliceIndex.from_directory(faulty_phantom[1])
    assert sorted(s.scan for s in found.scans) == sorted(index.scans)
    assert found.slices["disagreement_cm2"].is_monotonic_decreasing
    average = OofAverage(sweep.directory, found.candidates)
    largest = found.slices.iloc[0]
    scan = average.scan(largest["id"].rpartition("_slice_")[0])
    place = scan.rows["id"].tolist().index(largest["id"])
    channel = ["large_bowel", "small_bowel", "stomach"].index(largest["class"])
    bits = build_cache(index, 32).masks[int(scan.rows.index[place])]
    wrong = np.abs(scan.probabilities[channel, place] / 255 - (bits >> channel & 1)) * 2 - 1
    area = 1.5**2 * scan.grid.height * scan.grid.width / 32**2 / 100
    if scan.grid.voxel_mm3 == pytest.approx(6.75):
        assert np.clip(wrong, 0, None).sum() * area == pytest.approx(
            largest["disagreement_cm2"], rel=1e-4
        )
    total = sum(scan_truth.sum() for scan_truth in (average.scan(n).truth[0] for n in index.scans))
    assert found.borders["large_bowel"].truth_mm3 >= total * 6.75 - 1
    files = write_audit(found, tmp_path / "audit")
    written = pd.read_csv(files[0])
    assert written["scan"].tolist() == [s.scan for s in found.scans]
    assert written["rank"].tolist() == list(range(1, len(index.scans) + 1))
    pictures = write_gallery(found, average, tmp_path / "audit", 2)
    assert len(pictures) == 4
    assert all(p.stat().st_size > 2000 for p in pictures)


def test_slices_are_named_by_their_numbers_where_the_first_ones_are_missing(
    own_tiny: Path,
) -> None:
    """Slices 37 to 42, of which 38 to 40 hold organs; 39 loses its annotation."""
    table = (own_tiny / "train.csv").read_text()
    for number in range(1, 7):
        (file,) = own_tiny.glob(f"train/case12/case12_day2/scans/slice_000{number}_*.png")
        file.rename(file.with_name(file.name.replace(f"_000{number}_", f"_00{number + 36}_")))
        table = table.replace(
            f"case12_day2_slice_000{number}", f"case12_day2_slice_00{number + 36}"
        )
    (own_tiny / "train.csv").write_text(re.sub(r"(case12_day2_slice_0039,\w+),.*", r"\1,", table))
    index = SliceIndex.from_directory(own_tiny)
    seen = np.zeros((3, 6, 32, 32), np.float32)
    for channel in range(3):
        seen[channel, 1:4] = 255 * disc(32, 32, channel)
    scan = OofScan("case12_day2", "12", 0, index.rows_of_scan("case12_day2"), seen, index)
    line = SimpleNamespace(candidate=Candidate())
    cache = build_cache(index, 32)
    average = SimpleNamespace(
        scan=lambda _: scan, cache=cache, size=32, lines=[line], organs=CONTEST
    )
    evidence = _examine(cast(OofAverage, average), scan.scan)[0]
    assert (
        rank_scans({scan.scan: evidence}, 32, organs=CONTEST)[0].reason
        == "slices 39 to 39 not annotated?"
    )


def test_the_command_prints_and_writes(
    faulty_phantom: tuple[Path, Path], tmp_path: Path, own_cache: None
) -> None:
    sweep = prepare_tiny(faulty_phantom[0], tmp_path / "run", {"training.epochs": 1})
    for spec in sweep.specs:
        run_trial(spec, sweep.data, sweep.directory.trials / spec.key)
    code = "from orchestrator.cli import main; main()"
    command = [sys.executable, "-c", code, "audit", str(tmp_path / "run"), "--pictures", "1"]
    plain = run_warm(command)
    assert plain.returncode == 0, plain.stderr
    assert "scans to look at first" in plain.stdout
    shown = run_warm([*command, "--json"])
    values = json.loads(shown.stdout)
    assert set(values) == {"candidates", "scans", "slices", "borders", "files"}
    assert len(values["files"]) == 4
