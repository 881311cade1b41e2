"""The GPU benchmark runs anywhere, loads nothing it has no need of, and counts right."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOT_NEEDED = ("ray", "pydantic", "jsonschema", "tensorboardX", "orchestrator")


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT))
    return import_module("benchmarks.speed.gpu")


def test_operations_are_those_of_the_published_sizes(gpu: ModuleType) -> None:
    """GFLOP an image and step; bytes at least those of all activations, written and read once."""
    found = {shape: gpu.work_of(*shape) for shape in gpu.SHAPES}
    assert found["paper", 4][0] == pytest.approx(12.3e9, rel=0.01)
    assert found["paper", 5][0] == pytest.approx(13.1e9, rel=0.01)
    assert found["standard", 4][0] < found["standard", 5][0] < found["paper", 4][0]
    assert found["paper", 4][1] > 2 * 2 * 12.5e6


def test_counted_operations_of_a_convolution_are_those_by_hand(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    import torch

    traffic = import_module("benchmarks.speed.step_work").Traffic()
    x = torch.zeros(2, 3, 4)
    with traffic:
        y = x.view(6, 4)[1:]  # views: nothing moves
        y + 1  # 20 values of 4 bytes, read and written
    assert traffic.bytes == 2 * 20 * 4


def test_the_grid_is_fifty_trials(gpu: ModuleType) -> None:
    rates = {4: (1e4, 2e4), 5: (5e3, 1e4)}
    by_hand = 25 * 40 * (30_797 / 1e4 + 7_699 / 2e4 + 30_797 / 5e3 + 7_699 / 1e4) / 60
    assert gpu.grid_minutes(rates) == pytest.approx(by_hand)


def test_a_way_that_fails_is_told_and_the_best_way_is_named(gpu: ModuleType) -> None:
    scale = gpu.Scale.quick("cpu")
    plain, captured, *_ = gpu.ways(scale)
    rows = [gpu.Found(shape, plain, 1e4, 2e4, 2**30) for shape in gpu.SHAPES]
    rows += [gpu.Found(shape, captured, 2e4, 2e4, 2**31) for shape in gpu.SHAPES[:3]]
    rows.append(gpu.Found(gpu.SHAPES[3], captured, fault="OutOfMemoryError: no room"))
    _, table, best = gpu.grid_part(rows, (plain, captured))
    assert len(table.splitlines()) == 2 + 3, "a way that lacks a depth has no projection"
    assert "best for paper widths: one trial, captured, minutes" in best
    assert "best for standard widths: one trial, plain, minutes" in best
    text = gpu.rows_table(rows, scale, (1e12, 1e12))
    assert len(text.splitlines()) == 2 + 8
    assert text.splitlines()[-1].count("| - ") == 5


def test_the_mps_server_is_looked_for(gpu: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", "/pipes")
    assert gpu.mps_line().endswith("CUDA_MPS_PIPE_DIRECTORY /pipes.")


@pytest.mark.slow
def test_it_loads_nothing_of_the_orchestrator() -> None:
    code = f"import sys, benchmarks.speed.gpu; print([m for m in {NOT_NEEDED} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=ROOT, capture_output=True, text=True
    )
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr


@pytest.mark.slow
def test_the_quick_run_prints_a_row_for_each_network_and_way(tmp_path: Path) -> None:
    out = tmp_path / "gpu.md"
    command = [
        sys.executable,
        "-m",
        "benchmarks.speed.gpu",
        "--device",
        "cpu",
        "--quick",
        "--out",
        out,
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    text = out.read_text()
    assert text.strip() == done.stdout.strip()
    assert "Failed" not in text
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if ", depth " in line]
    networks = [f"{widths}, depth {depth}" for widths in ("paper", "standard") for depth in (4, 5)]
    ways = (
        "one trial, plain",
        "one trial, captured",
        "2 processes, captured",
    )
    assert [(row[0], row[1]) for row in rows] == [(n, way) for way in ways for n in networks]
    assert all(float(cell.replace(",", "")) >= 0 for row in rows for cell in row[2:])
    assert all(f"best for {widths} widths" in text for widths in ("paper", "standard"))
