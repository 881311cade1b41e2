"""An ensemble that was made, as the command shows it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gitract_core.errors import counted
from orchestrator.cli.terminal.screen import console, print_json

if TYPE_CHECKING:
    from gitract_core.prediction.submission import Fault
    from orchestrator.ensembles.making import Ensemble
    from orchestrator.statistics.optimism import Optimism


def print_ensemble(made: Ensemble, patients: int, in_report: Optimism | None) -> None:
    """Members, rules, the score to announce and what stands beside it.

    Args:
        made: the ensemble.
        patients: of the set to come.
        in_report: what the report announces, see ``announced_by_report``.
    """
    from rich.text import Text

    from gitract_core.metrics.score import COMPETITION

    out = console()
    models = len(made.members.members)
    chosen = f"{counted(len(made.chosen), 'candidate')}, {counted(models, 'model')}"
    out.print(f"{chosen}, {made.method.weights} weights:")
    for reason in made.left_out:
        out.print(f"  left out: {reason}", style="yellow", soft_wrap=True)
    for line, share in made.chosen:
        out.print(f"  {share:4.0%}  {line.mean():.4f} ± {line.sd():.4f}  {line.label}")
    _print_rules(made)
    a = made.announced
    by = "" if made.measure is COMPETITION else f" ({made.measure.text})"
    score = Text(f"out-of-fold score{by}  ").append(f"{a.score:.4f}", "bold")
    out.print(score.append(f", {_to_come(made, patients)}"), soft_wrap=True)
    details = f"mean patient {_span(a.interval)}; in sample {a.in_sample:.4f}; one candidate, "
    details += f"chosen alike, {a.single:.4f}, gain {a.gain:+.4f}, "
    details += _span(a.gain_interval, signed=True)
    if made.flipped is not None:
        kept = "kept" if made.members.flip else "not kept"
        details += f"; with flips {made.flipped:.4f}, {kept}"
    out.print("  everything was chosen for each fold on the other folds' cases", style="dim")
    if in_report:
        _print_in_report(in_report)
    out.print(f"  not to be announced: {details}", style="dim", soft_wrap=True)
    out.print(f"members     {made.directory / 'members.json'}")
    out.print(f"OOF score   {made.directory / 'oof_score.json'}")


def print_ensemble_json(
    made: Ensemble,
    submission: Path | None,
    faults: list[Fault],
    patients: int,
    in_report: Optimism | None,
) -> None:
    """The same for programs, and the submission's faults."""
    from gitract_core.files.atomic import read_json

    print_json(
        {
            "members": str(made.directory / "members.json"),
            "submission": submission and str(submission),
            **read_json(made.directory / "oof_score.json"),
            "to_come": {"patients": patients, "interval": _interval_to_come(made, patients)},
            "report_announces": in_report
            and {"score": in_report.corrected, "interval": [in_report.low, in_report.high]},
            "faults": [str(fault) for fault in faults],
        }
    )


def _print_in_report(winner: Optimism) -> None:
    """Why the report announces another figure for the same candidate."""
    interval = f"95 % interval {winner.low:.4f} to {winner.high:.4f}"
    text = f"  the report announces {winner.corrected:.4f} ({interval}) for this candidate: there "
    text += "what its choice adds is estimated and taken off, and the "
    text += "interval is for the mean patient; here each fold has the candidate that the other "
    text += "folds choose"
    console().print(text, style="dim", soft_wrap=True)


def _to_come(made: Ensemble, patients: int) -> str:
    """The interval of a test set's score, in words."""
    low, high = _interval_to_come(made, patients)
    if low != low:
        return "no interval: too few patients"
    who = counted(patients, "patient")
    return f"95 % interval {low:.4f} to {high:.4f} for {who} to come like those of training"


def _interval_to_come(made: Ensemble, patients: int) -> tuple[float, float]:
    from gitract_core.prediction.announced_scores import read_announced
    from orchestrator.ensembles.to_come import interval_to_come

    return interval_to_come(read_announced(made.directory / "oof_score.json"), patients)


def _span(interval: tuple[float, float], *, signed: bool = False) -> str:
    low, high = interval
    if low != low:
        return "no interval: a fold has a single case"
    shown = [f"{end:+.4f}" if signed else f"{end:.4f}" for end in (low, high)]
    return f"{shown[0]} to {shown[1]}"


def _print_rules(made: Ensemble) -> None:
    from dataclasses import asdict

    if not made.method.tune:
        return
    out = console()
    out.print("post-processing:")
    for organ, rule in zip(made.members.organs, made.rules, strict=True):
        settings = ", ".join(f"{k} {v}" for k, v in asdict(rule).items())
        out.print(f"  {organ:<12} {settings}")
