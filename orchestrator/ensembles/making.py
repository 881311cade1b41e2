"""Makes an ensemble of fold models and its score on patients that took no part in the choice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from gitract_core.errors import RunError
from gitract_core.files.atomic import write_json
from gitract_core.files.digests import digest_of
from gitract_core.knobs import PostprocessKnobs
from gitract_core.metrics.score import COMPETITION, Mixture
from gitract_core.prediction.members import Members
from gitract_core.progress import Progress, silent
from gitract_core.results.under_score import figures
from orchestrator.ensembles.selection import CrossFit, Method, cross_fit, rule_grid
from orchestrator.out_of_fold.average_scores import OofMeter
from orchestrator.out_of_fold.usable import predictions_of_test, usable_candidates
from orchestrator.results.candidate_scores import CandidateScores
from orchestrator.results.leaderboard import Leaderboard
from orchestrator.statistics.case_sums import CaseSums
from orchestrator.statistics.intervals.bootstrap import bootstrap, within_scores
from orchestrator.statistics.pooled_folds import folds_to_score
from orchestrator.sweeps.run_directory import SweepDirectory

Interval = tuple[float, float]
LARGEST_POOL = 10
"""Candidates among which members are chosen, best first."""


@dataclass(frozen=True)
class Announcement:
    """What an ensemble scores, out of fold, on cases that took no part in choosing it.

    Attributes:
        score, interval: mean over folds and its 95 % interval, of the mean case; for the score of
            a test set see ``to_come``.
        folds: score of each fold.
        in_sample: the score of the chosen members and rules on the cases they were chosen on.
        single: the best single candidate, chosen and scored in the same way.
        gain, gain_interval: the ensemble's score less that of ``single``.
    """

    score: float
    interval: Interval
    folds: tuple[float, ...]
    in_sample: float
    single: float
    gain: float
    gain_interval: Interval

    @property
    def sd(self) -> float:
        """Standard deviation over folds (n - 1)."""
        return float(np.std(self.folds, ddof=1)) if len(self.folds) > 1 else float("nan")


@dataclass(frozen=True)
class Ensemble:
    """A made ensemble.

    Attributes:
        directory: ``RUN/ensembles/<name>``, with ``members.json`` and ``oof_score.json``.
        members: the manifest.
        announced: its score.
        chosen: the candidates in it and their shares.
        rules: post-processing of each organ.
        method: how it was chosen.
        flipped: announced score with mirrored slices, if that was tried; kept if it is higher.
        left_out: candidates with a trial whose files are damaged, and why, one line each.
        measure: by which it was chosen and scored.
    """

    directory: Path
    members: Members
    announced: Announcement
    chosen: tuple[tuple[CandidateScores, float], ...]
    rules: tuple[PostprocessKnobs, ...]
    method: Method
    flipped: float | None = None
    left_out: tuple[str, ...] = ()
    measure: Mixture = COMPETITION


def make_ensemble(
    run: SweepDirectory, board: Leaderboard, method: Method, progress: Progress = silent
) -> Ensemble:
    """Choose candidates, weights and rules by a method, and announce what that earns.

    Args:
        run: the sweep's directory.
        board: its ranking.
        method: how to choose.
        progress: called with (scans done, all scans) in each pass over the scans.

    Raises:
        RunError: fewer candidates than ``method.top`` are complete and undamaged.
    """
    least = method.top if method.weights == "equal" else 1
    most, several = max(LARGEST_POOL, least), method.top > 1  # another tool alone is no ensemble
    usable = usable_candidates(run, board, least=least, most=most, added=several)
    pool = usable.lines
    base = next(line for line in pool if not line.added).candidate.postprocess
    grid = rule_grid(base) if method.tune else (base,)
    meter = OofMeter(run, pool, grid, progress, score=board.score)
    found, single = cross_fit(meter, method), cross_fit(meter, Method(1))
    flipped, flip = None, False
    if method.flip:
        meter = OofMeter(run, pool, grid, progress, flip=True, score=board.score)
        mirrored = cross_fit(meter, method)
        flipped = mirrored.score
        flip = mirrored.score > found.score
        found = mirrored if flip else found
    rules = tuple(meter.rules[place] for place in found.recipe.rules)
    chosen = _shares(pool, found)
    directory = run.path / "ensembles" / _name(method)
    members = replace(_members(run, chosen, rules, directory), flip=flip)
    announced = announce(found, single)
    left_out = usable.left_out
    ensemble = Ensemble(
        directory,
        members,
        announced,
        chosen,
        rules,
        method,
        flipped=flipped,
        left_out=left_out,
        measure=board.score,
    )
    scores = directory / "oof_score.json"
    scores.unlink(missing_ok=True)  # so that it never lies beside other members
    members.save(directory / "members.json")
    of = digest_of((directory / "members.json").read_bytes())
    write_json(scores, {**_score_json(ensemble, found), "members_digest": of}, seal=True)
    return ensemble


def _members(
    run: SweepDirectory,
    chosen: Sequence[tuple[CandidateScores, float]],
    rules: tuple[PostprocessKnobs, ...],
    directory: Path,
) -> Members:
    """The manifest of chosen candidates, each with its share.

    Raises:
        RunError: nothing but other tools' predictions.
    """
    own = [(line, share) for line, share in chosen if not line.added]
    if not own:
        expected, got = "a candidate of this run in the ensemble", f"{chosen[0][0].label} alone"
        raise RunError(run.path, expected, got, "hand in its own predictions, or take --top 3")
    trials = [(run.trial(r.spec), share) for line, share in own for r in line.finished]
    given = [  # as much as all its folds' trials would have
        (line.label, predictions_of_test(run, line), share * len(line.results))
        for line, share in chosen
        if line.added
    ]
    return Members.of_trials(trials, rules, directory, given)


def _name(method: Method) -> str:
    parts = [f"top{method.top}", method.weights, *["tuned"] * method.tune, *["flip"] * method.flip]
    return "-".join(parts)


def _shares(
    pool: Sequence[CandidateScores], found: CrossFit
) -> tuple[tuple[CandidateScores, float], ...]:
    total = sum(found.recipe.bag)
    pairs = zip(pool, found.recipe.bag, strict=True)
    return tuple((line, count / total) for line, count in pairs if count)


def announce(found: CrossFit, single: CrossFit) -> Announcement:
    """Score, intervals by redrawing cases, and the comparison with a single candidate."""
    values = np.stack([found.announced, single.announced])
    names = tuple(str(case) for case in found.cases)
    folds = folds_to_score(values, found.folds, found.measure)
    sums = CaseSums(("ensemble", "single"), names, folds, values, score=found.measure)
    drawn = bootstrap(sums)
    contrasts = np.array([[1.0, 0.0], [1.0, -1.0]])
    (low, high), difference = within_scores(drawn.intervals(contrasts), contrasts).tolist()
    return Announcement(
        score=found.score,
        interval=(low, high),
        folds=tuple(sums.fold_scores()[0].tolist()),
        in_sample=found.in_sample_score,
        single=single.score,
        gain=found.score - single.score,
        gain_interval=(difference[0], difference[1]),
    )


def _score_json(ensemble: Ensemble, found: CrossFit) -> dict[str, Any]:
    announced, organs = ensemble.announced, ensemble.members.organs
    return {
        **asdict(announced),
        "score_sd": announced.sd,
        **({} if ensemble.measure is COMPETITION else {"measure": ensemble.measure.text}),
        "pooled": figures(found.announced.sum(axis=0), organs, ensemble.measure),
        "per_case": {
            str(case): {name: sums[:, i].tolist() for i, name in enumerate(found.measure.columns)}
            for case, sums in zip(found.cases, found.announced, strict=True)
        },
        "fold_of_case": {
            str(case): int(fold) for case, fold in zip(found.cases, found.folds, strict=True)
        },
        "method": asdict(ensemble.method),
        "flip": {"tried": ensemble.flipped, "kept": ensemble.members.flip},
        "candidates": [
            {"candidate": c.label, "share": share, "score": c.mean(), "score_sd": c.sd()}
            for c, share in ensemble.chosen
        ],
        "rules": {o: asdict(r) for o, r in zip(organs, ensemble.rules, strict=True)},
        "chosen_without_fold": [asdict(recipe) for recipe in found.by_fold],
        **({"left_out": list(ensemble.left_out)} if ensemble.left_out else {}),
    }
