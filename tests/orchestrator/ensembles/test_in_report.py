"""An ensemble of one candidate and the report announce unlike figures of it, and say so."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from gitract_core.metrics.score import COMPETITION
from orchestrator.api.ensemble import announced_by_report
from orchestrator.cli.terminal import ensembles
from orchestrator.ensembles.making import Announcement, Ensemble
from orchestrator.ensembles.selection import Method
from orchestrator.results.steadiness import Trainings
from orchestrator.results.verdict import Verdict
from orchestrator.statistics import analyse
from tests.support.simulated_sweeps import World, simulate


@pytest.fixture(scope="module")
def verdict() -> Verdict:
    world = World((0.0, 0.0, 0.0), n_cases=20)
    statistics = analyse(simulate(world, np.random.default_rng(0)), draws=200)
    return Verdict(statistics, 3, 3, Trainings(3, (), ()))


def ensemble_of(*labels: str, tune: bool = False) -> Ensemble:
    """What the command shows of an ensemble of these candidates."""
    lines = [SimpleNamespace(label=label, mean=lambda: 0.5, sd=lambda: 0.1) for label in labels]
    made = SimpleNamespace(
        chosen=tuple((line, 1 / len(lines)) for line in lines),
        method=Method(len(lines), tune=tune),
        members=SimpleNamespace(flip=False, members=[1, 2]),
        announced=Announcement(0.5, (0.4, 0.6), (0.5, 0.5), 0.5, 0.5, 0.0, (0.0, 0.0)),
        left_out=(),
        flipped=None,
        measure=COMPETITION,
        directory=Path("runs/a/ensembles/one"),
        rules=(),
    )
    return cast("Ensemble", made)


def test_the_first_alone_is_shown_with_the_report_s_figure(
    verdict: Verdict, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = ensemble_of(verdict.statistics.candidates[0].name)
    winner = announced_by_report(made, verdict)
    assert winner
    figure = f"{winner.corrected:.4f} (95 % interval {winner.low:.4f} to {winner.high:.4f})"
    assert f"Announce {figure} for the first" in verdict.in_words
    monkeypatch.setattr(ensembles, "_interval_to_come", lambda *_: (0.3, 0.7))
    ensembles.print_ensemble(made, 5, winner)
    shown = " ".join(capsys.readouterr().out.split())
    assert f"the report announces {figure} for this candidate: there" in shown


def test_other_ensembles_are_not_what_the_report_speaks_of(verdict: Verdict) -> None:
    first, second = (one.name for one in verdict.statistics.candidates[:2])
    assert announced_by_report(ensemble_of(second), verdict) is None
    assert announced_by_report(ensemble_of(first, second), verdict) is None
    assert announced_by_report(ensemble_of(first, tune=True), verdict) is None
    assert announced_by_report(ensemble_of(first), None) is None
