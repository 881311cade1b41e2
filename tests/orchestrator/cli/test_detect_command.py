"""``gitract-cv plan --detect``: patients and repeats for a difference, and nothing is trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gitract_core.errors import GitractError, RunError
from orchestrator.api.run import open_run
from orchestrator.cli.main import app
from orchestrator.statistics.questions.power import TYPICAL
from tests.support.stub_results import write_result
from tests.support.tiny_sweep import prepare_tiny

LOSSES: tuple[dict[str, object], ...] = ({"loss": "bce"}, {"loss": "dice"}, {"loss": "focal"})


@pytest.fixture(scope="module")
def run(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("detect")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GITRACT_CACHE", str(folder / "cache"))
        sweep = prepare_tiny(tiny, folder / "run", *LOSSES)
        for spec in sweep.specs:
            write_result(sweep, spec, 0.5)
        prepare_tiny(tiny, folder / "empty", *LOSSES)
    return folder / "run"


def asked(*arguments: object) -> dict[str, Any]:
    done = CliRunner().invoke(app, ["plan", *map(str, arguments), "--json"])
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_without_a_run_figures_are_typical() -> None:
    found = asked("--detect", ".02")
    assert found["patients"] == 85
    assert found["needed"][0] == {"repeats": 1, "patients": TYPICAL.cases_needed(0.02, 1)}
    assert found["repeats_needed"] == TYPICAL.repeats_needed(0.02, 85)
    text = " ".join(CliRunner().invoke(app, ["plan", "--detect", ".02"]).stdout.split())
    assert "a difference of 0.02 between two candidates in 4 of 5 tries" in text
    assert f"With 85 patients it takes {TYPICAL.repeats_needed(0.02, 85)} repeat" in text
    assert "typical of small networks" in text
    hard = " ".join(CliRunner().invoke(app, ["plan", "--detect", ".001"]).stdout.split())
    assert "no number" in hard
    assert "With 85 patients no number of repeats finds it." in hard


def test_a_run_gives_its_own_noise(run: Path) -> None:
    """Cases of the stub differ by sd .002 between candidates."""
    found = asked(run, "--detect", ".01")
    assert (found["patients"], found["repeats"]) == (4, 1)
    assert "this run of 4 cases" in found["source"]
    assert found["needed"][0]["patients"] < TYPICAL.cases_needed(0.02, 1)  # type: ignore[operator]
    table = open_run(run).detect(0.01)
    assert list(table["patients"]) == [row["patients"] for row in found["needed"]]


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (["{run}"], GitractError, "plan RUN: expected --detect"),
        (["--detect", "0"], GitractError, "above 0, under 1"),
        (["--detect", "nan"], GitractError, "above 0, under 1"),
        (["{empty}", "--detect", ".01"], RunError, "got 0 ranked"),
    ],
)
def test_wrong_use_is_one_line(
    run: Path, arguments: list[str], error: type[GitractError], words: str
) -> None:
    names = {"run": run, "empty": run.parent / "empty"}
    done = CliRunner().invoke(app, ["plan", *(a.format(**names) for a in arguments)])
    assert isinstance(done.exception, error)
    assert words in str(done.exception)
    assert "\n" not in str(done.exception)
