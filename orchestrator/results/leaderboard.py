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
from itertools import compress
from typing import Any

import numpy as np

from gitract_core.errors import RunError, counted
from gitract_core.metrics.score import Mixture
from gitract_core.organs import Organs
from gitract_core.results.trial_result import TrialResult
from gitract_core.spec import Candidate
from orchestrator.results.candidate_scores import CandidateScores, mean_of
from orchestrator.results.costs import training_costs
from orchestrator.results.epoch_choice import unlike
from orchestrator.results.scored_trials import ScoredTrials
from orchestrator.statistics import pooled_folds
from orchestrator.sweeps.added_candidate import AddedCandidate, is_added, origin_of
from orchestrator.sweeps.fold_files import check_folds
from orchestrator.sweeps.labels import added_labels, candidate_labels, candidate_letters
from orchestrator.sweeps.race_log import dropped
from orchestrator.sweeps.run_directory import SweepDirectory, SweepRecord

PAPER_METRICS = ("paper_dice", "paper_iou", "paper_accuracy")


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
    def score(self) -> Mixture:
        """By which the candidates are ranked."""
        return self.lines[0].score if self.lines else self.record.measure

    @property
    def lines(self) -> tuple[CandidateScores, ...]:
        """All candidates, ranked ones first."""
        return (*self.ranked, *self.unranked)

    @property
    def trained(self) -> tuple[CandidateScores, ...]:
        """The ranked candidates that this run trained; the others have no networks here."""
        return tuple(line for line in self.ranked if not line.added)

    @property
    def added(self) -> tuple[CandidateScores, ...]:
        """The candidates of other tools, ranked ones first."""
        return tuple(line for line in self.lines if line.added)

    @property
    def known(self) -> dict[str, float]:
        """By organ, the share of annotation that is known; empty where all of it is.

        Mean over the finished folds of one candidate: every candidate has the same cases.
        """
        lines = sorted((*self.ranked, *self.unranked), key=lambda c: -len(c.finished))
        results = lines[0].finished if lines else []
        parts = [result.known for result in results if result.known]
        shares = {o: mean_of(part.get(o, 1.0) for part in parts) for o in self.organs if parts}
        return shares if any(share < 1 for share in shares.values()) else {}

    def telling_organs(self, most: int) -> tuple[str, ...]:
        """The organs to show where there is no room for more than ``most`` of them.

        All, if they are that few; otherwise the worst and the best ones by the score's first mean
        (Dice) of the first candidate, half of each, in the data set's order.
        """
        if len(self.organs) <= most:
            return self.organs.names
        lines = self.ranked or self.unranked
        key = self.score.means[0].key
        dice = {organ: lines[0].organ_mean(organ, key) for organ in self.organs}
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
        for line in self.trained:
            best.setdefault(line.networks, line)
        if len(best) < least:
            got = f"{len(best)} of {len({c.trained for c in self.record.candidates})}"
            expected = (
                f"{counted(least, 'trained candidate')} with all {self.record.folds_in_words}"
            )
            raise RunError("the run", expected, got, "finish the sweep or lower --top")
        return tuple(best.values())[:most]

    def to_rows(self) -> list[dict[str, Any]]:
        """One flat row a candidate, ranked ones first, for CSV, Markdown and JSON."""
        costs = dict(
            zip((c.candidate for c in self.lines), training_costs(self.lines), strict=True)
        )
        rows = [_row(c, rank, self.organs, costs) for rank, c in enumerate(self.ranked, 1)]
        rows += [_row(c, None, self.organs, costs) for c in self.unranked]
        if not self.added:
            return rows
        for row, line in zip(rows, self.lines, strict=True):
            row["origin"] = origin_of(line.candidate)
        named = dict.fromkeys(name for row in rows for name in row)
        names = sorted(named, key=lambda name: name.startswith("knob."))  # those at the end
        return [{name: row.get(name) for name in names} for row in rows]


def build_leaderboard(
    directory: SweepDirectory,
    shown: Collection[Candidate] | None = None,
    score: Mixture | None = None,
) -> Leaderboard:
    """Read the results of a run and rank its candidates.

    Args:
        directory: of the run.
        shown: which candidates; those that the last sweep asked for if left out.
        score: by which they are ranked; the run's if left out.

    A trial whose result cannot be read is as good as missing; its file is named in the reasons.

    Raises:
        RunError: the run's record or its folds are damaged.
    """
    whole = directory.record()
    check_folds(directory, whole)
    record = whole.narrowed(whole.last_asked if shown is None else shown)
    added = directory.added()
    own = candidate_labels(record.candidates)
    labels = {**own, **added_labels(added, set(own.values()))}
    left_out = dropped(directory)
    gc.disable()  # nothing read here is garbage; looking for it takes a fifth of the time
    try:
        trials = ScoredTrials(directory, score or record.measure)
        lines = [_line(trials, record, labels, left_out, c) for c in (*record.candidates, *added)]
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
    if unlike([line.candidate for line in lines]):
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


def _line(
    trials: ScoredTrials,
    record: SweepRecord,
    labels: Mapping[Candidate, str],
    left_out: Mapping[str, str],
    candidate: Candidate,
) -> CandidateScores:
    directory, results = trials.directory, list[TrialResult | None]()
    missing: dict[str, list[int]] = {}
    damaged: list[str] = []
    for number, spec in enumerate(record.specs([candidate])):
        try:
            results.append(trials.result(spec))
        except RunError as error:
            results.append(None)
            damaged.append(f"fold {number}: {error}")
            continue
        if results[-1] is None:
            reason = directory.failure(spec)
            nothing = "no predictions" if is_added(candidate) else "not finished"
            missing.setdefault(reason or nothing, []).append(number)
    reasons = [_of_folds(numbers, reason) for reason, numbers in missing.items()]
    if isinstance(candidate, AddedCandidate) and candidate.fault:
        reasons = [candidate.fault]
    if missing and candidate.key in left_out:
        reasons = [left_out[candidate.key]]
    files = tuple(directory.trial(spec).epochs for spec in record.specs([candidate]))
    return CandidateScores(
        candidate,
        labels[candidate],
        tuple(results),
        tuple(damaged + reasons),
        epoch_files=files,
        n_folds=record.n_folds,
        score=trials.score,
    )


def _of_folds(numbers: Sequence[int], reason: str) -> str:
    """A reason that some folds share.

    >>> _of_folds([1], "lost"), _of_folds([0, 1, 2, 4], "not finished")
    ('fold 1: lost', 'folds 0, 1, 2, 4: not finished')
    """
    return f"fold{'s' * (len(numbers) > 1)} {', '.join(map(str, numbers))}: {reason}"


def _row(
    line: CandidateScores, rank: int | None, organs: Organs, costs: Mapping[Candidate, float]
) -> dict[str, Any]:
    metrics = [mean.key for mean in line.score.means]
    per_organ = {
        f"{organ}_{metric}": line.organ_mean(organ, metric)
        for organ in organs
        for metric in metrics
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
        **{metric: line.mean(metric) for metric in metrics},
        **{f"fold{i}_score": value for i, value in enumerate(line.folds())},
        **per_organ,
        **{name: line.at_best(name) for name in PAPER_METRICS},
        "best_epoch": line.best_epoch,
        "seconds": line.seconds,
        "cost_seconds": costs[line.candidate],
        "parameters": None if line.added else line.parameters,
        "peak_memory_bytes": None if line.added else line.peak_memory_bytes,
        "reason": "; ".join(line.reasons),
        "key": line.candidate.key,
        **_settings(line.candidate.knobs()),
    }


def _settings(knobs: Mapping[str, object]) -> dict[str, object]:
    return {f"knob.{name}": value for name, value in knobs.items()}
