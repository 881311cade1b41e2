"""What racing saves and what it costs, beside other ways to stop early, on the same made-up sweeps.

Grids of 10 candidates on 85 cases in 5 folds, drawn with known true scores (case sd .08,
interaction .03, luck of training .006). *Saving* is the share of the 50 trainings that never start;
*regret* is the true score of the candidate that the full grid would choose less that of the one
chosen, so that it is what stopping early costs and nothing else.

    python -m benchmarks.studies.racing --grids 400 --run runs/demo \
        --out benchmarks/results/racing.md

The rule was chosen on grids 0 to 199 (``--first-grid 0``). The default begins where none was ever
looked at while choosing. What stands on the page from its first heading of second order on is kept.

``--run`` replays the same ways on the per-case results of a finished sweep without racing, 100
random orders of its candidates each; regret is then by the full grid's own scores, since the truth
is not known.

ASHA is played as a tuner would use it on trials: folds run in random order over the candidates,
each fold is a step, and a step is left by the better half of what has reached it. WilcoxonPruner is
Optuna's own (p 0.1, folds as steps); it is left out where Optuna is not installed.
"""

from __future__ import annotations

import argparse
import logging
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from orchestrator.statistics import CaseSums
from orchestrator.steering.race_rule import RacingRule, decide
from orchestrator.sweeps.run_directory import SweepDirectory
from tests.support.simulated_sweeps import World, simulate

CANDIDATES, FOLDS = 10, 5
SDS = (0.005, 0.01, 0.02, 0.04)
FIRST_GRID = 10_000  # those before are for choosing a rule
PROCESSES = 2


def first_folds(sums: CaseSums, count: int) -> CaseSums:
    inside = sums.folds < count
    cases = tuple(c for c, i in zip(sums.cases, inside, strict=True) if i)
    return CaseSums(sums.names, cases, sums.folds[inside], sums.values[:, inside])


def race(sums: CaseSums, keep: int, random: np.random.Generator) -> tuple[int, int]:
    """Trainings run, and the candidate chosen."""
    rule, alive, ran = RacingRule(keep, draws=1000), list(range(len(sums.names))), 0
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
    orders = [random.permutation(FOLDS) for _ in sums.names]
    reached: list[list[float]] = [[] for _ in range(FOLDS)]
    finished: dict[int, float] = {}
    for candidate in random.permutation(len(sums.names)):
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
    order = iter(random.permutation(len(sums.names)).tolist())
    chosen: dict[int, int] = {}

    def objective(trial: optuna.Trial) -> float:
        candidate = chosen[trial.number] = next(order)
        for step in range(FOLDS):
            ran[0] += 1
            trial.report(float(folds[candidate][step]), step)
            if trial.should_prune():
                raise optuna.TrialPruned
        return float(folds[candidate].mean())

    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    pruner = optuna.pruners.WilcoxonPruner(p_threshold=0.1)
    study = optuna.create_study(direction="maximize", pruner=pruner)
    study.optimize(objective, n_trials=len(sums.names))
    return ran[0], chosen[study.best_trial.number]


Row = tuple[float, float, bool]
Way = Callable[[CaseSums, np.random.Generator], tuple[int, int]]
HEAD = ("way | saving | mean regret | other chosen |", "---|---:|---:|---:|")


def ways() -> dict[str, Way]:
    found: dict[str, Way] = {
        "racing, keep 1": lambda s, r: race(s, 1, r),
        "racing, keep 3": lambda s, r: race(s, 3, r),
        "ASHA over folds": asha,
    }
    try:
        import optuna

        optuna.logging.set_verbosity(logging.ERROR)
        found["Optuna WilcoxonPruner"] = wilcoxon
    except ImportError:
        print("Optuna is not installed: its pruner is left out\n")
    return found


def line(name: str, rows: list[Row]) -> str:
    """One way's means, with the standard errors of saving and regret."""
    values = np.array(rows, float)
    (saving, regret, other), errors = values.mean(axis=0), values.std(axis=0) / len(rows) ** 0.5
    return (
        f"{name} | {100 * saving:.1f} ± {100 * errors[0]:.1f} % | "
        f"{regret:+.5f} ± {errors[1]:.5f} | {100 * other:.1f} % |"
    )


def one_grid(sd: float, grid: int) -> dict[str, Row]:
    """What each way saves, costs, and whether it chooses otherwise, on one made-up sweep."""
    random, found = np.random.default_rng([grid, round(1000 * sd)]), {}
    effects = random.normal(0, sd, CANDIDATES)
    sums = simulate(World(effects=tuple(effects)), random)
    full = int(sums.fold_scores().mean(axis=1).argmax())
    for name, way in ways().items():
        ran, chosen = way(sums, random)
        regret = float(effects[full] - effects[chosen])
        found[name] = (1 - ran / (CANDIDATES * FOLDS), regret, chosen != full)
    return found


def made_up(grids: range) -> list[str]:
    lines = ["| candidate sd | " + HEAD[0], "|---:|" + HEAD[1]]
    with ProcessPoolExecutor(PROCESSES) as pool:
        for sd in SDS:
            found = list(pool.map(partial(one_grid, sd), grids, chunksize=10))
            lines += [f"| {sd} | {line(name, [f[name] for f in found])}" for name in found[0]]
    return lines


def replayed(run: Path, orders: int = 100) -> list[str]:
    """The same ways on a finished sweep's own results."""
    directory = SweepDirectory.existing(run)
    record = directory.record()
    plan, per_case = directory.plans(record)[0], {}
    for candidate in record.candidates:
        results = [directory.result(spec) for spec in record.specs([candidate])]
        if None in results:
            raise SystemExit(f"{run}: expected every trial finished; sweep without --race first")
        per_case[candidate.key] = {c: v for r in results if r for c, v in r.per_case.items()}
    trained = [c.trained for c in record.candidates]
    sums = CaseSums.from_results(per_case, plan.fold_of_case, trained)
    means = sums.fold_scores().mean(axis=1)
    lines = ["| " + HEAD[0], "|" + HEAD[1]]
    for name, way in ways().items():
        rows = []
        for order in range(orders):
            ran, chosen = way(sums, np.random.default_rng(order))
            saving = 1 - ran / (len(sums.names) * FOLDS)
            rows.append((saving, float(means.max() - means[chosen]), chosen != means.argmax()))
        lines.append(f"| {line(name, rows)}")
    about = f"{len(sums.names)} candidates, {sums.n_cases} cases, {FOLDS} folds, {orders} orders"
    return [f"Replayed on {run.name}: {about}; the best scores {means.max():.4f}.", "", *lines]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--grids", type=int, default=400)
    parser.add_argument("--first-grid", type=int, default=FIRST_GRID)
    parser.add_argument("--run", type=Path, help="a finished sweep to replay")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    grids = range(options.first_grid, options.first_grid + options.grids)
    fresh = "not used" if grids.start >= FIRST_GRID else "among those used"
    text = "\n".join(made_up(grids))
    text += (
        f"\n\n{len(grids)} grids a line (seeds {grids.start} to {grids.stop - 1}, {fresh} for "
        "choosing the rule), means and their standard errors; 'other chosen': the full grid would "
        "have chosen another candidate.\n"
    )
    if options.run:
        text += "\n" + "\n".join(replayed(options.run)) + "\n"
    print(text)
    if options.out:
        before = options.out.read_text() if options.out.is_file() else ""
        kept = "".join(before.partition("\n## ")[1:])
        options.out.write_text(f"# Racing beside other ways to stop early\n\n{text}{kept}")


if __name__ == "__main__":
    main()
