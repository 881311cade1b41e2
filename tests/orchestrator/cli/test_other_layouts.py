"""``validate`` and ``eda`` on other layouts: every fault, and what was taken for granted."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.other_layouts import (
    BY_LETTER,
    label_map,
    write_nnunet,
    write_pairs,
    write_volume,
)
from tests.support.refusing import run_cli


def test_validate_lists_every_fault_a_line_each(tmp_path: Path) -> None:
    root = write_nnunet(tmp_path / "d")
    write_volume(root / "labelsTr" / "p1_a.nii.gz", label_map((1, 7)))
    (root / "labelsTr" / "p3_a.nii.gz").write_bytes(b"\x1f\x8bno")
    ended = run_cli("validate", "--data", str(root), "--patients", BY_LETTER)
    lines = ended.out.splitlines()
    assert ended.code == 1
    assert sum(": expected " in line for line in lines) == 2
    assert lines[-1].endswith("2 faults")
    without = run_cli("validate", "--data", str(root))
    assert without.code == 2
    assert "pass --patients: one-a-file" in without.err


def test_validate_and_eda_say_what_was_taken_for_granted(tmp_path: Path) -> None:
    root = write_pairs(tmp_path / "d", files=True)
    (root / "labels" / "p1_a_spleen.nii.gz").unlink()
    rule = ("--data", str(root), "--patients", BY_LETTER)
    said = "An organ without a mask file is unknown in that scan (annotated: listed)."
    validated = run_cli("validate", *rule)
    assert validated.code == 0, validated
    assert "note: read as NIfTI pairs" in validated.out
    assert f"note: {said}" in validated.out
    page = tmp_path / "eda.html"
    explored = run_cli("eda", *rule, "--html", str(page))
    assert explored.code == 0, explored
    assert f"note: {said}" in explored.out
    assert said in page.read_text()
    values = json.loads(run_cli("eda", *rule, "--json").out)
    assert values["layout"] == "NIfTI pairs"
    assert values["assumed"] == [said]
    assert values["known"]["spleen"] < 1


def test_validate_says_how_many_patients_there_are_and_which_organs_are_nowhere(
    tmp_path: Path,
) -> None:
    root = write_pairs(tmp_path / "d")
    text = (root / "dataset.yaml").read_text()
    (root / "dataset.yaml").write_text(text + "  kidney: 3\n")
    ended = run_cli("validate", "--data", str(root), "--patients", "(p)")
    assert "note: read as NIfTI pairs, 1 patient" in ended.out
    assert "note: no scan holds kidney" in ended.out
    ended = run_cli("validate", "--data", str(root), "--patients", BY_LETTER)
    assert "note: read as NIfTI pairs, 4 patients" in ended.out
