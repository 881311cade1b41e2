"""Two candidates, or two values of a knob, compared over patients, folds and other knobs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gitract_core.errors import RunError, suggestion
from gitract_core.spec import knob_defaults
from orchestrator.results.verdict import case_sums
from orchestrator.statistics.bootstrap import bootstrap
from orchestrator.statistics.comparisons import wilcoxon_against
from orchestrator.statistics.components import variance_components
from orchestrator.sweeps.labels import candidate_letters

if TYPE_CHECKING:
    from orchestrator.results.leaderboard import CandidateScores, Leaderboard

Pair = tuple["CandidateScores", "CandidateScores"]


@dataclass(frozen=True)
class Comparison:
    """The difference of two sides, paired.

    Attributes:
        a, b: what was compared: labels of candidates, or ``knob=value``.
        difference: mean score of ``a`` less that of ``b``, mean over pairs.
        low, high: its 95 % interval over patients, with the luck of training; NaN where a fold
            has a single patient.
        p: two-sided signed-rank test of the patients' differences, each the mean over pairs.
        pairs: pairs of candidates.
        cases, folds: patients, and folds of all plans.
    """

    a: str
    b: str
    difference: float
    low: float
    high: float
    p: float
    pairs: int
    cases: int
    folds: int

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def compare(board: Leaderboard, a: str, b: str) -> Comparison:
    """See ``Run.compare``."""
    if "=" in a or "=" in b:
        pairs = _knob_pairs(board, a, b)
        names = a, b
    else:
        pairs = [(ranked_candidate(board, a), ranked_candidate(board, b))]
        names = pairs[0][0].label, pairs[0][1].label
    lines = list({line.candidate: line for pair in pairs for line in pair}.values())
    sums = case_sums(lines, board.record.n_folds)
    drawn = bootstrap(sums, variance_components(sums))
    places = {line.candidate: place for place, line in enumerate(lines)}
    contrast = np.zeros(len(lines))
    for first, second in pairs:
        contrast[places[first.candidate]] += 1 / len(pairs)
        contrast[places[second.candidate]] -= 1 / len(pairs)
    low, high = drawn.intervals(contrast)[0]
    by_case = contrast @ sums.case_scores()
    p = wilcoxon_against(np.stack([by_case, np.zeros_like(by_case)]), 0)[1]
    return Comparison(
        *names,
        difference=float(contrast @ drawn.estimate),
        low=float(low),
        high=float(high),
        p=float(p),
        pairs=len(pairs),
        cases=sums.n_cases,
        folds=board.record.total_folds,
    )


def by_letter(board: Leaderboard) -> dict[str, CandidateScores]:
    """All candidates by letter: ``A``, ``B``, ... in order of first appearance in the run."""
    lines = {line.candidate: line for line in (*board.ranked, *board.unranked)}
    letters = candidate_letters(board.record.candidates, board.record.removed)
    return {letter: lines[candidate] for candidate, letter in letters.items()}


def ranked_candidate(board: Leaderboard, name: str) -> CandidateScores:
    """A ranked candidate by rank, letter or label.

    Raises:
        RunError: there is none of this name, or it is not ranked.
    """
    ranked = board.ranked
    if name.isdecimal():
        if not 1 <= int(name) <= len(ranked):
            expected = f"a rank from 1 to {len(ranked)}"
            raise RunError("candidate", expected, name, "see gitract-cv report")
        return ranked[int(name) - 1]
    by_label = {line.label: line for line in (*ranked, *board.unranked)}
    letters = by_letter(board)
    line = by_label.get(name) or letters.get(name)
    if line is None:
        remedy = suggestion(name, [*by_label, *letters])
        raise RunError("candidate", "a rank, a letter or a label of the run", repr(name), remedy)
    if line not in ranked:
        got = "; ".join(line.reasons) or "a missing score"
        raise RunError(f"candidate {name}", "a result of every fold", got, "finish the sweep")
    return line


def _knob_pairs(board: Leaderboard, a: str, b: str) -> list[Pair]:
    """Ranked candidates with one value of a knob, each beside its twin with the other value."""
    (knob, first), (other, second) = _setting(a), _setting(b)
    if knob != other:
        raise RunError("compare", f"two values of {knob}", f"{a} and {b}", "name one knob twice")
    known = knob_defaults()
    if knob not in known:
        raise RunError("compare", "a knob", knob, suggestion(knob, known))
    sides = [_with_value(board.ranked, knob, value) for value in (first, second)]
    pairs = []
    for rest, line in sides[0].items():
        if rest in sides[1]:
            pairs.append((line, sides[1][rest]))
    if not pairs or first == second:
        there = sorted({str(line.candidate.knobs()[knob]) for line in board.ranked})
        expected = f"ranked candidates that differ in {knob} alone"
        got = f"none with {a} and {b}; values there: {', '.join(there)}"
        raise RunError("compare", expected, got, "compare other values")
    return pairs


def _setting(text: str) -> tuple[str, str]:
    knob, equals, value = text.partition("=")
    if not equals:
        raise RunError("compare", "KNOB=VALUE on both sides", repr(text), "write both alike")
    return knob.strip(), _plain(value)


def _with_value(
    lines: Sequence[CandidateScores], knob: str, value: str
) -> dict[tuple[object, ...], CandidateScores]:
    """Candidates with a value of a knob, by their other knobs."""
    found: dict[tuple[object, ...], CandidateScores] = {}
    for line in lines:
        knobs = line.candidate.knobs()
        if _plain(str(knobs[knob])) == value:
            found[tuple(v for name, v in knobs.items() if name != knob)] = line
    return found


def _plain(value: str) -> str:
    """A value's text, numbers and spaces in one spelling.

    >>> _plain("1e-3"), _plain("bce+ dice"), _plain("0.0010")
    ('0.001', 'bce + dice', '0.001')
    """
    text = " ".join(re.sub(r"([+*])", r" \1 ", value).split())
    try:
        return f"{float(value):g}"
    except ValueError:
        return text
