"""Claim: scoring every epoch at native size makes a training at most 5 % slower.

Whole trials of the demo (its phantom, its networks, four epochs) with the scores of every epoch and
without, in turns, in one process with one thread for training. *Processor time* counts the thread
that scores too: it is what a machine pays all of whose cores train; *wall time* is what a trial
takes where a core is idle.

    python -m benchmarks.speed.epoch_scoring --out benchmarks/results/epoch_scoring.md
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from benchmarks.measuring import at_most, machine, parser, publish, table
from gitract_core.device import Runtime
from gitract_core.phantom import write_phantom
from gitract_core.trial import run as trial
from orchestrator.api.options import DEMO_CASES, DEMO_SLICES
from orchestrator.sweeps.preparation import SweepRequest, prepare
from search_spaces import load_space

CANDIDATES, TARGET = (1, 4, 8), 5.0


@contextmanager
def unwatched() -> Iterator[None]:
    """Trials train as if nobody asked for the scores of every epoch."""

    class Plain(trial.Training):
        def __init__(self, *spec: Any, scorer: object, **how: Any) -> None:
            super().__init__(*spec, **how)

    with patch.object(trial, "Training", Plain):
        yield


@contextmanager
def watched() -> Iterator[None]:
    """Trials as they are."""
    yield


def main() -> None:
    options = parser(__doc__ or "", rounds=4).parse_args()
    torch.set_num_threads(1)
    ways = {"without": unwatched, "with": watched}
    spent = {name: [0.0, 0.0] for name in ways}
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch)
        write_phantom(home / "phantom", cases=DEMO_CASES, slices_per_scan=DEMO_SLICES)
        sweep = prepare(SweepRequest(home / "phantom", load_space("demo"), home / "run"))
        chosen = [sweep.record.candidates[place] for place in CANDIDATES]
        specs = [s for s in sweep.specs if s.candidate in chosen and s.fold < options.rounds]
        trial.run_trial(specs[0], sweep.data, home / "warm", runtime=Runtime("cpu"))
        for turn, spec in enumerate(specs):
            for name in list(ways) if turn % 2 else reversed(ways):
                wall, processor = time.perf_counter(), time.process_time()
                with ways[name]():
                    place = home / name / spec.key
                    trial.run_trial(spec, sweep.data, place, runtime=Runtime("cpu"))
                spent[name][0] += time.perf_counter() - wall
                spent[name][1] += time.process_time() - processor
    more = [100 * (spent["with"][n] / spent["without"][n] - 1) for n in (0, 1)]
    rows = [[name, *(f"{v / len(specs):.2f}" for v in both)] for name, both in spent.items()]
    rows.append(["more", *(f"{value:+.1f} %" for value in more)])
    text = f"{len(specs)} trials of the demo each way, seconds a trial."
    whole = table(["scores of every epoch", "wall time", "processor time"], rows)
    verdict = at_most("more processor time, %", more[1], TARGET)
    publish(
        "Scoring every epoch",
        [machine("torch", "numpy", "scipy"), text, whole, verdict],
        options.out,
    )


if __name__ == "__main__":
    main()
