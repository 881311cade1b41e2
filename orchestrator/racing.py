"""Racing: folds run block by block, and hopeless candidates do not start the next block.

After each block a candidate is dropped if its probability of being among the best ``keep`` is
under ``threshold``, by redrawing the cases of the finished folds, the same for all candidates
(``statistics.bootstrap``). Comparing the *same* folds of all candidates is the point: a scheduler
that compares whatever trials have reported compares easy folds with hard ones. Every decision is
written to ``racing.json``; a later sweep without racing runs what was left out and reuses the
rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from gitract_core.errors import RunError
from gitract_core.files import read_json, write_json
from gitract_core.results import TrialResult
from gitract_core.spec import Candidate, TrialSpec
from orchestrator.statistics import CaseSums, bootstrap, variance_components
from orchestrator.sweep_directory import SweepDirectory


@dataclass(frozen=True, slots=True)
class RacingRule:
    """When a candidate is dropped.

    Attributes:
        keep: how many candidates shall be found; never fewer are kept.
        threshold: least probability of being among them.
        draws: of the bootstrap.
    """

    keep: int = 3
    threshold: float = 0.01
    draws: int = 2000

    def __post_init__(self) -> None:
        if self.keep < 1:
            raise RunError("--race-keep", "1 or more", self.keep, "pass another number")
        if not 0 <= self.threshold < 1:
            raise RunError("racing threshold", "0 to 1", self.threshold, "pass another number")


@dataclass(frozen=True, slots=True)
class Decision:
    """One candidate after one block.

    Attributes:
        after_folds: how many folds were finished and compared.
        key, candidate: the candidate's key and label.
        probability: of being among the best, NaN where it cannot be said.
        dropped: whether its next folds are left out.
        reason: in words.
    """

    after_folds: int
    key: str
    candidate: str
    probability: float
    dropped: bool
    reason: str


def decide(sums: CaseSums, rule: RacingRule) -> np.ndarray:
    """Which candidates go on, given their sums on the folds finished so far.

    Returns:
        Probability of being among the best ``rule.keep``, (candidates,); a candidate goes on if it
        is at least the threshold. NaN, which drops nobody, where a fold has a single case.
    """
    components = variance_components(sums) if len(sums.fold_labels) > 1 else None
    drawn = bootstrap(sums, components, rule.draws)
    if not drawn.possible or len(sums.names) <= rule.keep:
        return np.full(len(sums.names), np.nan)
    return drawn.probability_among_best(rule.keep)


def run_race(
    directory: SweepDirectory,
    specs: Sequence[TrialSpec],
    rule: RacingRule,
    run: Callable[[Sequence[TrialSpec]], None],
    labels: Mapping[Candidate, str],
) -> list[Decision]:
    """Run trials fold by fold, dropping candidates in between.

    Args:
        directory: where results are read.
        specs: all trials of the sweep, finished ones included.
        rule: when to drop.
        run: runs some trials without a result to their end; failures leave no result.
        labels: of the candidates, for the log.

    Returns:
        The decisions, also written to ``RUN/racing.json``.
    """
    candidates = list(dict.fromkeys(spec.candidate for spec in specs))
    folds = sorted({spec.fold for spec in specs})
    decisions: list[Decision] = []
    for done, fold in enumerate(folds, 1):
        block = [s for s in specs if s.fold == fold and s.candidate in candidates]
        pending = [s for s in block if not directory.trial(s).is_finished()]
        if pending:
            run(pending)
        if fold == folds[-1]:
            break
        finished = {c: _results(directory, specs, c, folds[:done]) for c in candidates}
        for decision in _decide(finished, rule, labels, done):
            decisions.append(decision)
            if decision.dropped:
                candidates = [c for c in candidates if c.key != decision.key]
        write_json(log_file(directory), _log(rule, decisions))
    return decisions


def _results(
    directory: SweepDirectory, specs: Sequence[TrialSpec], candidate: Candidate, folds: list[int]
) -> list[TrialResult] | None:
    """A candidate's results on some folds; None if one is missing."""
    wanted = [s for s in specs if s.candidate == candidate and s.fold in folds]
    results = [directory.result(spec) for spec in wanted]
    return None if None in results else [r for r in results if r]


def _decide(
    finished: Mapping[Candidate, list[TrialResult] | None],
    rule: RacingRule,
    labels: Mapping[Candidate, str],
    done: int,
) -> list[Decision]:
    racing = {c: results for c, results in finished.items() if results is not None}
    lost = [
        Decision(done, c.key, labels[c], float("nan"), True, "a fold failed")
        for c, results in finished.items()
        if results is None
    ]
    if not racing:
        return lost
    first = next(iter(racing.values()))
    folds = {case: r.spec.fold for r in first for case in r.per_case}
    per_case = {
        c.key: {case: sums for r in results for case, sums in r.per_case.items()}
        for c, results in racing.items()
    }
    probabilities = decide(CaseSums.from_results(per_case, folds), rule)
    words = f"probability of being among the best {rule.keep}"
    return lost + [
        Decision(done, c.key, labels[c], float(p), bool(p < rule.threshold), words)
        for c, p in zip(racing, probabilities, strict=True)
    ]


def _log(rule: RacingRule, decisions: Sequence[Decision]) -> dict[str, object]:
    return {"rule": asdict(rule), "decisions": [asdict(decision) for decision in decisions]}


def log_file(directory: SweepDirectory) -> Path:
    """``racing.json`` of a run."""
    return directory.path / "racing.json"


def dropped(directory: SweepDirectory) -> dict[str, str]:
    """Why candidates were dropped, by key; empty for a run without racing.

    Raises:
        RunError: the log is damaged.
    """
    file = log_file(directory)
    if not file.is_file():
        return {}
    try:
        decisions = [d for d in read_json(file)["decisions"] if d["dropped"]]
        return {d["key"]: _reason(d) for d in decisions}
    except (KeyError, TypeError) as error:
        remedy = "remove the file; it is a log"
        raise RunError(file, "a log of racing", repr(error), remedy) from None


def _reason(decision: Mapping[str, object]) -> str:
    probability = decision["probability"]
    shown = f" {probability:.3f}" if isinstance(probability, float) else ""
    folds = decision["after_folds"]
    return f"dropped by racing after {folds} folds: {decision['reason']}{shown}"
