"""What the choice of epochs means for the scores of a run, in plain words."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.results.epoch_choice import EpochChoice, unlike
from orchestrator.results.leaderboard import Leaderboard


def epochs_in_words(board: Leaderboard) -> str:
    """One paragraph; empty where no score is flattered and nothing is ranked by other figures."""
    if unlike(board.record.candidates):
        return _mixed(board)
    choices = [line.epoch_choice for line in board.ranked]
    if not choices or choices[0].rule != "held_out":
        return ""
    return _flattered(choices)


def _mixed(board: Leaderboard) -> str:
    text = (
        "Some candidates let the scored patients choose their epochs (training.keep held_out), "
        "others do not. All figures of the former are those of the epochs that the other folds "
        "choose: ranking, intervals and ties rest on them."
    )
    known = _known([line.epoch_choice for line in board.ranked])
    if known:
        text += f" Their announced scores are {_span(known)} higher."
    return text


def _flattered(choices: Sequence[EpochChoice]) -> str:
    """All candidates are held_out, best first."""
    known, first = _known(choices), choices[0]
    text = "The epochs were chosen on the scored patients, which flatters every score"
    if not known:
        return f"{text}; by how much is not known, for no epoch but the one kept was scored."
    if first.cross_fitted is not None and first.flattered_by is not None:
        less = _amount(first.flattered_by)
        text += (
            f": chosen by the other folds, the first scores {_plain(first.cross_fitted)}, {less}"
        )
        text += f" (all candidates: {_span(known)} less)" if len(choices) > 1 else ""
    else:
        text += f": by {_span(known)} where it is known"
    left = len(choices) - len(known)
    if left:
        text += f". By how much is not known of {left} of {len(choices)} candidates"
    return text + ". Ranking, intervals and ties rest on the flattered scores."


def _known(choices: Sequence[EpochChoice]) -> list[float]:
    return [
        choice.flattered_by
        for choice in choices
        if choice.rule == "held_out" and choice.flattered_by is not None
    ]


def _span(amounts: Sequence[float]) -> str:
    low, high = (_plain(value) for value in (min(amounts), max(amounts)))
    return low if low == high else f"{low} to {high}"


def _amount(flattered_by: float) -> str:
    text = _plain(abs(flattered_by))
    return f"{text} {'more' if flattered_by < 0 and text != '0.0000' else 'less'}"


def _plain(value: float) -> str:
    """Four decimals, as the verdict's words have them; no minus before zeros."""
    text = f"{value:.4f}"
    return "0.0000" if text == "-0.0000" else text
