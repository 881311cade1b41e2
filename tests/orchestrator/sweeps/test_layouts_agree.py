"""A sweep over the same scans in several layouts ends with the same results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gitract_core.data.slices import SliceIndex
from gitract_core.phantom.formats import dicom_studies, nifti_pairs, nnunet
from gitract_core.phantom.formats.drawn_scan import drawn_scan
from gitract_core.trial.run import run_trial
from orchestrator.sweeps.preparation import SweepRequest, prepare
from tests.support.tiny_sweep import tiny_space

RULES = {"contest": None, "nnunet": r"case(\d+)_", "nifti": r"case(\d+)_", "dicom": None}
WRITERS = {"nnunet": nnunet, "nifti": nifti_pairs, "dicom": dicom_studies}
SPACE = tiny_space({"loss": "bce + dice", "training.epochs": 2})


@pytest.fixture(scope="module")
def home(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny contest, whose organs overlap, and the same in other layouts."""
    home = tmp_path_factory.mktemp("layouts")
    index = SliceIndex.from_directory(tiny)
    (home / "contest").symlink_to(tiny)
    for layout, writer in WRITERS.items():
        for scan in index.scans:
            writer.write_scan(drawn_scan(index, scan, held_out=False), home / layout)
        said = writer.write_description(home / layout, index.organs, len(index.scans))
        lines = [line for line in said.splitlines() if not line.startswith("patients")]
        (home / layout / "dataset.yaml").write_text("\n".join(lines))
    return home


def results(home: Path, layout: str) -> list[dict[str, Any]]:
    """What each trial of a sweep found, without what names its data."""
    request = SweepRequest(
        home / layout,
        SPACE,
        home / f"run-{layout}",
        patients=RULES[layout],
        score="contest",
    )
    sweep = prepare(request)
    found = []
    for spec in sweep.specs:
        folder = sweep.directory.trials / spec.key
        run_trial(spec, sweep.data, folder)
        result = json.loads((folder / "result.json").read_text())
        kept = {name: result[name] for name in ("scores", "per_case", "organs", "gray")}
        kept["history"] = _without_times(result["history"])
        kept["epochs"] = _without_times(pd.read_csv(folder / "history.csv").to_dict("list"))
        kept["weights"] = (folder / "best.safetensors").read_bytes()
        kept["slices"] = pd.read_parquet(folder / "scores.parquet").to_csv()
        with np.load(folder / "oof.npz") as content:
            kept["oof"] = {name: content[name].tolist() for name in content.files}
        found.append(kept)
    return found


def _without_times(values: dict[Any, Any]) -> dict[str, Any]:
    return {str(name): value for name, value in values.items() if "seconds" not in str(name)}


@pytest.fixture(scope="module")
def contest(home: Path) -> list[dict[str, Any]]:
    return results(home, "contest")


@pytest.mark.parametrize("layout", WRITERS)
def test_results_are_the_contests(home: Path, contest: list[dict[str, Any]], layout: str) -> None:
    assert len(contest) == 2
    assert all(trial["scores"] and trial["per_case"] for trial in contest)
    assert all(len(trial["epochs"]["epoch"]) == 2 for trial in contest)
    assert contest[0]["weights"] != contest[1]["weights"]
    for found, expected in zip(results(home, layout), contest, strict=True):
        for name, value in expected.items():
            assert found[name] == value, name
