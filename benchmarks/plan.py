"""Claim: the time that ``gitract-cv plan`` foretells for the demo is within 25 % of the truth.

Makes the demo's phantom, asks ``plan --local``, runs the same sweep with ``--local`` and compares
the plan with the wall time of the whole command, in a folder and with a cache of its own.

    python benchmarks/plan.py --out benchmarks/results/plan.md
    python benchmarks/plan.py --space two.yaml --folds 2        # a smaller one

Both run after one another: on a machine whose load changes in between, the ratio says little. The
load is printed beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory


def command(home: Path, *arguments: str) -> tuple[str, float]:
    """Standard output, and wall seconds."""
    code = "from orchestrator.cli import main; main()"
    root = str(Path(__file__).resolve().parent.parent)
    env = {**os.environ, "PYTHONPATH": root, "GITRACT_CACHE": str(home / "cache")}
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=home,
        env=env,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return done.stdout, time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--space", default="demo")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    named = Path(given.space)
    space = str(named.resolve()) if named.is_file() else given.space
    options = ("--local", "--space", space, "--folds", str(given.folds), "--json")
    with TemporaryDirectory(prefix="gitract-cv-plan-") as scratch:
        home = Path(scratch)
        from gitract_core.phantom import write_phantom

        write_phantom(home / "data/phantom-demo", cases=11, slices_per_scan=16)
        load = [os.getloadavg()[0]]
        told, asked = command(home, "plan", *options)
        load.append(os.getloadavg()[0])
        _, truth = command(home, "sweep", *options)
        load.append(os.getloadavg()[0])
    plan = json.loads(told)
    text = (
        f"| trials | plan, s | truth, s | plan / truth | planning took, s |\n"
        f"|---|---|---|---|---|\n"
        f"| {plan['trials']} | {plan['seconds']:.1f} | {truth:.1f} "
        f"| {plan['seconds'] / truth:.2f} | {asked:.1f} |\n\n"
        f"{os.cpu_count()} processors, {plan['slots']['count']} slots; load average before the "
        f"plan, between and after the sweep: {', '.join(f'{x:.1f}' for x in load)}\n"
    )
    print(text)
    if given.out:
        given.out.write_text(f"# What plan foretells for `{named.stem}`\n\n{text}")


if __name__ == "__main__":
    main()
