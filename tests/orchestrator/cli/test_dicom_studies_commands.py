"""Commands on a folder of DICOM studies."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.dicom_studies import ORGANS, study
from tests.support.refusing import run_cli


@pytest.fixture
def studies(tmp_path: Path) -> Path:
    root = tmp_path / "studies"
    study(root / "a", "p1", 0)
    study(root / "b", "p2", 1, {"Stomach": ORGANS["stomach"], "BODY": (0, 9, 0, 9)})
    return root


def test_validate(studies: Path) -> None:
    ended = run_cli("validate", "--data", str(studies), "--json")
    assert ended.code == 0
    found = json.loads(ended.out)
    assert (found["slices"], found["scans"], found["faults"]) == (10, 2, [])


def test_eda(studies: Path, tmp_path: Path) -> None:
    ended = run_cli("eda", "--data", str(studies), "--html", str(tmp_path / "page.html"))
    assert ended.code == 0, ended.err
    assert "2 cases, 2 scans, 10 slices" in ended.out
    assert "stomach" in (tmp_path / "page.html").read_text()
