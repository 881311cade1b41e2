"""What a run remembers of a data set in another layout."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gitract_core.errors import DataError, RunError
from orchestrator.report.run_slices import run_index
from orchestrator.sweeps.preparation import SweepRequest, check, prepare
from orchestrator.sweeps.run_directory import SweepDirectory
from tests.support.other_layouts import BY_LETTER, SCANS, write_nnunet
from tests.support.tiny_sweep import tiny_space


@pytest.fixture
def request_of(tmp_path: Path) -> SweepRequest:
    data = write_nnunet(tmp_path / "d", channels=("CT",))
    return SweepRequest(data, tiny_space(), tmp_path / "run", patients=BY_LETTER)


def test_patients_and_gray_scaling_are_recorded_and_used_again(request_of: SweepRequest) -> None:
    prepare(request_of)
    record = SweepDirectory(request_of.out).record()
    assert (record.patients, record.gray) == (BY_LETTER, "window_-160_240-v1")
    assert set(run_index(record).table["case"]) == {scan[:2] for scan in SCANS}
    again = check(replace(request_of, patients=None))
    assert again.record.patients == BY_LETTER
    assert again.data.patients == BY_LETTER
    assert again.data.cache(32).gray == "window_-160_240-v1"


def test_a_new_run_needs_a_rule(request_of: SweepRequest) -> None:
    with pytest.raises(DataError, match="pass --patients"):
        check(replace(request_of, patients=None))


def test_other_patients_in_a_run_are_another_data_set(request_of: SweepRequest) -> None:
    prepare(request_of)
    with pytest.raises(RunError, match="the run's data set"):
        check(replace(request_of, patients="one-a-file"))


def test_another_gray_scaling_in_a_run_is_refused(request_of: SweepRequest) -> None:
    prepare(request_of)
    (request_of.data / "dataset.yaml").write_text("gray: zscore\n")
    with pytest.raises(RunError, match="gray scaling window_-160_240-v1, as before"):
        check(request_of)


def test_a_table_of_patients_is_found_from_elsewhere(
    request_of: SweepRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "who.csv"
    table.write_text("scan,patient\n" + "".join(f"{scan},{scan[:2]}\n" for scan in SCANS))
    monkeypatch.chdir(tmp_path)
    prepare(replace(request_of, patients="who.csv"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert check(replace(request_of, patients=None)).record.patients == str(table)
