"""The leaderboard: candidates ranked by mean score over folds, with the score of each fold.

A candidate with a missing or failed fold is listed apart, never averaged over. Nothing here loads
torch or Ray.

Where the fold that is scored chooses the epoch (``training.keep: held_out``), scores are flattered.
Candidates that are all so are ranked by the scores of the weights that were kept, as the paper
does, with the cross-fitted score beside. In a run that also has candidates whose epoch was chosen
without the scored fold, all figures of the former are the cross-fitted ones: ranking, intervals,
ties and comparisons rest on the same sums. Those for which these are not known are not ranked.
"""

from __future__ import annotations

import gc
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np

from gitract_core.errors import RunError
from gitract_core.metrics.score import COMPETITION
from gitract_core.organs import Organs
from gitract_core.results.trial_result import TrialResult
from gitract_core.spec import Candidate
from orchestrator.results.costs import training_costs
from orchestrator.results.epoch_choice import EpochChoice, cross_fit, unlike
from orchestrator.statistics import pooled_folds
from orchestrator.sweeps.labels import candidate_labels, candidate_letters
from orchestrator.sweeps.race_log import dropped
from orchestrator.sweeps.run_directory import SweepDirectory, SweepRecord

NOT_COMPARABLE = (
    "the scored patients chose its epochs, and by how much that flatters is not known; others "
    "chose theirs without, so they are not ranked together"
)
PAPER_METRICS = ("paper_dice", "paper_iou", "paper_accuracy")


@dataclass(frozen=True)
class CandidateScores:
    """One candidate's line.

    Attributes:
        candidate, label: the setting, and the knobs by which it differs from the others.
        results: one result a fold, None where there is none; the folds of all plans, where they
            are repeated.
        reasons: why folds are missing, one line each.
        counted_with: for each fold the one that its cases are counted with; empty where each
            stands for itself (``statistics.pooled_folds``).
        epoch_files: ``epochs.npz`` of each fold, which need not be there.
        n_folds: folds of a plan.
        choice: whose patients chose the epochs, where ``results`` are cross-fitted already.
    """

    candidate: Candidate
    label: str
    results: tuple[TrialResult | None, ...]
    reasons: tuple[str, ...] = ()
    counted_with: tuple[int, ...] = ()
    epoch_files: tuple[Path, ...] = ()
    n_folds: int = 0
    choice: EpochChoice | None = None

    @cached_property
    def epoch_choice(self) -> EpochChoice:
        """Whose patients chose the epochs, and by how much that flatters."""
        if self.choice is not None:
            return self.choice
        rule, announced = self.candidate.training.keep, self.mean()
        if rule != "held_out":
            return EpochChoice(rule, announced, announced if self.complete else None)
        fitted = self._cross_fitted
        mean = float(np.mean([_number(r.scores["score"]) for r in fitted or ()] or [np.nan]))
        return EpochChoice(rule, announced, mean if np.isfinite(mean) else None)

    @cached_property
    def _cross_fitted(self) -> tuple[TrialResult, ...] | None:
        """The results at the epochs that the other folds choose; None where not known."""
        if not self.complete or not self.epoch_files or self.n_folds < 2:
            return None
        return cross_fit(self.finished, self.epoch_files, self.n_folds)

    def unflattered(self) -> CandidateScores:
        """The line with figures of epochs that were chosen without the scored patients.

        If they are not known, a line without figures and with the reason.
        """
        if self.candidate.training.keep != "held_out" or not self.complete:
            return self
        choice, fitted = self.epoch_choice, self._cross_fitted
        if fitted is not None and choice.cross_fitted is not None:
            return replace(self, results=fitted, choice=choice)
        return replace(self, reasons=(NOT_COMPARABLE,), choice=choice)

    @property
    def finished(self) -> list[TrialResult]:
        """The results that are there."""
        return [r for r in self.results if r]

    @property
    def numbered(self) -> list[tuple[int, TrialResult]]:
        """The results that are there, each with the number of its fold."""
        return [(number, r) for number, r in enumerate(self.results) if r]

    @property
    def per_case(self) -> dict[str, dict[str, list[float]]]:
        """The sums of each case, over all fold plans."""
        found: dict[str, dict[str, list[float]]] = {}
        for result in self.finished:
            for case, sums in result.per_case.items():
                before = found.get(case)
                found[case] = sums if before is None else _added(before, sums)
        return found

    @property
    def complete(self) -> bool:
        """Whether every fold has a result."""
        return all(self.results)

    @property
    def networks(self) -> tuple[Candidate, tuple[int, ...]]:
        """What the trained networks are known by; equal ones are the same networks.

        Candidates that differ in post-processing, epochs or patience alone share them, fold by
        fold, as far as they keep the weights of the same epoch.
        """
        epochs = tuple(int(r.history["best_epoch"]) for r in self.finished)
        return self.candidate.trajectory, epochs

    def folds(self, metric: str = "score") -> list[float]:
        """``score``, ``dice`` or ``hausdorff`` of each fold; NaN where there is none."""
        return [_number(r.scores[metric]) if r else float("nan") for r in self.results]

    def counted(self, metric: str = "score") -> list[float]:
        """The figures that ``mean`` is of: those of ``folds``, or of folds counted together."""
        if not self.counted_with or not self.complete:
            return self.folds(metric)
        groups: dict[int, list[TrialResult]] = {}
        for fold, result in zip(self.counted_with, self.finished, strict=True):
            groups.setdefault(fold, []).append(result)
        return [_together(results, metric) for results in groups.values()]

    def mean(self, metric: str = "score") -> float:
        """Mean over folds; NaN unless every fold has a result."""
        return float(np.mean(self.counted(metric)))

    def sd(self, metric: str = "score") -> float:
        """Standard deviation over folds (n - 1)."""
        values = self.counted(metric)
        return float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")

    def organ_mean(self, organ: str, metric: str) -> float:
        """Mean over folds of one organ's ``dice`` or ``hausdorff``."""
        per_class = (r.scores.get("per_class", {}) for r in self.finished)
        return _mean(organs[organ][metric] if organ in organs else None for organs in per_class)

    def at_best(self, metric: str) -> float:
        """Mean over folds of an epoch metric at the best epoch."""
        return _mean(r.history["at_best"].get(metric) for r in self.finished)

    @property
    def best_epoch(self) -> float:
        """Mean over folds."""
        return _mean(r.history["best_epoch"] for r in self.finished)

    @property
    def seconds(self) -> float:
        """Training and validation time of all folds together."""
        return float(sum(r.cost["seconds"] for r in self.finished))

    @property
    def parameters(self) -> int:
        """Trainable parameters of the network."""
        return max((int(r.environment["parameters"]) for r in self.finished), default=0)

    @property
    def peak_memory_bytes(self) -> int:
        """The largest of its folds."""
        return max((int(r.cost["peak_memory_bytes"]) for r in self.finished), default=0)


@dataclass(frozen=True)
class Leaderboard:
    """All candidates of a run.

    Attributes:
        record: what the run was asked for.
        ranked: complete candidates, best mean score first.
        unranked: the others, with the reasons.
        others: letters and labels of the run's candidates that are not on this board.
    """

    record: SweepRecord
    ranked: tuple[CandidateScores, ...]
    unranked: tuple[CandidateScores, ...]
    others: tuple[str, ...] = ()

    @property
    def organs(self) -> Organs:
        """The organs of the run's data."""
        return self.record.organs

    @property
    def lines(self) -> tuple[CandidateScores, ...]:
        """All candidates, ranked ones first."""
        return (*self.ranked, *self.unranked)

    @property
    def known(self) -> dict[str, float]:
        """By organ, the share of annotation that is known; empty where all of it is.

        Mean over the finished folds of one candidate: every candidate has the same cases.
        """
        lines = sorted((*self.ranked, *self.unranked), key=lambda c: -len(c.finished))
        results = lines[0].finished if lines else []
        parts = [result.known for result in results if result.known]
        shares = {o: _mean(part.get(o, 1.0) for part in parts) for o in self.organs if parts}
        return shares if any(share < 1 for share in shares.values()) else {}

    def telling_organs(self, most: int) -> tuple[str, ...]:
        """The organs to show where there is no room for more than ``most`` of them.

        All, if they are that few; otherwise the worst and the best ones by Dice of the first
        candidate, half of each, in the data set's order.
        """
        if len(self.organs) <= most:
            return self.organs.names
        lines = self.ranked or self.unranked
        dice = {organ: lines[0].organ_mean(organ, "dice") for organ in self.organs}
        scored = sorted((o for o in dice if dice[o] == dice[o]), key=dice.__getitem__)
        best = scored[len(scored) - most // 2 :] if len(scored) > most else []
        order = [*best, *scored, *(organ for organ in dice if dice[organ] != dice[organ])]
        chosen = set(order[:most])
        return tuple(organ for organ in self.organs if organ in chosen)

    def top(self, count: int) -> tuple[CandidateScores, ...]:
        """The best ``count`` candidates; of those that share their networks, only the best.

        Raises:
            RunError: fewer candidates are complete.
        """
        return self.pool(least=count, most=count)

    def pool(self, *, least: int, most: int) -> tuple[CandidateScores, ...]:
        """As ``top``, with as many candidates as there are between two numbers."""
        best: dict[object, CandidateScores] = {}
        for line in self.ranked:
            best.setdefault(line.networks, line)
        if len(best) < least:
            got = f"{len(best)} of {len({c.trained for c in self.record.candidates})}"
            expected = f"{least} trained candidates with all {self.record.folds_in_words}"
            raise RunError("the run", expected, got, "finish the sweep or lower --top")
        return tuple(best.values())[:most]

    def to_rows(self) -> list[dict[str, Any]]:
        """One flat row a candidate, ranked ones first, for CSV, Markdown and JSON."""
        costs = dict(
            zip((c.candidate for c in self.lines), training_costs(self.lines), strict=True)
        )
        ranked = [_row(c, rank, self.organs, costs) for rank, c in enumerate(self.ranked, 1)]
        return ranked + [_row(c, None, self.organs, costs) for c in self.unranked]


def build_leaderboard(
    directory: SweepDirectory, shown: Collection[Candidate] | None = None
) -> Leaderboard:
    """Read the results of a run and rank its candidates.

    Args:
        directory: of the run.
        shown: which candidates; those that the last sweep asked for if left out.

    A trial whose result cannot be read is as good as missing; its file is named in the reasons.

    Raises:
        RunError: the run's record is damaged.
    """
    whole = directory.record()
    record = whole.narrowed(whole.last_asked if shown is None else shown)
    labels = candidate_labels(record.candidates)
    left_out = dropped(directory)
    gc.disable()  # nothing read here is garbage; looking for it takes a fifth of the time
    try:
        lines = [_line(directory, record, labels, left_out, c) for c in record.candidates]
    finally:
        gc.freeze()  # nor is it later, in the statistics
        gc.enable()
    return replace(ranked_board(record, lines), others=_others(whole, record))


def _others(whole: SweepRecord, shown: SweepRecord) -> tuple[str, ...]:
    """Letters and labels of the candidates that are not shown."""
    names, kept = candidate_labels(whole.candidates), set(shown.candidates)
    letters = candidate_letters(whole.candidates, whole.removed)
    return tuple(f"{letters[c]} {names[c]}" for c in whole.candidates if c not in kept)


def ranked_board(record: SweepRecord, lines: Sequence[CandidateScores]) -> Leaderboard:
    """Rank candidates by their mean score.

    A fold in which one of them has nothing to score is counted with another, for all of them alike
    (``statistics.pooled_folds``).
    """
    if unlike(record.candidates):
        lines = [line.unflattered() for line in lines]
    complete = [line for line in lines if line.complete]
    counted_with = _counted_with(complete, record.n_folds)
    if counted_with is None:
        why = ("no annotation to score against",)
        lines = [replace(c, reasons=why) if c.complete else c for c in lines]
        return Leaderboard(record, (), tuple(lines))
    if counted_with != tuple(range(len(counted_with))):
        lines = [replace(line, counted_with=counted_with) for line in lines]
    rankable = [not c.reasons and c.complete and bool(np.isfinite(c.mean())) for c in lines]
    ranked = sorted(compress(lines, rankable), key=lambda c: -c.mean())
    unranked = [c for c, its in zip(lines, rankable, strict=True) if not its]
    return Leaderboard(record, tuple(ranked), tuple(unranked))


def _counted_with(complete: Sequence[CandidateScores], n_folds: int) -> tuple[int, ...] | None:
    """Of each fold of all plans the one that it is counted with; None: there is none in a plan."""
    scored = np.isfinite([line.folds() for line in complete])  # (candidates, folds of all plans)
    found: list[int] = []
    for start in range(0, scored.shape[1] if complete else 0, n_folds):
        of_plan = pooled_folds(scored[:, start : start + n_folds])
        if of_plan is None:
            return None
        found += [start + fold for fold in of_plan]
    return tuple(found)


def _together(results: Sequence[TrialResult], metric: str) -> float:
    """A figure of several folds, as if their cases were one fold's."""
    if len(results) == 1:
        return _number(results[0].scores[metric])
    columns = COMPETITION.columns
    cases = [sums for result in results for sums in result.per_case.values()]
    totals = np.array([sum(sum(sums[column]) for sums in cases) for column in columns])
    figures = {**COMPETITION.by_mean(totals), "score": COMPETITION.of(totals)}
    return float(figures[metric])


def _line(
    directory: SweepDirectory,
    record: SweepRecord,
    labels: Mapping[Candidate, str],
    left_out: Mapping[str, str],
    candidate: Candidate,
) -> CandidateScores:
    results: list[TrialResult | None] = []
    missing: list[str] = []
    damaged: list[str] = []
    for number, spec in enumerate(record.specs([candidate])):
        try:
            results.append(directory.result(spec))
        except RunError as error:
            results.append(None)
            damaged.append(f"fold {number}: {error}")
            continue
        if results[-1] is None:
            reason = directory.failure(spec)
            missing.append(f"fold {number}: {reason or 'not finished'}")
    if missing and candidate.key in left_out:
        missing = [left_out[candidate.key]]
    files = tuple(directory.trial(spec).epochs for spec in record.specs([candidate]))
    return CandidateScores(
        candidate,
        labels[candidate],
        tuple(results),
        tuple(damaged + missing),
        epoch_files=files,
        n_folds=record.n_folds,
    )


def _row(
    line: CandidateScores, rank: int | None, organs: Organs, costs: Mapping[Candidate, float]
) -> dict[str, Any]:
    per_organ = {
        f"{organ}_{metric}": line.organ_mean(organ, metric)
        for organ in organs
        for metric in ("dice", "hausdorff")
    }
    return {
        "rank": rank,
        "candidate": line.label,
        "folds": f"{len(line.finished)}/{len(line.results)}",
        "score": line.mean(),
        "score_sd": line.sd(),
        "epoch_rule": line.epoch_choice.rule,
        "score_announced": line.epoch_choice.announced,
        "score_cross_fitted": line.epoch_choice.cross_fitted,
        "flattered_by": line.epoch_choice.flattered_by,
        "dice": line.mean("dice"),
        "hausdorff": line.mean("hausdorff"),
        **{f"fold{i}_score": value for i, value in enumerate(line.folds())},
        **per_organ,
        **{name: line.at_best(name) for name in PAPER_METRICS},
        "best_epoch": line.best_epoch,
        "seconds": line.seconds,
        "cost_seconds": costs[line.candidate],
        "parameters": line.parameters,
        "peak_memory_bytes": line.peak_memory_bytes,
        "reason": "; ".join(line.reasons),
        "key": line.candidate.key,
        **_settings(line.candidate.knobs()),
    }


def _added(
    first: Mapping[str, Sequence[float]], second: Mapping[str, Sequence[float]]
) -> dict[str, list[float]]:
    return {n: [a + b for a, b in zip(first[n], second[n], strict=True)] for n in first}


def _settings(knobs: Mapping[str, object]) -> dict[str, object]:
    return {f"knob.{name}": value for name, value in knobs.items()}


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def _mean(values: Any) -> float:
    numbers: Sequence[float] = [_number(v) for v in values]
    return float(np.mean(numbers)) if numbers else float("nan")
