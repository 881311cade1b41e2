"""Claim: this checkout is as fast and as small as an earlier commit, within 3 %.

    python benchmarks/speed/against.py --rounds 10 --out benchmarks/results/against.md

The earlier commit (``--commit``) is checked out into a temporary folder. Both sides run on the same
phantom of three organs, in turns, every stage in a fresh process of its own side (``PYTHONPATH``),
on one processor with one thread; which side is first changes from round to round. Stages:

- cache: index and cache of the training scans, built anew;
- training: an epoch of a trial with its validation, the first left out (``history.csv``);
- scoring: the rest of a trial (set-up, prediction and scoring of its fold; ``result.json``);
- report: ``gitract-cv report`` of that run;
- prediction: ``gitract-cv predict`` of the test scans with an ensemble of that run.

Time is wall time without the start of Python and its imports (of cache, report and prediction the
least of five times in the process), memory the largest resident set of
the process that does the work. A stage's figure is the median over the rounds of the ratio this
checkout / earlier commit, with its 95 % interval (bootstrap of the rounds' ratios). Exit code 1 if
an interval lies wholly above ``--limit``, else 0.

What the script uses of a side must be there on both: the command line, ``history.csv`` and
``result.json``, and by name alone, in whichever module they stand, ``SliceIndex.from_directory``
and ``build_cache(index, size)``.
"""

from __future__ import annotations

import argparse
import compileall
import contextlib
import csv
import importlib
import json
import os
import pkgutil
import re
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
COMMIT = "5b7b8ca"
PACKAGES = ("gitract_core", "search_spaces", "orchestrator")
SIZE, RESAMPLES, REPEATS = 64, 10_000, 5
ONCE = ("phantom", "sweep", "ensemble")  # commands that are not timed themselves
SPACE = f"""
folds: 2
loss: bce + dice
network: {{widths: "8,16,32", depth: 2}}
input: {{size: {SIZE}, channels: 1}}
optimizer: {{batch_size: 4, learning_rate: 0.01}}
training: {{epochs: 4, patience: 100, precision: fp32}}
"""
Figures = dict[str, dict[str, float]]
"""For each stage ``seconds`` and, where it has one of its own, ``mib``."""


@dataclass(frozen=True)
class Side:
    """A checkout, and the folder that its runs are written to."""

    name: str
    checkout: Path
    home: Path

    def stage(self, *arguments: object) -> dict[str, float]:
        """Run a stage in a fresh process; what it measured of itself."""
        command = [sys.executable, str(Path(__file__).resolve()), "--stage", *map(str, arguments)]
        done = subprocess.run(
            command, cwd=self.home, env=self.environment(), capture_output=True, text=True
        )
        if done.returncode:
            sys.exit(f"{self.name}, {' '.join(command)}:\n{done.stdout}{done.stderr}")
        figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        return figures

    def environment(self) -> dict[str, str]:
        """Of this side's processes: its own modules and cache, no traffic."""
        return {
            **os.environ,
            "PYTHONPATH": str(self.checkout),
            "PYTHONDONTWRITEBYTECODE": "1",
            "GITRACT_CACHE": str(self.home / "cache"),
            "RAY_USAGE_STATS_ENABLED": "0",
            "OMP_NUM_THREADS": "1",
        }

    def round(self, data: Path, space: Path) -> Figures:
        """All stages once, from nothing."""
        shutil.rmtree(self.home, ignore_errors=True)
        self.home.mkdir()
        figures = {"cache": self.stage("cache", data)}
        place = ("--data", data, "--space", space, "--out", "run", "--no-tensorboard")
        self.stage("command", "sweep", "--local", *place, "--cpus-per-trial", 1)
        figures |= trials(self.home / "run")
        figures["report"] = self.stage("command", "report", "run")
        self.stage("command", "ensemble", "run", "--top", 1, "--device", "cpu")
        (members,) = self.home.glob("run/ensembles/*/members.json")
        scans = ("--images", data / "test", "--out", "new.csv", "--device", "cpu")
        figures["prediction"] = self.stage("command", "predict", members, *scans)
        return figures


def trials(run: Path) -> Figures:
    """What the trials of a run tell of themselves, in all."""
    epochs, rest, peaks = [], [], []
    for file in sorted(run.glob("trials/*/result.json")):
        cost = json.loads(file.read_text())["cost"]
        with (file.parent / "history.csv").open(newline="") as rows:
            epochs += [float(row["seconds"]) for row in csv.DictReader(rows)][1:]
        rest.append(cost["last_attempt_seconds"] - cost["seconds"])
        peaks.append(cost["peak_memory_bytes"] / 2**20)
    if not rest:
        sys.exit(f"{run}: no trial was finished")
    return {
        "training": {"seconds": statistics.median(epochs), "mib": max(peaks)},
        "scoring": {"seconds": statistics.median(rest)},
    }


def run_stage(name: str, arguments: list[str]) -> None:
    """In a side's own process: do the work and print seconds and MiB as the last line."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-1:])
    side = Path(os.environ["PYTHONPATH"]).resolve()
    load_all(side)
    index_type, build, times = find(side, "SliceIndex"), find(side, "build_cache"), []
    for _ in range(1 if arguments[0] in ONCE else REPEATS):
        shutil.rmtree("fresh", ignore_errors=True)
        start = time.perf_counter()
        if name == "cache":
            os.environ["GITRACT_CACHE"] = "fresh"
            build(index_type.from_directory(Path(arguments[0])), SIZE)
        else:
            command(arguments)
        times.append(time.perf_counter() - start)
    seconds = min(times)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print("\n" + json.dumps({"seconds": seconds, "mib": peak}))


def command(arguments: list[str]) -> None:
    """``gitract-cv`` in this process."""
    sys.argv = ["gitract-cv", *arguments]
    try:
        importlib.import_module("orchestrator.cli").main()
    except SystemExit as end:
        if end.code not in (None, 0, 1):  # 1: masks so soon may all be empty
            raise


def load_all(side: Path) -> None:
    """Import what a command may need before the clock starts, and make sure whose it is."""
    for package in PACKAGES:
        module = importlib.import_module(package)
        if side not in Path(str(module.__file__)).resolve().parents:
            sys.exit(f"{package}: expected one in {side}, got {module.__file__}")
    for package in PACKAGES:
        for found in pkgutil.walk_packages([str(side / package)], f"{package}."):
            if "ray" not in found.name and not found.name.endswith("__main__"):
                with contextlib.suppress(ImportError):  # an optional package
                    importlib.import_module(found.name)


def find(side: Path, name: str) -> Any:
    """The function or class of that name, wherever it is defined in ``gitract_core``."""
    pattern = re.compile(rf"^(def|class) {name}\b", re.MULTILINE)
    for file in sorted((side / "gitract_core").rglob("*.py")):
        if pattern.search(file.read_text(encoding="utf-8")):
            parts = file.relative_to(side).with_suffix("").parts
            return getattr(importlib.import_module(".".join(parts)), name)
    sys.exit(f"{side}: expected a definition of {name}, got none")


@contextlib.contextmanager
def checked_out(commit: str, folder: Path) -> Iterator[Path]:
    """The commit as a worktree of this repository, until the end of the block."""
    git = ["git", "-C", str(ROOT), "worktree"]
    subprocess.run([*git, "add", "--quiet", "--detach", str(folder), commit], check=True)
    try:
        yield folder
    finally:
        subprocess.run([*git, "remove", "--force", str(folder)], check=False)


def interval(ratios: list[float]) -> tuple[float, float, float]:
    """Median, and the ends of its 95 % interval over resampled rounds."""
    values = np.array(ratios)
    drawn = np.random.default_rng(0).choice(values, (RESAMPLES, len(values)))
    low, high = np.quantile(np.median(drawn, axis=1), (0.025, 0.975))
    return float(np.median(values)), float(low), float(high)


def compare(old: list[Figures], new: list[Figures], limit: float) -> tuple[list[str], list[str]]:
    """The lines of the table, and the stages that are worse than the limit."""
    lines = ["| stage | earlier | this | this / earlier | 95 % interval |", "|---|--:|--:|--:|--:|"]
    worse = []
    for stage, measured in old[0].items():
        for unit in measured:
            before, after = ([r[stage][unit] for r in rounds] for rounds in (old, new))
            ratio, low, high = interval([a / b for a, b in zip(after, before, strict=True)])
            what = f"{stage}, {'s' if unit == 'seconds' else 'MiB'}"
            values = (f"{statistics.median(v):.4g}" for v in (before, after))
            cells = (what, *values, f"{ratio:.3f}", f"{low:.3f} to {high:.3f}")
            lines.append("| " + " | ".join(cells) + " |")
            worse += [what] if low > limit else []
    return lines, worse


def main() -> None:
    reader = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    reader.add_argument("--commit", default=COMMIT, help="what to compare with")
    reader.add_argument("--checkout", type=Path, default=ROOT, help="what is compared")
    reader.add_argument("--rounds", type=int, default=10)
    reader.add_argument("--cases", type=int, default=5, help="patients of the phantom")
    reader.add_argument("--slices", type=int, default=16, help="of a scan")
    reader.add_argument("--limit", type=float, default=1.03)
    reader.add_argument("--out", type=Path, help="also write the Markdown to this file")
    options = reader.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the worktree is taken away then, too
    with (
        tempfile.TemporaryDirectory() as place,
        checked_out(options.commit, Path(place) / "earlier") as earlier,
    ):
        home, checkout = Path(place), options.checkout.resolve()
        sides = [Side("earlier", earlier, home / "old"), Side("this", checkout, home / "new")]
        for side in sides:
            side.home.mkdir()
            for package in PACKAGES:
                compileall.compile_dir(side.checkout / package, quiet=2)
        data, space = home / "data", home / "space.yaml"
        space.write_text(SPACE)
        asked = ("--cases", options.cases, "--slices", options.slices)
        sides[0].stage("command", "phantom", data, *asked)  # both sides read this one
        figures: dict[str, list[Figures]] = {side.name: [] for side in sides}
        for turn in range(options.rounds):
            for side in sides if turn % 2 == 0 else reversed(sides):
                figures[side.name].append(side.round(data, space))
            print(f"round {turn + 1}/{options.rounds}", file=sys.stderr)
    lines, worse = compare(figures["earlier"], figures["this"], options.limit)
    verdict = f"Worse than {options.limit}: {', '.join(worse) or 'nothing'}."
    about = f"{options.rounds} rounds in turns, one processor, {options.cases} patients."
    title = f"# This checkout against {options.commit}"
    text = "\n\n".join([title, about, "\n".join(lines), verdict]) + "\n"
    print(text)
    if options.out:
        options.out.write_text(text)
    sys.exit(1 if worse else 0)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--stage"]:
        run_stage(sys.argv[2], sys.argv[3:])
    else:
        main()
