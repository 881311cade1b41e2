"""What does it cost to choose the epoch without the patients that are scored?

Trains a candidate on the demo's phantom under five settings, on every fold, and judges all of
them by scores that no choice flatters:

- ``held_out`` by the cross-fitted score (epochs that the other folds choose), with the announced
  one beside it;
- ``last`` by the last epoch of the same trainings (their weights pass through the same epochs);
- ``inner``, which trains on a fifth fewer patients, as it is.

    python -m benchmarks.studies.epoch_choice --out benchmarks/results/epoch_choice.md

The page is written after each fold, from the second on. With ``--run`` an interrupted study goes on
where it stopped.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.measuring import machine, parser, publish, table
from gitract_core.device import Runtime
from gitract_core.phantom import write_phantom
from gitract_core.results.epoch_sums import EpochSums
from gitract_core.results.trial_result import TrialResult
from gitract_core.spec import Candidate, TrialSpec
from gitract_core.trial.run import run_trial
from orchestrator.api.options import DEMO_CASES, DEMO_SLICES
from orchestrator.results.epoch_choice import at_epoch, epoch_of_the_others
from orchestrator.sweeps.preparation import PreparedSweep, SweepRequest, prepare
from search_spaces import load_space
from search_spaces.loader import SearchSpace

EPOCHS = 20
LOSSES = ("bce",)
SETTINGS: Mapping[str, Mapping[str, object]] = {
    "constant rate": {},
    "cosine": {"optimizer.schedule": "cosine"},
    "cosine, ema": {"optimizer.schedule": "cosine", "training.ema": 0.98},
    "inner, constant rate": {"training.keep": "inner"},
    "inner, cosine": {"training.keep": "inner", "optimizer.schedule": "cosine"},
}


@dataclass(frozen=True)
class Judged:
    """A setting's scores by loss and fold, float (losses, folds)."""

    announced: np.ndarray
    unflattered: np.ndarray


def space() -> SearchSpace:
    """The demo's first network, longer."""
    base = load_space("demo").candidates[0].knobs()
    long = {**base, "training.epochs": EPOCHS, "training.patience": EPOCHS}
    changes = [{"loss": loss, **knobs} for loss in LOSSES for knobs in SETTINGS.values()]
    candidates = tuple(Candidate.from_knobs({**long, **change}) for change in changes)
    return SearchSpace("epoch_choice", "", candidates, 5, 0)


def specs_of(sweep: PreparedSweep, loss: str, setting: str) -> list[TrialSpec]:
    """The trials of a loss under a setting, by fold."""
    knobs = {"training.keep": "held_out", "optimizer.schedule": "constant", "training.ema": 0.0}
    wanted = {**knobs, **SETTINGS[setting], "loss": loss}
    found = [
        spec
        for spec in sweep.specs
        if all(spec.candidate.knobs()[name] == value for name, value in wanted.items())
    ]
    return sorted(found, key=lambda spec: spec.fold)


def finished(sweep: PreparedSweep, fold: int) -> bool:
    """Whether every trial of a fold has its result."""
    mine = [spec for spec in sweep.specs if spec.fold == fold]
    return all(sweep.directory.trial(spec).result.is_file() for spec in mine)


def score(result: TrialResult) -> float:
    """The trial's competition score."""
    return float(result.scores["score"])


def judge(sweep: PreparedSweep, setting: str, folds: Sequence[int]) -> dict[str, Judged]:
    """The scores of a setting, and of its last epoch."""
    rows: dict[str, list[list[float]]] = {"announced": [], "others": [], "last": []}
    for loss in LOSSES:
        specs = [specs_of(sweep, loss, setting)[fold] for fold in folds]
        results = [TrialResult.load(sweep.directory.trial(s).result) for s in specs]
        rows["announced"].append([score(r) for r in results])
        if setting.startswith("inner"):
            continue
        sums = [EpochSums.load(sweep.directory.trial(s).epochs) for s in specs]
        curves = [one.monitored for one in sums]
        chosen = [
            epoch_of_the_others([c for n, c in enumerate(curves) if n != place], EPOCHS)
            for place in range(len(curves))
        ]
        pairs = list(zip(results, sums, strict=True))
        at = zip(pairs, chosen, strict=True)
        rows["others"].append([score(at_epoch(r, s, epoch)) for (r, s), epoch in at])
        rows["last"].append([score(at_epoch(r, s, EPOCHS)) for r, s in pairs])
    announced = np.array(rows["announced"])
    if setting.startswith("inner"):
        return {setting: Judged(announced, announced)}
    last = np.array(rows["last"])
    return {
        f"held_out, {setting}": Judged(announced, np.array(rows["others"])),
        f"last, {setting}": Judged(last, last),
    }


def page(sweep: PreparedSweep, folds: Sequence[int]) -> list[str]:
    """Table and words on the folds that every setting has."""
    found: dict[str, Judged] = {}
    for setting in SETTINGS:
        found |= judge(sweep, setting, folds)
    first = found["held_out, constant rate"].unflattered
    rows = []
    for name, one in found.items():
        differences = (one.unflattered - first).ravel()
        error = differences.std(ddof=1) / np.sqrt(len(differences))
        flattered = one.announced.mean() - one.unflattered.mean()
        cells = (one.announced.mean(), one.unflattered.mean())
        worst = one.unflattered.min()
        gain = f"{differences.mean():+.4f} ± {error:.4f}" if differences.any() else ""
        figures = (f"{v:.4f}" for v in (*cells, flattered, worst))
        rows.append([name, *figures, gain])
    header = ["keep, rate", "announced", "not flattered", "flattered by", "worst fold"]
    losses = " and ".join(LOSSES)
    text = (
        f"{DEMO_CASES} phantom patients, {len(folds)} of 5 folds, loss {losses}, {EPOCHS} epochs, "
        "32 x 32 pixels. The last column: not flattered, less that of the first row, with its "
        "standard error over folds."
    )
    return [machine("torch", "numpy"), text, table([*header, "less the first"], rows)]


def main() -> None:
    made = parser(__doc__ or "", rounds=1)
    made.add_argument("--run", type=Path, help="where trials are kept, to go on later")
    options = made.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        home = options.run or Path(scratch)
        write_phantom(home / "phantom", cases=DEMO_CASES, slices_per_scan=DEMO_SLICES)
        sweep = prepare(SweepRequest(home / "phantom", space(), home / "run"))
        for spec in sorted(sweep.specs, key=lambda s: s.fold):
            run_trial(spec, sweep.data, sweep.directory.trials / spec.key, runtime=Runtime("cpu"))
            if finished(sweep, spec.fold) and spec.fold:
                publish("Who chooses the epoch", page(sweep, range(spec.fold + 1)), options.out)


if __name__ == "__main__":
    main()
