"""What the race would have done to finished sweeps: who is dropped, and whether it was right.

    python -m benchmarks.studies.race_replay --demo 10 --paper --work work/race_replay \
        --out benchmarks/results/race_replay.md
    python -m benchmarks.studies.race_replay runs/demo runs/other

Sweeps without a race are replayed fold by fold: after each fold the rule judges all candidates that
are left, by their results on the folds so far. Reported are

- *drops*, by reason, and how many of the final best three are among them;
- *saved*, the share of trainings that would not have been started, and *regret*, what the best
  candidate that is left scores less than the best of all;
- the same of *the rule alone*, which knows nothing of failed trainings;
- whether the probabilities are right: of all that lie in a range, the share of candidates that end
  among the best three.

``--demo N`` trains the demo's grid (10 candidates, 11 phantom cases) with N seeds, each of which
deals other folds and gives other weights; ``--paper`` the paper's grid at 64 pixels (its depth of 5
needs a multiple of 32) and 4 epochs on 20 phantom cases. What is there is not trained again.
"""

from __future__ import annotations

import argparse
import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

import search_spaces
from gitract_core.phantom import write_phantom
from gitract_core.results.trial_result import TrialResult
from gitract_core.spec import Candidate
from orchestrator.api.options import DEMO_CASES, DEMO_SLICES
from orchestrator.results.candidate_scores import CandidateScores
from orchestrator.results.leaderboard import build_leaderboard
from orchestrator.steering.race_judgement import Judgement, chances, judge
from orchestrator.steering.race_rule import RacingRule
from orchestrator.sweeps.run_directory import SweepDirectory

KEEP = 3
EDGES = (0.0, 0.01, 0.1, 0.5, 0.9, 1.0)
PAPER_KNOBS = {"input.size": 64, "training.epochs": 4, "training.patience": 4}
Results = dict[Candidate, list[TrialResult]]


@dataclass
class Replay:
    """What a race would have done to a run.

    Attributes:
        drops: (candidate, reason) in order.
        ran: trainings started.
        said: pairs of a probability and whether the candidate ended among the best.
    """

    drops: list[tuple[Candidate, str]] = field(default_factory=list)
    ran: int = 0
    said: list[tuple[float, bool]] = field(default_factory=list)


def replay(lines: Sequence[CandidateScores], n_folds: int, *, alone: bool) -> Replay:
    """Replay a race on complete candidates, best first; ``alone`` by the rule alone."""
    found, rule = Replay(), RacingRule(KEEP)
    best = {line.candidate for line in lines[:KEEP]}
    left = {line.candidate: line.finished[:n_folds] for line in lines}
    for done in range(1, n_folds + 1):
        found.ran += len(left)
        if done == n_folds:
            return found
        so_far = {candidate: results[:done] for candidate, results in left.items()}
        judged = _by_rule(so_far, rule, n_folds) if alone else judge(so_far, rule, n_folds)
        for candidate, judgement in judged.items():
            if judgement.probability == judgement.probability:
                found.said.append((judgement.probability, candidate in best))
            if judgement.dropped:
                found.drops.append((candidate, _kind(judgement.reason)))
                del left[candidate]
    return found


def _by_rule(results: Results, rule: RacingRule, n_folds: int) -> dict[Candidate, Judgement]:
    found = chances(results, rule, n_folds).tolist()
    pairs = zip(results, found, strict=True)
    return {c: Judgement(chance, chance < rule.threshold, "worse") for c, chance in pairs}


def _kind(reason: str) -> str:
    if reason == "segments nothing":
        return "segments nothing"
    return "failed trainings" if "trainings failed" in reason else "worse"


def row(name: str, run: Path, *, alone: bool) -> tuple[str, Replay]:
    """One line of the table."""
    board = build_leaderboard(SweepDirectory.existing(run))
    if len(board.ranked) <= KEEP:
        raise SystemExit(f"{run}: expected more than {KEEP} ranked candidates; finish the sweep")
    lines, folds = board.ranked, board.record.n_folds
    found = replay(lines, folds, alone=alone)
    gone = {candidate for candidate, _ in found.drops}
    lost = sum(line.candidate in gone for line in lines[:KEEP])
    regret = lines[0].mean() - next(c.mean() for c in lines if c.candidate not in gone)
    kinds = Counter(kind for _, kind in found.drops)
    reasons = ", ".join(f"{count} {kind}" for kind, count in kinds.items()) or "none"
    saved = 1 - found.ran / (len(lines) * folds)
    text = f"| {name} | {len(lines)} | {lines[0].mean():.4f} | {reasons} | {lost} of {KEEP} | "
    return f"{text}{100 * saved:.0f} % | {regret:.4f} |", found


def table(runs: Sequence[Path], *, alone: bool) -> tuple[list[str], list[Replay]]:
    """A line a run."""
    lines = ["| run | candidates | best score | drops | of the best three | saved | regret |"]
    lines += ["|---|---:|---:|---|---:|---:|---:|"]
    replays = []
    for run in runs:
        text, found = row(run.parent.name if run.name == "run" else run.name, run, alone=alone)
        lines.append(text)
        replays.append(found)
    return lines, replays


def calibration(said: Iterable[tuple[float, bool]]) -> list[str]:
    """Whether probabilities are right, range by range."""
    values = np.array(list(said), float)
    lines = ["| probability | decisions | its mean | ended among the best three |"]
    lines += ["|---|---:|---:|---:|"]
    for low, high in itertools.pairwise(EDGES):
        last = high == EDGES[-1]
        inside = (values[:, 0] >= low) & ((values[:, 0] <= high) if last else (values[:, 0] < high))
        part = values[inside]
        if len(part):
            mean, share = part.mean(axis=0)
            lines.append(f"| {low:g} to {high:g} | {len(part)} | {mean:.3f} | {share:.3f} |")
    return lines


def report(runs: Sequence[Path]) -> str:
    """The page."""
    parts = ["# The race, replayed on finished sweeps", ""]
    for alone in (False, True):
        lines, found = table(runs, alone=alone)
        ran = sum(one.ran for one in found)
        drops = sum(len(one.drops) for one in found)
        parts += ["## The rule alone" if alone else "## As it is", "", *lines, ""]
        parts += [f"{len(runs)} sweep{'s' * (len(runs) > 1)}, {drops} drops, {ran} trainings.", ""]
        parts += [*calibration(pair for one in found for pair in one.said), ""]
    return "\n".join(parts)


def _space(name: str, **knobs: Any) -> dict[str, Any]:
    file = Path(search_spaces.__file__).parent / f"{name}.yaml"
    values: dict[str, Any] = yaml.safe_load(file.read_text())
    return {**values, "name": name, **knobs}


def made(work: Path, demo: int, *, paper: bool) -> list[Path]:
    """Train what is missing; the run directories."""
    from orchestrator.api.sweeping import sweep

    runs = []
    if demo:
        data = work / "demo-data"
        write_phantom(data, cases=DEMO_CASES, slices_per_scan=DEMO_SLICES)
        for seed in range(demo):
            runs.append(work / f"demo-{seed}")
            sweep(data, _space("demo", seed=seed), runs[-1], local=True, tensorboard=False)
    if paper:
        data = work / "paper-data"
        write_phantom(data, cases=20, slices_per_scan=16)
        runs.append(work / "paper")
        sweep(data, _space("paper"), runs[-1], local=True, tensorboard=False, knobs=PAPER_KNOBS)
    return runs


def main() -> None:
    """Train if asked to, replay, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="*", type=Path, help="finished sweeps")
    parser.add_argument("--demo", type=int, default=0, help="seeds of the demo's grid")
    parser.add_argument("--paper", action="store_true", help="the paper's grid, small")
    parser.add_argument("--work", type=Path, default=Path("work/race_replay"))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    text = report([*options.runs, *made(options.work, options.demo, paper=options.paper)])
    print(text)
    if options.out:
        options.out.write_text(text)


if __name__ == "__main__":
    main()
