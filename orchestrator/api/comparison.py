"""Two candidates, two values of a knob, or two runs, compared over patients and folds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from gitract_core.errors import RunError, suggestion
from gitract_core.spec import knob_defaults
from orchestrator.results.verdict import case_sums
from orchestrator.statistics.case_sums import CaseSums
from orchestrator.statistics.intervals.bootstrap import Bootstrap, bootstrap, within_scores
from orchestrator.statistics.intervals.comparisons import wilcoxon_against
from orchestrator.statistics.intervals.simultaneous import FEWEST_CASES
from orchestrator.statistics.variance.components import variance_components
from orchestrator.sweeps.labels import candidate_letters

if TYPE_CHECKING:
    from orchestrator.results.candidate_scores import CandidateScores
    from orchestrator.results.leaderboard import Leaderboard

Pair = tuple["CandidateScores", "CandidateScores"]


@dataclass(frozen=True)
class PairDifference:
    """One pair of candidates: labels, and the mean score of ``a`` less that of ``b``."""

    a: str
    b: str
    difference: float


@dataclass(frozen=True)
class Comparison:
    """The difference of two sides, paired.

    Attributes:
        a, b: what was compared: labels of candidates, ``knob=value``, or runs.
        difference: mean score of ``a`` less that of ``b``, mean over pairs.
        low, high: its 95 % interval over patients, with the luck of training, -1 to 1; NaN where
            there is none.
        p: two-sided signed-rank test of the patients' differences, each the mean over pairs; NaN
            with too few patients.
        pairs: pairs of candidates.
        cases, folds: patients, and folds of all plans.
        each: every pair by itself.
        why_no_interval: in words; None where there is one.
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
    each: tuple[PairDifference, ...] = ()
    why_no_interval: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def compare(board: Leaderboard, a: str, b: str) -> Comparison:
    """See ``Run.compare``."""
    if "=" in a or "=" in b:
        return _compared((a, b), _knob_pairs(board, a, b), board)
    pair = ranked_candidate(board, a), ranked_candidate(board, b)
    return _compared((pair[0].label, pair[1].label), [pair], board)


def compare_runs(
    board: Leaderboard, other: Leaderboard, names: tuple[str, str], candidate: str | None = None
) -> Comparison:
    """The same candidates of two runs, on the same folds: the first run less the second.

    Args:
        board: of the first run.
        other: of the second.
        names: of the two runs, for people.
        candidate: a rank, a letter or a label in the first run; every candidate that is ranked in
            both if left out.

    Raises:
        RunError: other folds, no such candidate, or none that is ranked in both.
    """
    plans = [[plan.folds_fingerprint for plan in one.record.plans] for one in (board, other)]
    if plans[0] != plans[1]:
        remedy = "sweep both on the same data with the same folds, repeats and seed"
        raise RunError("compare", "two runs on the same folds", f"others in {names[1]}", remedy)
    lines = board.ranked if candidate is None else (ranked_candidate(board, candidate),)
    twins = {line.candidate: line for line in other.ranked}
    first, second = names if names[0] != names[1] else ("first", "second")
    pairs = [
        (_of_run(first, line), _of_run(second, twins[line.candidate]))
        for line in lines
        if line.candidate in twins
    ]
    if not pairs:
        expected = "a candidate that is ranked in both runs"
        raise RunError("compare", expected, "none", "finish both sweeps, of the same candidates")
    return _compared((first, second), pairs, board)


def _of_run(name: str, line: CandidateScores) -> CandidateScores:
    return replace(line, label=f"{name}: {line.label}")


def _compared(names: tuple[str, str], pairs: Sequence[Pair], board: Leaderboard) -> Comparison:
    """The mean difference over pairs, with all candidates in one table."""
    lines = {line.label: line for pair in pairs for line in pair}
    candidates = {line.candidate for line in lines.values()}
    networks = [line.networks for line in lines.values()]
    if len(candidates) < len(lines):  # of two runs: each trained its own
        of_run = [label.partition(": ")[0] for label in lines]
        networks = list(zip(of_run, networks, strict=True))  # type: ignore[arg-type]
    sums = case_sums(list(lines.values()), board.record.n_folds, networks)
    drawn = bootstrap(sums, variance_components(sums))
    places = {label: place for place, label in enumerate(lines)}
    contrasts = np.zeros((len(pairs), len(lines)))
    for row, (first, second) in enumerate(pairs):
        contrasts[row, places[first.label]] += 1
        contrasts[row, places[second.label]] -= 1
    contrast = contrasts.mean(axis=0)
    why_not = _why_no_interval(drawn, sums)
    ends = within_scores(drawn.intervals(contrast), contrast)[0]
    low, high = ends if why_not is None else (np.nan, np.nan)
    by_case = contrast @ sums.case_scores()
    p = wilcoxon_against(np.stack([by_case, np.zeros_like(by_case)]), 0)[1]
    few = sums.n_cases < FEWEST_CASES
    differences = (contrasts @ drawn.estimate).tolist()
    return Comparison(
        *names,
        difference=float(contrast @ drawn.estimate),
        low=float(low),
        high=float(high),
        p=np.nan if few else float(p),
        pairs=len(pairs),
        cases=sums.n_cases,
        folds=board.record.total_folds,
        each=tuple(
            PairDifference(first.label, second.label, difference)
            for (first, second), difference in zip(pairs, differences, strict=True)
        ),
        why_no_interval=why_not,
    )


def _why_no_interval(drawn: Bootstrap, sums: CaseSums) -> str | None:
    """As the report has it; None where an interval can be said."""
    if not drawn.possible:
        return "with a single patient in a fold there is no interval"
    if sums.n_cases < FEWEST_CASES:
        few = f"with fewer than {FEWEST_CASES} patients there are too few to say whether that is"
        return f"{few} more than chance"
    return None


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
            raise RunError("candidate", expected, name, "see the run's report")
        return ranked[int(name) - 1]
    by_label = {line.label: line for line in (*ranked, *board.unranked)}
    letters = by_letter(board)
    line = by_label.get(name) or letters.get(name)
    if line is None:
        remedy = suggestion(name, [*by_label, *letters])
        raise RunError("candidate", "a rank, a letter or a label of the run", repr(name), remedy)
    if line not in ranked:
        got = "; ".join(line.reasons) or "a missing score"
        if line.complete:
            raise RunError(f"candidate {name}", "a ranked candidate", got, "see gitract-cv report")
        raise RunError(f"candidate {name}", "a result of every fold", got, "finish the sweep")
    return line


def _knob_pairs(board: Leaderboard, a: str, b: str) -> list[Pair]:
    """Ranked candidates with one value of a knob, each beside its twin with the other value."""
    (knob, first), (other, second) = _setting(a), _setting(b)
    knob = _whole_name(knob)
    if knob != _whole_name(other):
        raise RunError("compare", f"two values of {knob}", f"{a} and {b}", "name one knob twice")
    sides = [_with_value(board.trained, knob, value) for value in (first, second)]
    pairs = []
    for rest, line in sides[0].items():
        if rest in sides[1]:
            pairs.append((line, sides[1][rest]))
    if not pairs or first == second:
        there = sorted({str(line.candidate.knobs()[knob]) for line in board.trained})
        expected = f"ranked candidates that differ in {knob} alone"
        got = f"none with {a} and {b}; values there: {', '.join(there)}"
        raise RunError("compare", expected, got, "compare other values")
    return pairs


def _whole_name(knob: str) -> str:
    """The dotted name of a knob, also where its last part alone is given.

    >>> _whole_name("depth"), _whole_name("loss")
    ('network.depth', 'loss')
    """
    known = knob_defaults()
    if knob in known:
        return knob
    alike = [name for name in known if name.rpartition(".")[2] == knob]
    if len(alike) != 1:
        remedy = f"write {' or '.join(alike)}" if alike else suggestion(knob, known)
        raise RunError("compare", "a knob", knob, remedy)
    return alike[0]


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
