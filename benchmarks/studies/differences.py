"""Do all intervals of differences from the first hold together, and are they as narrow as can be?

    python -m benchmarks.studies.differences --sweeps 3000 --draws 1000

Simulated sweeps with a known truth (``tests/support/simulated_sweeps.py``). In each, the intervals
of how far every candidate is behind the first are made as a report makes them, and count as right
if they all hold the true differences. Their mean width is compared with an oracle's: the same
simultaneous intervals (all pairs, largest studentized difference) from the true covariance of the
scores, which is that of thousands of other sweeps of the same world. Rows that are done are kept
beside ``--out``, so that the command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.special import ndtri

from orchestrator.statistics import (
    bootstrap,
    compare_with_first,
    variance_components,
    winners_score,
)
from tests.support.simulated_sweeps import World, simulate, true_scores

EQUAL = World((0.0,) * 10)
TWO = World((0.0, 0.0))
FAILING = World(
    (0.0,) * 3 + (-0.3,) * 4 + (0.0,) * 3,
    training_sd=(0.006,) * 3 + (0.12,) * 4 + (0.006,) * 3,
)
MIXED = replace(EQUAL, training_sd=(0.006,) * 5 + (0.04,) * 5)
SPREAD = World(tuple(np.linspace(0.02, -0.02, 10).tolist()))
THREE_FOLDS = World((0.0,) * 4, n_folds=3, training_sd=0.01)
TWO_FAIL = replace(
    THREE_FOLDS, effects=(0.0, 0.0, -0.2, -0.25), training_sd=(0.01, 0.01, 0.13, 0.13)
)
ONE_FAILS = replace(THREE_FOLDS, effects=(0.0, 0.0, -0.2), training_sd=(0.01, 0.01, 0.13))
TWO_OF_SIX = World((0.0,) * 4 + (-0.2,) * 2, training_sd=(0.01,) * 4 + (0.13,) * 2)
THREE_OF_TEN = World((0.0,) * 7 + (-0.2,) * 3, training_sd=(0.01,) * 7 + (0.13,) * 3)
BLOCKS = replace(EQUAL, correlation=0.8, block=5)
WORLDS = {
    "10 equal, {n} cases": (EQUAL, (85, 40, 20, 10, 6)),
    "2 equal, {n} cases": (TWO, (85, 20, 10)),
    "3 equal, {n} cases": (World((0.0,) * 3), (85, 20)),
    "24 equal, {n} cases": (World((0.0,) * 24), (40,)),
    "10 from best to worst .04, {n} cases": (SPREAD, (85, 20)),
    "10 equal, luck sd .1, {n} cases": (replace(EQUAL, training_sd=0.1), (85, 20)),
    "2 equal, luck sd .1, {n} cases": (replace(TWO, training_sd=0.1), (20,)),
    "10 equal, no luck, {n} cases": (replace(EQUAL, training_sd=0.0), (85,)),
    "10 equal, half with luck sd .04, {n} cases": (MIXED, (85, 20)),
    "6 equal, 4 failing (luck sd .12), {n} cases": (FAILING, (85, 20, 10)),
    "2 equal, 2 failing (luck sd .13), 3 folds, {n} cases": (TWO_FAIL, (12, 40)),
    "2 equal, 1 failing (luck sd .13), 3 folds, {n} cases": (ONE_FAILS, (12, 40)),
    "4 equal, luck sd .01, 3 folds, {n} cases": (THREE_FOLDS, (12,)),
    "4 equal, luck sd .13, 3 folds, {n} cases": (replace(THREE_FOLDS, training_sd=0.13), (12,)),
    "4 equal, 2 failing (luck sd .13), {n} cases": (TWO_OF_SIX, (20,)),
    "7 equal, 3 failing (luck sd .13), {n} cases": (THREE_OF_TEN, (20,)),
    "10 equal, two blocks correlated .8, {n} cases": (BLOCKS, (85, 20, 10)),
    "10 equal, skewed, {n} cases": (replace(EQUAL, tails="skewed"), (85, 20, 12)),
    "10 equal, t with 3 df, {n} cases": (replace(EQUAL, tails="heavy"), (85, 20)),
    "10 equal, 8 % of patients fail, {n} cases": (replace(EQUAL, tails="failing"), (85, 20, 10)),
    "2 equal, 8 % of patients fail, {n} cases": (replace(TWO, tails="failing"), (20, 10)),
    "10 equal, 3 fold plans, {n} cases": (replace(EQUAL, n_plans=3), (85, 20)),
}


_SAME = 5e-4  # of true scores: that much they are uncertain themselves, cut off at 0 and 1


@dataclass(frozen=True)
class Row:
    """What was counted of one world.

    Attributes:
        name: of the world.
        sweeps: simulated.
        said: sweeps with intervals, not "too few to say".
        hold: of these, sweeps in which all intervals held.
        width: mean width over that of the oracle.
        put_out: sweeps in which a candidate as good as the best was not in the tie group.
        tied: mean size of the tie group.
        winner_bias: of the winner's corrected score, what these cases do to all alike taken off.
        winner_noise: its standard error.
        winner_holds: share of sweeps in which the interval of that score held.
        width_of_best: as ``width``, between two of the equally best; NaN where one is best.
    """

    name: str
    sweeps: int
    said: int
    hold: int
    width: float
    put_out: int
    tied: float
    winner_bias: float
    winner_noise: float
    winner_holds: float
    width_of_best: float


def measure(name: str, world: World, sweeps: int, draws: int) -> Row:
    random, truth = np.random.default_rng(2024), np.array(true_scores(world))
    half = oracle(world, truth)
    best = truth > truth.max() - _SAME
    hold = put_out = holds = 0
    widths, needed, tied, left = [], [], [], []
    of_best: list[tuple[float, float]] = []
    for seed in range(sweeps):
        sums = simulate(world, random)
        drawn = bootstrap(sums, variance_components(sums), draws, seed)
        found = compare_with_first(sums, drawn)
        tied.append(int(found.tied.sum()))
        put_out += bool((~found.tied[best]).any())
        if np.isnan(found.behind.low).any():
            continue
        behind, others = truth[found.first] - truth, np.arange(len(truth)) != found.first
        inside = (found.behind.low <= behind + 1e-9) & (behind <= found.behind.high + 1e-9)
        hold += bool(inside.all())
        widths.append(float((found.behind.high - found.behind.low)[others].mean()))
        needed.append(2 * float(half[found.first][others].mean()))
        if best[found.first] and (both := best & others).any():
            wide = float((found.behind.high - found.behind.low)[both].mean())
            of_best.append((wide, 2 * float(half[found.first][both].mean())))
        winner = winners_score(drawn, seed)
        holds += winner.low <= truth[winner.winner] <= winner.high
        common = float((drawn.estimate - truth).mean())
        left.append(winner.corrected - float(truth[winner.winner]) - common)
    said, nothing = len(widths), math.nan
    return Row(
        name=name,
        sweeps=sweeps,
        said=said,
        hold=hold,
        width=float(np.mean(widths) / np.mean(needed)) if said else nothing,
        put_out=put_out,
        tied=float(np.mean(tied)),
        winner_bias=float(np.mean(left)) if said else nothing,
        winner_noise=float(np.std(left) / math.sqrt(said)) if said else nothing,
        winner_holds=holds / said if said else nothing,
        width_of_best=float(np.divide(*np.mean(of_best, axis=0))) if of_best else nothing,
    )


def oracle(world: World, truth: np.ndarray, sweeps: int = 3000, draws: int = 20_000) -> np.ndarray:
    """Half widths of all pairs' simultaneous intervals from the true covariance, (n, n)."""
    random, n = np.random.default_rng(99), len(truth)
    errors = [simulate(world, random).fold_scores().mean(axis=1) - truth for _ in range(sweeps)]
    covariance = np.cov(np.array(errors).T)
    own = covariance.diagonal()
    spread = np.sqrt(np.maximum(own[:, None] + own - 2 * covariance, 0))
    drawn = random.multivariate_normal(np.zeros(n), covariance, draws)
    one, other = np.triu_indices(n, 1)
    largest = np.abs((drawn[:, one] - drawn[:, other]) / spread[one, other]).max(axis=1)
    return np.asarray(np.quantile(largest, 0.95) * spread)


def lowest(hits: int, of: int) -> float:
    """Lower 95 % confidence limit of a share (one-sided; Wilson 1927)."""
    z = float(ndtri(0.95))
    share = hits / of
    middle = share + z * z / (2 * of)
    spread = z * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    return (middle - spread) / (1 + z * z / of)


def report(rows: Sequence[Row], draws: int) -> str:
    lines = [
        "# Differences from the first: do all intervals of a sweep hold together?",
        "",
        f"Simulated sweeps, {draws} bootstrap draws each; 5 folds, case sd .08, candidate by case "
        ".03, luck of training .006 a fold where nothing else is said. *hold*: sweeps in "
        "which the intervals of all candidates held, and its lower 95 % confidence limit; aim: "
        "above 93. *width*: mean width over that of the same simultaneous intervals from the true "
        "covariance; aim: at most 1.25. *of the best*: the same between two of the equally best, "
        "where others may be unsteady. *put out*: sweeps in which one of the equally best was not "
        "in the tie group. *winner*: bias of the first's corrected score (standard error), and "
        "how often its interval held.",
        "",
        "| sweeps | number | intervals given, % | hold, % | limit | width | of the best |"
        " put out, % | tied | winner's bias | held, % |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for r in rows:
        if not r.said:
            lines.append(
                f"| {r.name} | {r.sweeps} | 0 | - | - | - | - | 0 | {r.tied:.1f} | - | - |"
            )
            continue
        shares = f"{100 * r.hold / r.said:.1f} | {100 * lowest(r.hold, r.said):.1f}"
        lines.append(
            f"| {r.name} | {r.sweeps} | {100 * r.said / r.sweeps:.0f} | {shares} | {r.width:.2f} "
            f"| {'-' if math.isnan(r.width_of_best) else f'{r.width_of_best:.2f}'} "
            f"| {100 * r.put_out / r.sweeps:.1f} | {r.tied:.1f} "
            f"| {r.winner_bias:+.4f} ({r.winner_noise:.4f}) | {100 * r.winner_holds:.1f} |"
        )
    return "\n".join([*lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sweeps", type=int, default=3000)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/differences.md"))
    arguments = parser.parse_args()
    kept, rows = arguments.out.with_suffix(".rows.json"), []
    done = json.loads(kept.read_text()) if kept.is_file() else {}
    for template, (world, sizes) in WORLDS.items():
        for n_cases in sizes:
            name = template.format(n=n_cases)
            if name not in done:
                sized = replace(world, n_cases=n_cases)
                done[name] = vars(measure(name, sized, arguments.sweeps, arguments.draws))
                kept.write_text(json.dumps(done))
                print(name, done[name], flush=True)
            rows.append(Row(**done[name]))
    arguments.out.write_text(report(rows, arguments.draws))


if __name__ == "__main__":
    main()
