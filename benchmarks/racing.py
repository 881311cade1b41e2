"""What racing saves and what it costs, beside other ways to stop early, on the same made-up sweeps.

Grids of 10 candidates on 85 cases in 5 folds, drawn with known true scores (case sd .08,
interaction .03, luck of training .006). *Saving* is the share of the 50 trainings that never start;
*regret* is the true score of the candidate that the full grid would choose less that of the one
chosen, so that it is what stopping early costs and nothing else.

    python benchmarks/racing.py --grids 200 --out benchmarks/results/racing.md

ASHA is played as a tuner would use it on trials: folds run in random order over the candidates,
each fold is a step, and a step is left by the better half of what has reached it. WilcoxonPruner is
Optuna's own (p 0.1, folds as steps); it is left out where Optuna is not installed.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np

from orchestrator.racing import RacingRule, decide
from orchestrator.statistics import CaseSums, World, simulate

CANDIDATES, FOLDS = 10, 5
SDS = (0.005, 0.01, 0.02, 0.04)


def first_folds(sums: CaseSums, count: int) -> CaseSums:
    inside = sums.folds < count
    cases = tuple(c for c, i in zip(sums.cases, inside, strict=True) if i)
    return CaseSums(sums.names, cases, sums.folds[inside], sums.values[:, inside])


def race(sums: CaseSums, keep: int, random: np.random.Generator) -> tuple[int, int]:
    """Trainings run, and the candidate chosen."""
    rule, alive, ran = RacingRule(keep, draws=1000), list(range(CANDIDATES)), 0
    for done in range(1, FOLDS + 1):
        ran += len(alive)
        if done < FOLDS:
            found = decide(first_folds(sums.take(alive), done), rule, FOLDS)
            alive = [c for c, p in zip(alive, found, strict=True) if not p < rule.threshold]
    scores = sums.take(alive).fold_scores().mean(axis=1)
    return ran, alive[int(scores.argmax())]


def asha(sums: CaseSums, random: np.random.Generator) -> tuple[int, int]:
    """Each candidate meets the folds in an order of its own; half of each step goes on."""
    folds, ran = sums.fold_scores(), 0
    orders = [random.permutation(FOLDS) for _ in range(CANDIDATES)]
    reached: list[list[float]] = [[] for _ in range(FOLDS)]
    finished: dict[int, float] = {}
    for candidate in random.permutation(CANDIDATES):
        for step in range(FOLDS):
            ran += 1
            mean = float(folds[candidate][orders[candidate][: step + 1]].mean())
            reached[step].append(mean)
            if step == FOLDS - 1:
                finished[int(candidate)] = mean
            elif mean < np.median(reached[step]):
                break
    return ran, max(finished, key=lambda c: finished[c])


def wilcoxon(sums: CaseSums, random: np.random.Generator) -> tuple[int, int]:
    """Optuna's WilcoxonPruner, a fold a step."""
    import optuna

    folds, ran = sums.fold_scores(), [0]
    order = iter(random.permutation(CANDIDATES).tolist())
    chosen: dict[int, int] = {}

    def objective(trial: optuna.Trial) -> float:
        candidate = chosen[trial.number] = next(order)
        for step in range(FOLDS):
            ran[0] += 1
            trial.report(float(folds[candidate][step]), step)
            if trial.should_prune():
                raise optuna.TrialPruned
        return float(folds[candidate].mean())

    pruner = optuna.pruners.WilcoxonPruner(p_threshold=0.1)
    study = optuna.create_study(direction="maximize", pruner=pruner)
    study.optimize(objective, n_trials=CANDIDATES)
    return ran[0], chosen[study.best_trial.number]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--grids", type=int, default=200)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    ways: dict[str, Callable[[CaseSums, np.random.Generator], tuple[int, int]]] = {
        "racing, keep 1": lambda s, r: race(s, 1, r),
        "racing, keep 3": lambda s, r: race(s, 3, r),
        "ASHA over folds": asha,
    }
    try:
        import optuna

        optuna.logging.set_verbosity(logging.ERROR)
        ways["Optuna WilcoxonPruner"] = wilcoxon
    except ImportError:
        print("Optuna is not installed: its pruner is left out\n")
    lines = ["| candidate sd | way | saving | mean regret | regret sd | other chosen |"]
    lines += ["|---:|---|---:|---:|---:|---:|"]
    for sd in SDS:
        found: dict[str, list[tuple[float, float, bool]]] = {name: [] for name in ways}
        for grid in range(options.grids):
            random = np.random.default_rng([grid, round(1000 * sd)])
            effects = random.normal(0, sd, CANDIDATES)
            sums = simulate(World(effects=tuple(effects)), random)
            full = int(sums.fold_scores().mean(axis=1).argmax())
            for name, way in ways.items():
                ran, chosen = way(sums, random)
                saving = 1 - ran / (CANDIDATES * FOLDS)
                found[name].append((saving, float(effects[full] - effects[chosen]), chosen != full))
        for name, rows in found.items():
            saving, regret, other = np.array(rows, float).T
            lines.append(
                f"| {sd} | {name} | {100 * saving.mean():.1f} % | {regret.mean():+.5f} | "
                f"{regret.std() / np.sqrt(len(regret)):.5f} | {100 * other.mean():.1f} % |"
            )
    text = (
        "\n".join(lines) + f"\n\n{options.grids} grids a line; 'best dropped': another candidate "
    )
    text += "is chosen than the full grid would. Regret sd is that of its mean.\n"
    print(text)
    if options.out:
        options.out.write_text("# Racing beside other ways to stop early\n\n" + text)


if __name__ == "__main__":
    main()
