"""What the choice of epochs means for the scores of a run, in plain words."""

from __future__ import annotations

from collections.abc import Sequence

from gitract_core.errors import counted
from gitract_core.metrics.score import COMPETITION
from orchestrator.results.epoch_choice import EpochChoice, unlike
from orchestrator.results.leaderboard import Leaderboard

_OF_CONTEST = "epochs are scored by the contest's score alone."


def epochs_in_words(board: Leaderboard) -> str:
    """One paragraph; empty where no score is flattered and nothing is ranked by other figures."""
    if unlike([line.candidate for line in board.lines]):
        return _mixed(board)
    choices = [line.epoch_choice for line in board.trained]
    if not choices or choices[0].rule != "held_out":
        return ""
    theirs = len(board.lines) > len(board.trained)
    text = _flattered(
        choices,
        only_kept=board.score is COMPETITION,
        first="the best candidate trained here" if theirs else "the first",
    )
    below = " How the epochs of added candidates were chosen is said below the tables."
    return text + (below if theirs else "")


def _mixed(board: Leaderboard) -> str:
    text = (
        "Some candidates chose their epochs on the scored patients (training.keep held_out), "
        "others did not. All figures of the former are those of the epochs that the other folds "
        "choose. Ranking, intervals and ties rest on them."
    )
    known = _known([line.epoch_choice for line in board.ranked])
    if known:
        text += f" This changes their scores by {_span(known)}."
    return text


def _flattered(choices: Sequence[EpochChoice], *, only_kept: bool, first: str) -> str:
    """All candidates are held_out, best first."""
    known, best = _known(choices), choices[0]
    text = "Every training kept the epoch that was best on the patients that it is scored on."
    if not known:
        return f"{text} Such scores tend to be too high. By how much is not known: " + (
            "no epoch but the one kept was scored." if only_kept else _OF_CONTEST
        )
    text += " Such scores tend to be too high."
    if best.cross_fitted is not None and best.flattered_by is not None:
        fitted, announced = _plain(best.cross_fitted), _plain(best.announced)
        instead = "as well" if fitted == announced else f"instead of {announced}"
        text += f" With the epochs that the other folds choose, {first} scores {fitted} {instead}"
        if len(known) > 1:
            text += f"; over all candidates this changes scores by {_span(known)}"
        text += "."
    else:
        text += f" Epochs that the other folds choose change scores by {_span(known)}."
    left = len(choices) - len(known)
    if left:
        text += f" For {left} of {counted(len(choices), 'candidate')} it is not known."
    return (
        f"{text} Ranking, intervals, ties and the figure to announce use the scores as kept: they "
        "are not corrected for this."
    )


def _known(choices: Sequence[EpochChoice]) -> list[float]:
    return [
        choice.flattered_by
        for choice in choices
        if choice.rule == "held_out" and choice.flattered_by is not None
    ]


def _span(flattered_by: Sequence[float]) -> str:
    """From the most that scores lose by another choice to the most that they gain."""
    low, high = (_signed(-value) for value in (max(flattered_by), min(flattered_by)))
    return low if low == high else f"{low} to {high}"


def _signed(value: float) -> str:
    text = f"{value:+.4f}"
    return text[1:] if float(text) == 0 else text


def _plain(value: float) -> str:
    return f"{value:.4f}"
