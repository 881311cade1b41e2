"""What does each step from the seed paper's plain net upward bring? A finished run of `ladder`.

    gitract-cv phantom data/ladder --cases 20 --seed 11
    gitract-cv sweep --data data/ladder --space ladder --out runs/ladder
    python -m benchmarks.studies.ladder runs/ladder --out benchmarks/results/ladder.md

Each rung is measured out of fold at native size, as the mean over folds of the competition score,
with a 95 % interval from 2,000 bootstrap draws of whole cases, and so is its difference to the
rung below (the same draws for both). What is chosen on a rung (loss, context, thresholds and
post-processing, the ensemble's members) is chosen for each fold on the other folds' cases. The
committed figures used the first scan of each case alone (`--exclude` the others).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from orchestrator.ensembles.selection import Method, cross_fit, rule_grid
from orchestrator.out_of_fold.average_scores import OofMeter
from orchestrator.out_of_fold.masks import OofAverage
from orchestrator.report.style import SERIES_COLORS, new_figure, save_figure
from orchestrator.results.candidate_scores import CandidateScores
from orchestrator.results.leaderboard import build_leaderboard
from orchestrator.statistics.case_sums import CaseSums
from orchestrator.statistics.intervals.bootstrap import bootstrap
from orchestrator.sweeps.run_directory import SweepDirectory


@dataclass(frozen=True)
class Rung:
    """One step: its name, what was chosen, and sums (cases, organs, 4)."""

    name: str
    chosen: str
    sums: np.ndarray


@dataclass(frozen=True)
class Run:
    """A finished sweep and the sums of its candidates."""

    directory: SweepDirectory
    lines: tuple[CandidateScores, ...]
    sums: CaseSums

    @classmethod
    def load(cls, path: Path) -> Run:
        directory = SweepDirectory.existing(path)
        board = build_leaderboard(directory)
        per_case = {
            line.label: {c: s for r in line.finished for c, s in r.per_case.items()}
            for line in board.ranked
        }
        plan = directory.plans(board.record)[0]
        return cls(directory, board.ranked, CaseSums.from_results(per_case, plan.fold_of_case))

    def where(self, test: Callable[[CandidateScores], bool]) -> list[int]:
        return [place for place, line in enumerate(self.lines) if test(line)]

    def best_elsewhere(self, places: Sequence[int], fold: int, count: int = 1) -> list[int]:
        """The best of some candidates on the cases of all other folds."""
        score = self.sums.scores((self.sums.folds != fold).astype(float))
        return sorted(places, key=lambda place: -score[place])[:count]


def chosen_rung(run: Run, name: str, places: Sequence[int]) -> Rung:
    """For each fold the candidate that is best on the others."""
    sums = np.empty(run.sums.values.shape[1:])
    choices = []
    for fold in run.sums.fold_labels:
        (best,) = run.best_elsewhere(places, fold)
        held_out = run.sums.folds == fold
        sums[held_out] = run.sums.values[best, held_out]
        choices.append(best)
    return Rung(name, said(run, choices), sums)


def said(run: Run, choices: Sequence[int]) -> str:
    counts = {run.sums.names[c]: choices.count(c) for c in dict.fromkeys(choices)}
    if len(counts) == 1:
        return next(iter(counts))
    return "; ".join(f"{name} ({n} folds)" for name, n in counts.items())


def ensemble_rung(run: Run, name: str, places: Sequence[int], method: Method) -> Rung:
    """Some candidates under a method, everything chosen without the fold that is scored."""
    lines = [run.lines[place] for place in places]
    base = lines[0].candidate.postprocess
    rules = rule_grid(base, thresholds=(0.3, 0.4, 0.5, 0.6), smallest_mm3=(0.0, 1000.0))
    meter = OofMeter(run.directory, lines, rules)
    found = cross_fit(meter, method)
    order = [[str(c) for c in found.cases].index(case) for case in run.sums.cases]
    text = " | ".join(
        f"{r.threshold:g}, {r.z_sigma:g}, {r.fill_gaps}, {r.smallest_mm3:g}"
        for r in (meter.rules[place] for place in found.recipe.rules)
    )
    members = " + ".join(
        f"{n} x {line.label}" for n, line in zip(found.recipe.bag, lines, strict=True) if n
    )
    return Rung(name, f"{members}; rules {text}".replace("|", "/"), found.announced[order])


def climb(run: Run) -> list[Rung]:
    """All rungs."""

    def single(line: CandidateScores) -> bool:
        return line.candidate.input.context == 1

    def augmented(line: CandidateScores) -> bool:
        return line.candidate.augmentation.kinds != "none"

    def bce(line: CandidateScores) -> bool:
        return line.candidate.loss == "bce"

    flat = run.where(lambda line: single(line) and augmented(line))
    deep = run.where(lambda line: not single(line))
    every = range(len(run.lines))
    return [
        chosen_rung(
            run, "plain net, BCE", run.where(lambda line: bce(line) and not augmented(line))
        ),
        chosen_rung(run, "+ augmentation", [p for p in flat if bce(run.lines[p])]),
        chosen_rung(run, "+ best loss", flat),
        chosen_rung(run, "+ 2.5D", deep),
        ensemble_rung(run, "+ thresholds, post-processing", deep, Method(1, tune=True)),
        ensemble_rung(run, "+ ensemble of 3 candidates", every, Method(3, tune=True)),
    ]


def table(run: Run, rungs: Sequence[Rung]) -> tuple[str, np.ndarray]:
    names = tuple(rung.name for rung in rungs)
    values = np.stack([rung.sums for rung in rungs])
    drawn = bootstrap(CaseSums(names, run.sums.cases, run.sums.folds, values))
    own = drawn.intervals()
    steps = np.eye(len(rungs))[1:] - np.eye(len(rungs))[:-1]
    moved = [None, *drawn.intervals(steps)]
    lines = [
        "| rung | score | 95 % interval | step | 95 % interval | chosen on all cases |",
        "|---|---:|---:|---:|---:|---|",
    ]
    for place, (rung, (low, high)) in enumerate(zip(rungs, own, strict=True)):
        score, step = drawn.estimate[place], ("", "")
        if moved[place] is not None:
            a, b = moved[place]
            step = (f"{score - drawn.estimate[place - 1]:+.4f}", f"{a:+.4f} to {b:+.4f}")
        cells = (rung.name, f"{score:.4f}", f"{low:.4f} to {high:.4f}", *step, rung.chosen)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n", np.column_stack([drawn.estimate, own])


def draw(rungs: Sequence[Rung], figures: np.ndarray, path: Path) -> None:
    figure, (axes,) = new_figure(width=6.6, height=3.0)
    places = np.arange(len(rungs))
    reach = np.abs(figures[:, 1:] - figures[:, :1]).T
    axes.errorbar(figures[:, 0], places, xerr=reach, fmt="o", color=SERIES_COLORS[0], capsize=3)
    axes.set_yticks(places, [rung.name for rung in rungs])
    axes.set_xlabel("competition score, out of fold (95 % interval over cases)")
    axes.set_title("From the plain net up, on a phantom", loc="left")
    save_figure(figure, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    run = Run.load(options.run)
    rungs = climb(run)
    text, figures = table(run, rungs)
    n_cases = len(run.sums.cases)
    scans = len(OofAverage(run.directory, run.lines[:1]).scans)
    text += f"\n{n_cases} phantom cases, {scans} scans, {len(run.sums.fold_labels)} folds.\n"
    text += "\nCandidates of the run:\n\n| candidate | score | sd over folds |\n|---|---:|---:|\n"
    text += "".join(f"| {c.label} | {c.mean():.4f} | {c.sd():.4f} |\n" for c in run.lines)
    print(text)
    if options.out:
        options.out.write_text("# The ladder, measured\n\n" + text)
        draw(rungs, figures, options.out.with_suffix(".png"))


if __name__ == "__main__":
    main()
