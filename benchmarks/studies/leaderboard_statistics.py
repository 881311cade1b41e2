"""Are the statistics of a leaderboard honest? Simulated sweeps with a known truth say how often.

    python -m benchmarks.studies.leaderboard_statistics --sweeps 400 --draws 600

A case's score is drawn as mean + candidate + case + candidate by case + training (see
``tests/support/simulated_sweeps.py``): case sd .08, candidate by case .03, training .006 a
fold. Every interval should hold the truth in 95 % of sweeps, every test should err in 5 % of them,
and the winner's score should be right on average. These are intervals one by one, as of candidates
named beforehand; whether those of a report hold all together is measured by ``differences``.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import time
from collections import defaultdict
from pathlib import Path

import numpy as np

from benchmarks.studies.bbc_cv import bbc_cv
from orchestrator.statistics import (
    CaseSums,
    analyse,
    bootstrap,
    compare_with_first,
    corrected_t,
    settle,
    variance_components,
    winners_score,
)
from tests.support.simulated_sweeps import World, simulate

EQUAL_10, EQUAL_2 = (0.0,) * 10, (0.0, 0.0)
# Four in the middle are far behind, and each of their trainings may fail.
UNRELIABLE = (0.0,) * 3 + (-0.3,) * 4 + (0.0,) * 3
UNRELIABLE_SD = (0.006,) * 3 + (0.12,) * 4 + (0.006,) * 3
WORLDS = {
    "10 equal, 85 cases": World(EQUAL_10),
    "10 equal, 20 cases": World(EQUAL_10, n_cases=20),
    "2 equal, 85 cases": World(EQUAL_2),
    "2 equal, 20 cases": World(EQUAL_2, n_cases=20),
    "10 equal, 85 skewed cases": World(EQUAL_10, skewed=True),
    "10 equal, 20 skewed cases": World(EQUAL_10, n_cases=20, skewed=True),
    "3 best, 7 worse by .02, 85 cases": World((0.0,) * 3 + (-0.02,) * 7),
    "10 equal, 85 cases, no luck of training": World(EQUAL_10, training_sd=0.0),
    "6 equal, 4 unreliable, 85 cases": World(UNRELIABLE, training_sd=UNRELIABLE_SD),
    "10 equal, 85 cases, 3 fold plans": World(EQUAL_10, n_plans=3),
    "10 equal, 20 cases, 3 fold plans": World(EQUAL_10, n_cases=20, n_plans=3),
    "6 equal, 4 unreliable, 20 cases": World(UNRELIABLE, n_cases=20, training_sd=UNRELIABLE_SD),
}
COVERAGE = {
    "score": "a score, bootstrap",
    "score_networks": "... without the luck of training",
    "difference": "a difference, bootstrap",
    "difference_networks": "... without the luck of training",
    "difference_plain": "... nor the corrections for few cases (n draws, plain percentiles)",
    "corrected_t": "a difference, Nadeau-Bengio",
    "naive_t": "a difference, usual t over folds",
    "winner": "the winner's corrected score",
}
ERRORS = {
    "naive_p": "usual t, two candidates fixed beforehand",
    "corrected_p": "Nadeau-Bengio, the same",
    "holm": "Wilcoxon + Holm against the first, any",
    "simultaneous": "simultaneous intervals of all pairs, any",
    "tie_group": "tie group: any of the best put out",
}


def judge(world: World, sweeps: int, draws: int) -> dict[str, np.ndarray]:
    """Figure -> its value in each sweep."""
    random, found = np.random.default_rng(2024), defaultdict(list)
    truth = world.mean + np.array(world.effects)
    for seed in range(sweeps):
        for name, value in one_sweep(world, truth, random, (draws, seed)).items():
            found[name].append(value)
    return {name: np.array(values, float) for name, values in found.items()}


def one_sweep(
    world: World, truth: np.ndarray, random: np.random.Generator, how: tuple[int, int]
) -> dict[str, float]:
    sums = simulate(world, random)
    parts = variance_components(sums)
    anew, networks = bootstrap(sums, parts, *how), bootstrap(sums, None, *how)
    folds, gap = sums.fold_scores(), truth[0] - truth[-1]
    fair, naive = (
        corrected_t(folds[0] - folds[-1], ratio) for ratio in (1 / (world.n_folds - 1), 0.0)
    )
    comparisons = compare_with_first(sums, anew)
    best = truth == truth.max()
    others = best & (np.arange(len(best)) != comparisons.first)
    paper, winner = bbc_cv(sums, None, *how), winners_score(anew, how[1])
    true_score = truth[winner.winner]
    luck = float((anew.estimate - truth).mean())  # of these cases, for all candidates
    return {
        "score": within(anew.intervals()[0], truth[0]),
        "score_networks": within(networks.intervals()[0], truth[0]),
        "difference": within(anew.differences(0)[-1], gap),
        "difference_networks": within(networks.differences(0)[-1], gap),
        "difference_plain": within(plain_percentiles(sums, how), gap),
        "width": float(np.ptp(anew.differences(0)[-1])),
        "corrected_t": within((fair.low, fair.high), gap),
        "corrected_width": fair.high - fair.low,
        "naive_t": within((naive.low, naive.high), gap),
        "winner": within((winner.low, winner.high), true_score),
        "naive_p": naive.p <= 0.05,
        "corrected_p": fair.p <= 0.05,
        "holm": (comparisons.holm_p[others] <= 0.05).any(),
        "simultaneous": (comparisons.simultaneous_p[others] <= 0.05).any(),
        "tie_group": (~comparisons.tied[best]).any(),
        "group_size": comparisons.tied.sum(),
        "optimism": winner.score - true_score - luck,
        "left_paper": paper.corrected - true_score - luck,
        "left": winner.corrected - true_score - luck,
    }


def plain_percentiles(sums: CaseSums, how: tuple[int, int]) -> np.ndarray:
    """The textbook interval: n draws of the n cases of each fold, percentiles as they are.

    Of repeated folds those of the first plan are drawn from; a draw that leaves a fold of another
    plan without a case has no score, and is left out.
    """
    draws, seed = how
    random, weights = np.random.default_rng(seed), np.zeros((draws, sums.n_cases))
    for fold in sums.fold_labels:
        members = np.flatnonzero(sums.folds == fold)
        n = len(members)
        weights[:, members] = random.multinomial(n, np.full(n, 1 / n), size=draws)
    scores = sums.fold_scores(weights).mean(axis=-1)
    return np.nanquantile(scores[:, 0] - scores[:, -1], [0.025, 0.975])


def within(interval: object, value: float) -> bool:
    low, high = interval
    return bool(low <= value <= high)


def power_of_the_plan(sweeps: int) -> tuple[int, int, float]:
    """Cases and repeats planned for a lead of .012, and how often sweeps of that size find it."""
    effects, random, plans = (0.012,) + (0.0,) * 9, np.random.default_rng(5), []
    for _ in range(200):
        sums = simulate(World(effects, n_cases=40, mean=0.5), random)
        scores = sums.fold_scores().mean(axis=1)
        values = sums.values.copy()  # as if exactly the true lead had been observed
        values[0, :, :, ::2] += (0.012 - scores[0] + scores[1]) * values[0, :, :, 1::2]
        sums = CaseSums(sums.names, sums.cases, sums.folds, values)
        plan = settle(sums, variance_components(sums), first=0, second=1)
        plans.append((plan.cases, plan.repeats_with_cases))
    cases, repeats = (int(x) for x in np.median(plans, axis=0))
    found, world = 0, World(effects, n_cases=cases, n_plans=repeats, mean=0.5)
    for seed in range(sweeps):
        sums = simulate(world, random)
        low, _ = bootstrap(sums, variance_components(sums), 500, seed).differences(0)[1]
        found += low > 0
    return cases, repeats, found / sweeps


def seconds(n_candidates: int) -> float:
    sums = simulate(World((0.0,) * n_candidates), np.random.default_rng(0))
    knobs = {"a": [c % 2 for c in range(n_candidates)], "b": [c % 5 for c in range(n_candidates)]}
    spent = []
    for _ in range(3):
        start = time.process_time()  # other work on the machine does not count
        analyse(sums, costs=[1.0] * n_candidates, knobs=knobs)
        spent.append(time.process_time() - start)
    return min(spent)


def percent(values: np.ndarray) -> str:
    return f"{100 * values.mean():.1f}"


def table(rows: dict[str, str], results: dict[str, dict[str, np.ndarray]], title: str) -> list[str]:
    lines = [f"| {title} | " + " | ".join(results) + " |", "|---" * (len(results) + 1) + "|"]
    for key, words in rows.items():
        lines.append(f"| {words} | " + " | ".join(percent(r[key]) for r in results.values()) + " |")
    return lines


def optimism_table(results: dict[str, dict[str, np.ndarray]]) -> list[str]:
    lines = ["| sweeps | as read | BBC-CV as published | corrected here | its noise |"]
    lines.append("|---|---:|---:|---:|---:|")
    for name, r in results.items():
        noise = r["left"].std() / math.sqrt(len(r["left"]))
        figures = [r["optimism"].mean(), r["left_paper"].mean(), r["left"].mean()]
        lines.append(
            f"| {name} | " + " | ".join(f"{f:+.4f}" for f in figures) + f" | {noise:.4f} |"
        )
    return lines


def sizes_table(results: dict[str, dict[str, np.ndarray]]) -> list[str]:
    lines = ["| sweeps | width, bootstrap | width, Nadeau-Bengio | candidates in the tie group |"]
    lines.append("|---|---:|---:|---:|")
    for name, r in results.items():
        widths = f"{np.median(r['width']):.4f} | {np.median(r['corrected_width']):.4f}"
        lines.append(f"| {name} | {widths} | {r['group_size'].mean():.1f} |")
    return lines


def report(arguments: argparse.Namespace) -> str:
    start, results = time.perf_counter(), {}
    cases, repeats, power = power_of_the_plan(arguments.sweeps)
    for name, world in WORLDS.items():
        results[name] = judge(world, arguments.sweeps, arguments.draws)
        print(f"{name}: {time.perf_counter() - start:.0f} s", flush=True)
    noise = 100 * math.sqrt(0.05 * 0.95 / arguments.sweeps)
    lines = [
        "# Statistics of the leaderboard, checked by simulation",
        "",
        f"{arguments.sweeps} simulated sweeps a column, 5 folds, {arguments.draws} bootstrap draws "
        f"each; case sd .08, candidate by case .03, training .006 a fold. One standard error of a "
        f"figure near 5 or 95 is {noise:.1f}.",
        "",
        "How often, in %, an interval of 95 % held the truth:",
        "",
        *table(COVERAGE, results, "interval of"),
        "",
        "How often, in %, a test at 5 % told equal candidates apart (where not all are equal, the "
        "last three lines count the best ones; the first two the first and last candidate, so "
        "that there it is power):",
        "",
        *table(ERRORS, results, "test"),
        "",
        "By how much the winner's score is too high, on the scale of the score:",
        "",
        *optimism_table(results),
        "",
        "What it costs: median width of a difference's interval, and candidates that remain tied:",
        "",
        *sizes_table(results),
        "",
        f"Planning: to find a lead of .012 with a chance of 80 %, sweeps of 40 cases plan {cases} "
        f"cases and {repeats} trainings each (medians); it is found in {100 * power:.1f} % of such "
        "sweeps.",
        "",
        "Processor time of `analyse`, 85 cases, 2,000 draws: 10 candidates "
        f"{seconds(10):.2f} s, 100 candidates {seconds(100):.2f} s ({os.cpu_count()} cores, "
        f"{platform.machine()}, Python {platform.python_version()}, NumPy {np.__version__}). "
        "All of this took "
        f"{time.perf_counter() - start:.0f} s.",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sweeps", type=int, default=400)
    parser.add_argument("--draws", type=int, default=600)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    arguments = parser.parse_args()
    text = report(arguments)
    print(text)
    (arguments.out / "statistics.md").write_text(text)


if __name__ == "__main__":
    main()
