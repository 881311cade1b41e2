"""What a candidate would score had other patients chosen the epoch that is kept.

Under ``training.keep: held_out`` the fold that is scored chooses the epoch, which flatters. The
cross-fitted score does without: fold by fold, the epoch is the one at which the mean curve of the
*other* folds of the plan is best (the choice is made on other patients than it is judged on, as in
nested cross-validation: Varma and Simon 2006, doi 10.1186/1471-2105-7-91). It needs the sums of
every epoch (``EpochSums``).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gitract_core.errors import RunError, SpaceError, counted
from gitract_core.metrics.score import COMPETITION
from gitract_core.results.epoch_sums import EpochSums
from gitract_core.results.trial_result import TrialResult
from gitract_core.results.under_score import figures
from gitract_core.spec import Candidate
from orchestrator.sweeps.added_candidate import EPOCH_RULES


@dataclass(frozen=True, slots=True)
class EpochChoice:
    """Whose patients chose the epochs of a candidate.

    Attributes:
        rule: ``training.keep``; of an added candidate what was said of it.
        announced: mean score over folds of the weights that were kept; NaN unless all folds have
            one.
        cross_fitted: the mean score without the flattery; ``announced`` itself where there is none
            (``inner``, ``last``), None where it is not known.
    """

    rule: str
    announced: float
    cross_fitted: float | None

    @property
    def flattered_by(self) -> float | None:
        """How much too high ``announced`` is; None where that is not known."""
        return None if self.cross_fitted is None else self.announced - self.cross_fitted

    def to_json(self) -> dict[str, Any]:
        """``rule`` and ``flattered_by``."""
        return {"rule": self.rule, "flattered_by": self.flattered_by}


def unlike(candidates: Sequence[Candidate]) -> bool:
    """Whether the scores of some are flattered by the choice of the epoch, and of others not.

    Added candidates of which no known rule is said take no part.
    """
    rules = {candidate.epoch_rule for candidate in candidates} & set(EPOCH_RULES)
    return len({rule == "held_out" for rule in rules}) > 1


def refuse_unlike(candidates: Sequence[Candidate], where: str) -> None:
    """Refuse to compare scores of single folds of candidates of unlike rules.

    Raises:
        SpaceError: some are flattered by the choice of the epoch, and others are not.
    """
    if unlike(candidates):
        keeps = " and ".join(sorted({candidate.training.keep for candidate in candidates}))
        raise SpaceError(
            where,
            "candidates that all keep the epoch that the scored fold chooses, or none",
            f"training.keep {keeps}",
            f"fix training.keep, or go without {where.removeprefix('key ')}",
        )


def epoch_of_the_others(curves: Sequence[np.ndarray], own: int) -> int:
    """The epoch, from 1, that other folds choose for a fold that trained ``own`` epochs.

    Args:
        curves: what early stopping maximizes, float (epochs,), one a fold. Epochs that not all of
            them reached are left out: their mean would be one of other folds.
        own: epochs of the fold itself; if the others choose a later one, its last is taken.
    """
    common = min(len(curve) for curve in curves)
    mean = np.mean([curve[:common] for curve in curves], axis=0)
    return min(int(np.argmax(mean)) + 1, own)


def cross_fit(
    results: Sequence[TrialResult], files: Sequence[Path], n_folds: int
) -> tuple[TrialResult, ...] | None:
    """The results as they would be at the epochs that the other folds choose.

    Args:
        results: of one candidate, every fold of every plan.
        files: ``epochs.npz`` of each.
        n_folds: folds of a plan; only those of the same plan choose, for other plans' curves look
            at the same patients.

    Returns:
        None if the sums of an epoch are missing or damaged.
    """
    try:
        sums = [_sums_of(r, f) for r, f in zip(results, files, strict=True)]
    except RunError:
        return None
    found = []
    for place, (result, own) in enumerate(zip(results, sums, strict=True)):
        start = place // n_folds * n_folds
        plan = range(start, min(start + n_folds, len(results)))
        others = [sums[other].monitored for other in plan if other != place]
        epoch = epoch_of_the_others(others, len(own.monitored))
        kept = int(result.history["best_epoch"])
        found.append(result if epoch == kept else at_epoch(result, own, epoch))
    return tuple(found)


def _sums_of(result: TrialResult, file: Path) -> EpochSums:
    """The sums of the epochs that a trial ran; a file that it shares may hold more."""
    result.check(file)
    stamp = result.stamp(file)
    if result.files and stamp is None:
        raise RunError(file, "no file: the trial left none", "one", "remove the file")
    sums, ran = EpochSums.load(file, stamp), int(result.history["epochs"])
    fits = len(sums.monitored) >= ran and sums.sums.shape[2] == len(result.organs)
    if not fits or set(sums.cases) != set(result.per_case):
        raise RunError(
            file, f"{counted(ran, 'epoch')} of the trial's cases", "others", "remove the file"
        )
    return EpochSums(sums.cases, sums.monitored[:ran], sums.sums[:ran])


def at_epoch(result: TrialResult, sums: EpochSums, epoch: int) -> TrialResult:
    """The result with the sums and scores of another epoch."""
    per_case = sums.of(epoch)
    total = np.sum(sums.sums[epoch - 1], axis=0)  # (organs, columns)
    counts = total.sum(axis=0)[1::2]
    volumes = {"rows": int(counts[0]), "volumes": int(counts[1])}
    scores = {**figures(total, result.organs, COMPETITION), **volumes}
    return dataclasses.replace(result, scores=scores, per_case=per_case)
