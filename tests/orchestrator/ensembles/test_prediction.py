"""Scans predicted at once by several processes give the submission that one process gives."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from gitract_core.data.slices import SliceIndex
from gitract_core.device import Runtime, see_one_gpu
from gitract_core.errors import RunError
from gitract_core.prediction.members import Members
from gitract_core.results.trial_result import TrialFiles
from gitract_core.trial.run import run_trial
from orchestrator.capacity.trial_slots import Node, Slots
from orchestrator.ensembles.prediction import ScanRows, choose_workers, write_predictions
from orchestrator.execution.local.executor import LocalExecutor
from tests.support.tiny_sweep import prepare_tiny


@pytest.fixture(scope="module")
def trial(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished trial's directory, an ensemble of one."""
    sweep = prepare_tiny(tiny, tmp_path_factory.mktemp("prediction") / "run")
    directory = sweep.directory.trials / sweep.specs[0].key
    run_trial(sweep.specs[0], sweep.data, directory)
    return directory


@pytest.mark.slow
def test_two_processes_write_what_one_writes(trial: Path, tiny: Path, tmp_path: Path) -> None:
    images = SliceIndex.from_directory(tiny / "train")
    assert len(images.scans) > 2
    work = ScanRows(trial, images, Runtime("cpu", 1))
    seen: dict[int, list[tuple[int, int]]] = {1: [], 2: []}
    for count, calls in seen.items():
        out = tmp_path / f"{count}.csv"
        note = lambda done, total, calls=calls: calls.append((done, total))  # noqa: E731
        assert not write_predictions(work, out, LocalExecutor(), Slots(count), note)
    assert (tmp_path / "1.csv").read_bytes() == (tmp_path / "2.csv").read_bytes()
    total = len(images.scans)
    assert seen[2] == seen[1] == [(done, total) for done in range(1, total + 1)]


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2])
def test_changed_weights_leave_no_submission(
    trial: Path, tiny: Path, tmp_path: Path, count: int
) -> None:
    manifest = tmp_path / "members.json"
    Members.of_one(TrialFiles(trial)).save(manifest)  # weights beside it: there are none
    work = ScanRows(manifest, SliceIndex.from_directory(tiny / "train"), Runtime("cpu", 1))
    with pytest.raises(RunError, match="a member's weights"):
        write_predictions(work, tmp_path / "out.csv", LocalExecutor(), Slots(count))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["members.json"]


def test_workers_follow_scans_and_machines() -> None:
    cpu, gpus = [Node(8)], [Node(16, 2), Node(16, 4)]
    assert choose_workers(cpu, 40, "auto") == Slots(8, 1)
    assert choose_workers(cpu, 31, "auto") == Slots(1, 8)
    assert choose_workers(cpu, 31, "auto", workers=4) == Slots(4, 2)
    assert choose_workers(cpu, 31, "auto", workers=20) == Slots(20, 1)
    assert choose_workers([Node(4), Node(4)], 5, "auto") == Slots(2, 4)
    assert choose_workers(gpus, 100, "auto") == Slots(6, 5, 1.0, "cuda")
    assert choose_workers(gpus, 2, "auto") == Slots(2, 16, 1.0, "cuda")
    assert choose_workers(gpus, 100, "auto", workers=12) == Slots(12, 2, 0.5, "cuda")
    assert choose_workers(gpus, 100, "cpu") == Slots(2, 16)
    assert choose_workers(gpus, 100, "cuda:1") == Slots(1, 16, 1.0, "cuda:1")
    assert choose_workers(cpu, 1, "cuda").device == "cuda"  # the runtime then says what is missing


def test_processes_see_the_gpus_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    see_one_gpu(3)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "5"
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    see_one_gpu(2)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "2"
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    see_one_gpu(2)
    assert "CUDA_VISIBLE_DEVICES" not in os.environ
