"""Claim: intervals hold from run to run, not only inside one; and how far scores move between runs.

The demo is swept with several seeds: the same patients, dealt into other folds, and other weights.
For every candidate and every pair of runs the difference of its scores is divided by what their
intervals say of it. If intervals are right, these ratios have a variance of at most 1 (of less,
since the patients are the same in all runs, and intervals are for others), and an interval is not
much wider than the spread of its candidate over the runs needs. Candidates whose trainings fail
now and then move most: the page says how often they were marked as unsteady.

    python -m benchmarks.studies.seeds --seeds 10 --work DIR --out benchmarks/results/seeds.md

It goes on where it was interrupted, and writes the page of the runs that are finished. The phantom
is that of one drawing: ``--drawing`` refuses another one, whose scores could not be compared.
"""

from __future__ import annotations

import argparse
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import yaml

import orchestrator
from gitract_core.errors import DataError
from gitract_core.phantom import write_phantom
from gitract_core.phantom.writing import DRAWING
from orchestrator.api.run import Run

CASES, SLICES = 11, 16  # of the demo's phantom
AIM_VARIANCE, AIM_WIDTH = 1.0, 1.5
_REACH = 1.959964  # standard errors of a 95 % interval to one side
_SPACE = Path(__file__).parents[2] / "search_spaces" / "demo.yaml"


@dataclass(frozen=True, eq=False)
class Runs:
    """Candidates by runs.

    Attributes:
        names: of the candidates.
        scores, low, high: with the ends of the 95 % intervals, (candidates, runs).
        unsteady, nothing: in how many runs each candidate was marked so, (candidates,).
    """

    names: tuple[str, ...]
    scores: np.ndarray
    low: np.ndarray
    high: np.ndarray
    unsteady: np.ndarray
    nothing: np.ndarray

    @property
    def errors(self) -> np.ndarray:
        """Standard errors that the intervals claim, (candidates, runs)."""
        return (self.high - self.low) / (2 * _REACH)

    @property
    def spread(self) -> np.ndarray:
        """Standard deviation of each candidate's score over the runs, (candidates,)."""
        return self.scores.std(axis=1, ddof=1)

    @property
    def learned(self) -> np.ndarray:
        """Candidates that segment something in every run, bool (candidates,)."""
        return self.nothing == 0


def ratios(scores: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """Differences of all pairs of runs over their standard error, (candidates * pairs,).

    Args:
        scores: (candidates, runs).
        errors: what the intervals claim, (candidates, runs).
    """
    found = [
        (scores[:, i] - scores[:, j]) / np.hypot(errors[:, i], errors[:, j])
        for i, j in combinations(range(scores.shape[1]), 2)
    ]
    return np.concatenate(found)


def width_ratio(runs: Runs, kept: np.ndarray) -> float:
    """Mean width of the intervals over what the spread of the runs needs, of some candidates."""
    needed = 2 * _REACH * runs.spread[kept]
    return float((runs.high - runs.low)[kept].mean() / needed.mean())


def sweep(data: Path, work: Path, seed: int) -> Run:
    """The demo with a seed, or what is left of it."""
    space = {**yaml.safe_load(_SPACE.read_text()), "seed": seed}
    out = work / f"seed{seed}"
    return orchestrator.sweep(
        data, space, out, local=True, progress=False, tensorboard=False, oof="none"
    )


def gathered(runs: Sequence[Run]) -> Runs:
    """The figures of finished runs."""
    names = tuple(sorted(line.label for line in runs[0].board.ranked))
    columns = []
    for run in runs:
        assert run.verdict
        by_name = {one.name: one for one in run.verdict.statistics.candidates}
        columns.append([(by_name[n].score, by_name[n].low, by_name[n].high) for n in names])
    figures = np.array(columns).transpose(2, 1, 0)  # (figures, candidates, runs)
    marks = [(run.verdict.trainings.unsteady, run.verdict.trainings.nothing) for run in runs]
    unsteady, nothing = (
        np.array([sum(name in marked[place] for marked in marks) for name in names])
        for place in (0, 1)
    )
    return Runs(names, *figures, unsteady, nothing)


def page(runs: Runs) -> str:
    """The result as Markdown."""
    count, learned = runs.scores.shape[1], runs.learned
    steady = learned & (runs.unsteady == 0)
    lines = [
        "# The demo with other seeds: how far scores move, and whether intervals know it",
        "",
        f"{count} runs of the demo ({CASES} phantom patients of drawing {DRAWING}, {SLICES} slices "
        "a scan, 5 folds, 4 epochs): the same patients in other folds, other weights. "
        f"{platform.machine()}, CPU.",
        "",
        "| candidate | mean | sd over runs | lowest | highest | mean width | unsteady in | "
        "segments nothing in |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for place in np.argsort(-runs.scores.mean(axis=1)):
        scores = runs.scores[place]
        width = float((runs.high - runs.low)[place].mean())
        figures = (scores.mean(), runs.spread[place], scores.min(), scores.max(), width)
        cells = " | ".join(f"{figure:.4f}" for figure in figures)
        marks = f"{runs.unsteady[place]} | {runs.nothing[place]}"
        lines.append(f"| {runs.names[place]} | {cells} | {marks} |")
    lines += ["", *_verdict("candidates that segment something in every run", runs, learned)]
    if 1 < steady.sum() < learned.sum():
        lines += ["", *_verdict("of them that are never marked as unsteady", runs, steady)]
    return "\n".join(lines) + "\n"


def _verdict(who: str, runs: Runs, kept: np.ndarray) -> list[str]:
    found = ratios(runs.scores[kept], runs.errors[kept])
    variance, width = float(np.mean(np.square(found))), width_ratio(runs, kept)
    met = {True: "met", False: "not met"}
    return [
        f"Over {int(kept.sum())} {who} and {len(found)} pairs of a candidate's runs, the "
        f"standardized differences have a variance of {variance:.2f} (at most {AIM_VARIANCE:g}: "
        f"{met[variance <= AIM_VARIANCE]}); {100 * np.mean(np.abs(found) > _REACH):.1f} % are "
        f"beyond 1.96. Intervals are {width:.2f} times as wide as the spread over the runs needs "
        f"(at most {AIM_WIDTH:g}: {met[width <= AIM_WIDTH]}).",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--drawing", type=int, default=2)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.drawing != DRAWING:
        expected, remedy = f"--drawing {DRAWING}", "check out the version that drew it"
        raise DataError("phantom", expected, f"--drawing {options.drawing}", remedy)
    data = options.work / f"phantom{DRAWING}"
    write_phantom(data, cases=CASES, slices_per_scan=SLICES)
    runs = []
    for seed in range(options.seeds):
        runs.append(sweep(data, options.work, seed))
        if len(runs) > 1:
            text = page(gathered(runs))
            print(text, flush=True)
            if options.out:
                options.out.write_text(text)


if __name__ == "__main__":
    main()
