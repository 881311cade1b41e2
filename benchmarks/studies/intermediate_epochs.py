"""Would racing save more if it also looked at the epochs of trials that still run?

Replays a finished sweep without racing, from the validation Dice that every trial wrote after each
epoch, in 100 random orders of its folds:

- how well the candidates' order after an epoch agrees with the order of their scores on that fold;
- racing as it is;
- a seer: every candidate that racing drops after a fold stops after a given epoch of that fold
  instead. No rule as careful as racing can save more than that;
- a rule: in the middle of a fold's epochs, who is further behind the last of the best ``keep`` than
  a margin (mean Dice over the folds so far, of the running one the best epoch so far) is dropped.

    gitract-cv sweep --local --out runs/demo
    python -m benchmarks.studies.intermediate_epochs --run runs/demo

*Saving* is the share of all epochs that are not trained; *regret* is by the full grid's own scores.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from gitract_core.results.trial_result import read_history
from orchestrator.statistics import CaseSums
from orchestrator.steering.race_rule import RacingRule, decide
from orchestrator.sweeps.run_directory import SweepDirectory

MARGINS = (0.0, 0.02, 0.05, 0.1)


@dataclass(frozen=True)
class Grid:
    """A finished sweep.

    Attributes:
        sums: per-case results.
        dice: best validation Dice so far, (candidates, folds, epochs); a trial that patience ended
            stays at its best.
        epochs: that each trial took, (candidates, folds).
    """

    sums: CaseSums
    dice: np.ndarray
    epochs: np.ndarray

    @classmethod
    def of_run(cls, run: Path) -> Grid:
        directory = SweepDirectory.existing(run)
        record = directory.record()
        plan, per_case, histories = directory.plans(record)[0], {}, []
        for candidate in record.candidates:
            specs = record.specs([candidate])
            results = [directory.result(spec) for spec in specs]
            if None in results:
                raise SystemExit(f"{run}: expected every trial finished; sweep without --race")
            per_case[candidate.key] = {c: v for r in results if r for c, v in r.per_case.items()}
            histories.append([read_history(directory.trial(s).history) for s in specs])
        most = max(len(h) for row in histories for h in row)
        best = [
            [np.fmax.accumulate([r.dice for r in h] + [0.0] * (most - len(h))) for h in row]
            for row in histories
        ]
        trained = [c.trained for c in record.candidates]
        sums = CaseSums.from_results(per_case, plan.fold_of_case, trained)
        return cls(sums, np.array(best), np.array([[len(h) for h in row] for row in histories]))

    @cached_property
    def scores(self) -> np.ndarray:
        """(candidates, folds)."""
        return self.sums.fold_scores()

    @property
    def last(self) -> int:
        return self.dice.shape[2]

    def ordered(self, order: np.ndarray) -> Grid:
        """The same with the folds in another order."""
        place = np.argsort(order)  # old fold -> new
        sums = CaseSums(self.sums.names, self.sums.cases, place[self.sums.folds], self.sums.values)
        return Grid(sums, self.dice[:, order], self.epochs[:, order])

    def after(self, alive: list[int], folds: int) -> CaseSums:
        """What is known of some candidates after the first so many folds."""
        sums, inside = self.sums.take(alive), self.sums.folds < folds
        cases = tuple(c for c, i in zip(sums.cases, inside, strict=True) if i)
        return CaseSums(sums.names, cases, sums.folds[inside], sums.values[:, inside])


Stops = Callable[[Grid, list[int], int], tuple[list[int], int]]
"""Of those alive in a fold, who is dropped inside it, and after how many epochs."""


def race(grid: Grid, keep: int, stops: Stops | None = None) -> tuple[int, int]:
    """Epochs trained, and the candidate chosen."""
    rule, n_folds = RacingRule(keep, draws=1000), grid.scores.shape[1]
    alive, trained = list(range(len(grid.sums.names))), 0
    for fold in range(n_folds):
        gone, epoch = stops(grid, alive, fold) if stops else ([], 0)
        trained += int(np.minimum(grid.epochs[gone, fold], epoch).sum())
        alive = [c for c in alive if c not in gone]
        trained += int(grid.epochs[alive, fold].sum())
        if fold < n_folds - 1:
            alive = kept(grid, alive, fold, rule)
    return trained, alive[int(grid.scores[alive].mean(axis=1).argmax())]


def kept(grid: Grid, alive: list[int], fold: int, rule: RacingRule) -> list[int]:
    """Who races on after a fold."""
    found = decide(grid.after(alive, fold + 1), rule, grid.scores.shape[1])
    return [c for c, p in zip(alive, found, strict=True) if not p < rule.threshold]


def seer(keep: int, epoch: int) -> Stops:
    """Whoever racing drops after a fold is dropped after an epoch of it."""

    def stops(grid: Grid, alive: list[int], fold: int) -> tuple[list[int], int]:
        if fold == grid.scores.shape[1] - 1:
            return [], 0
        on = kept(grid, alive, fold, RacingRule(keep, draws=1000))
        return [c for c in alive if c not in on], epoch

    return stops


def behind(keep: int, margin: float) -> Stops:
    """In the middle of a fold, who is behind by more than a margin."""

    def stops(grid: Grid, alive: list[int], fold: int) -> tuple[list[int], int]:
        epoch = grid.last // 2
        before = grid.dice[alive, :fold, -1].sum(axis=1)
        standing = (before + grid.dice[alive, fold, epoch - 1]) / (fold + 1)
        line = np.sort(standing)[::-1][min(keep, len(alive)) - 1] - margin
        return [c for c, value in zip(alive, standing, strict=True) if value < line], epoch

    return stops


def agreement(grid: Grid) -> list[str]:
    """How an epoch's order of candidates agrees with what comes of them."""
    final = grid.scores.mean(axis=1)
    best = np.argsort(-final)[:3]
    lines = [
        "| after epoch | with the fold's scores | with the means over folds | of the best three,"
        " in the worse half |",
        "|---:|---:|---:|---:|",
    ]
    for epoch in range(grid.last):
        now, folds = grid.dice[:, :, epoch], range(grid.scores.shape[1])
        same = np.mean([spearmanr(now[:, f], grid.scores[:, f]).statistic for f in folds])
        mean = np.mean([spearmanr(now[:, f], final).statistic for f in folds])
        lost = 100 * (now[best] < np.median(now, axis=0)).mean()
        lines.append(f"| {epoch + 1} | {same:.2f} | {mean:.2f} | {lost:.0f} % |")
    return lines


def replayed(grid: Grid, keep: int, orders: int) -> list[str]:
    """Saving and regret of racing alone, with a seer, and with the rule."""
    ways: dict[str, Stops | None] = {"racing": None}
    ways["a seer, after the first epoch"] = seer(keep, 1)
    ways["a seer, after half of the epochs"] = seer(keep, grid.last // 2)
    ways |= {f"half-way, behind by {m:g}": behind(keep, m) for m in MARGINS}
    lines, means = [], grid.scores.mean(axis=1)
    for name, stops in ways.items():
        rows = []
        for seed in range(orders):
            order = np.random.default_rng(seed).permutation(grid.scores.shape[1])
            trained, chosen = race(grid.ordered(order), keep, stops)
            saving = 1 - trained / grid.epochs.sum()
            rows.append((100 * saving, means.max() - means[chosen], chosen != means.argmax()))
        saving, regret, other = np.mean(rows, axis=0)
        lines.append(f"| {keep} | {name} | {saving:.1f} % | {regret:+.5f} | {100 * other:.0f} % |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, required=True, help="a finished sweep without racing")
    parser.add_argument("--orders", type=int, default=100)
    options = parser.parse_args()
    grid = Grid.of_run(options.run)
    print(*agreement(grid), "", sep="\n")
    print("| keep | way | saving | mean regret | other chosen |\n|---:|---|---:|---:|---:|")
    for keep in (1, 3):
        print(*replayed(grid, keep, options.orders), sep="\n")


if __name__ == "__main__":
    main()
