"""A data set in which nothing is annotated."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from gitract_core.data.slices import SliceIndex
from gitract_core.data.validation import data_faults
from gitract_core.errors import DataError
from orchestrator.sweeps.preparation import SweepRequest, check
from tests.support.tiny_sweep import tiny_space

SAID = r"train\.csv: expected a mask in at least one slice, got none in \d+ slices; add the masks"


@pytest.fixture
def without_masks(own_tiny: Path) -> Path:
    file = own_tiny / "train.csv"
    table = pd.read_csv(file, keep_default_na=False)
    table.assign(segmentation="").to_csv(file, index=False)
    return own_tiny


def test_is_refused_before_anything_is_written(without_masks: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=SAID):
        check(SweepRequest(without_masks, tiny_space(), tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_what_is_left_without_masks_is_refused(own_tiny: Path, tmp_path: Path) -> None:
    """As where all scans with masks are left out."""
    index = SliceIndex.from_directory(own_tiny)
    drawn = index.table["scan"][index.organ_counts > 0].unique().tolist()
    file = own_tiny / "train.csv"
    table = pd.read_csv(file, keep_default_na=False)
    kept = table["id"].str.startswith(drawn[0] + "_")
    table.assign(segmentation=table["segmentation"].where(kept, "")).to_csv(file, index=False)
    request = SweepRequest(own_tiny, tiny_space(), tmp_path / "run", exclude=(drawn[0],))
    with pytest.raises(DataError, match="exclude fewer scans"):
        check(request)


def test_validation_names_it(without_masks: Path) -> None:
    faults = data_faults(SliceIndex.from_directory(without_masks))
    assert len(faults) == 1
    assert "expected a mask in at least one slice" in faults[0]
