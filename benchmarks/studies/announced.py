"""Claim: the score that ``ensemble`` announces is right on average; the score in sample is not.

Sweeps are drawn with a known truth: a case's score under a candidate is quality + luck of the
fold's training + difficulty of the case + what the case holds for the candidate; an average of
several gains up to .01; a rule of post-processing adds noise of its own, so choosing one earns
nothing. ``recipes.cross_fit`` chooses
from them as it does from a real run. On new cases the chosen models score their quality and luck
alone, so the error of an announcement is known but for the difficulty of the drawn cases, the same
for every method, which is taken off.

    python -m benchmarks.studies.announced --sweeps 1000 --out benchmarks/results/announced.md
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import cast

import numpy as np

from orchestrator.ensembles.selection import CrossFit, Method, cross_fit
from orchestrator.out_of_fold.average_scores import Bag, OofMeter

FOLDS, ORGANS, ROWS, VOLUMES = 5, 3, 30, 2
AIM = 0.003
METHODS = {
    "best candidate": Method(1),
    "`--top 3`": Method(3),
    "`--top 10 --weights greedy`": Method(10, "greedy"),
    "`--top 3 --tune`": Method(3, tune=True),
    "`--top 10 --weights greedy --tune`": Method(10, "greedy", tune=True),
}


class DrawnMeter:
    """What ``cross_fit`` asks of an ``OofMeter``, drawn; averages lose part of the noise."""

    def __init__(self, seed: int, n_cases: int, n_candidates: int = 10, n_rules: int = 40) -> None:
        random = np.random.default_rng(seed)
        self.lines, self.rules = (None,) * n_candidates, (None,) * n_rules
        self.cases, self.folds = np.arange(n_cases), np.arange(n_cases) % FOLDS
        quality = 0.7 + random.normal(0, 0.01, n_candidates)
        self.models = quality[:, None] + random.normal(0, 0.006, (n_candidates, FOLDS))
        self.difficulty = random.normal(0, 0.08, (n_cases, 1))
        own = random.normal(0, 0.03, (n_candidates, n_cases, ORGANS))
        self.values = self.models[:, self.folds, None] + self.difficulty + own
        self.rule_noise = random.normal(0, 0.01, (n_rules, n_cases, ORGANS))
        self.rule_noise[0] = 0

    def measure(self, wanted: Iterable[tuple[Bag, int]]) -> None:
        """Everything is known already."""

    def sums(self, bag: Bag, rule: int = 0) -> np.ndarray:
        values = np.average(self.values, axis=0, weights=bag) + self.rule_noise[rule]
        values = values + gain(bag)
        counts = np.ones_like(values)
        columns = [ROWS * values, ROWS * counts, VOLUMES * values, VOLUMES * counts]
        return np.stack(columns, axis=-1)  # (cases, organs, 4)

    def rule_sums(self, bag: Bag) -> np.ndarray:
        return np.stack([self.sums(bag, rule) for rule in range(len(self.rules))])

    def errors(self, found: CrossFit) -> tuple[float, float]:
        """Announced and in-sample score, each less the chosen models' score on new cases."""
        share = np.array(found.recipe.bag) / sum(found.recipe.bag)
        means = [self.difficulty[self.folds == fold].mean() for fold in range(FOLDS)]
        truth = float(share @ self.models.mean(axis=1)) + float(np.mean(means))
        truth += gain(found.recipe.bag)
        return found.score - truth, found.in_sample_score - truth


def gain(bag: Bag) -> float:
    """What averaging earns: nothing for one candidate, .01 for very many."""
    share = np.array(bag) / sum(bag)
    return 0.01 * float(1 - share @ share)


def errors(method: Method, n_cases: int, sweeps: int) -> np.ndarray:
    """Errors (sweeps, 2) of many drawn sweeps: announced, in sample."""
    meters = (DrawnMeter(seed, n_cases) for seed in range(sweeps))
    return np.array([m.errors(cross_fit(cast(OofMeter, m), method)) for m in meters])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sweeps", type=int, default=1000)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    lines = [
        "| cases | method | announced less truth | in sample less truth | within the aim |",
        "|---:|---|---:|---:|---|",
    ]
    for n_cases in (20, 85):
        for name, method in METHODS.items():
            found = errors(method, n_cases, options.sweeps)
            means, own = found.mean(axis=0), 1.96 * found.std(axis=0) / np.sqrt(options.sweeps)
            cells = [f"{m:+.4f} ± {e:.4f}" for m, e in zip(means, own, strict=True)]
            within = "yes" if abs(means[0]) <= AIM else "no"
            lines.append(f"| {n_cases} | {name} | {cells[0]} | {cells[1]} | {within} |")
            print(lines[-1], flush=True)
    text = "\n".join(lines) + (
        f"\n\nMeans over {options.sweeps} drawn sweeps of 10 candidates (sd .01) and 5 folds, with "
        f"their own 95 % error; 40 rules that change nothing but the luck. Aim: within {AIM}.\n"
    )
    if options.out:
        options.out.write_text("# What an ensemble announces, against the truth\n\n" + text)


if __name__ == "__main__":
    main()
