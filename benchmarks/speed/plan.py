"""Claim: the time that ``gitract-cv plan`` foretells for the demo is within 25 % of the truth.

Makes the demo's phantom, asks ``plan --local``, runs the same sweep with ``--local`` and compares
the plan with the wall time of the whole command, in a folder and with a cache of its own.

    python -m benchmarks.speed.plan --out benchmarks/results/plan.md
    python -m benchmarks.speed.plan --space two.yaml --folds 2        # a smaller one

Both run after one another: on a machine whose load changes in between, the ratio says little. The
load is printed beside it. ``--out`` adds a row to the page; remove the page to begin anew.
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

HEAD = (
    "| trials | plan, s | truth, s | plan / truth | planning took, s | processors, slots "
    "| load before, between, after |\n|---|---|---|---|---|---|---|\n"
)


def command(home: Path, *arguments: str) -> tuple[str, float]:
    """Standard output, and wall seconds."""
    code = "from orchestrator.cli import main; main()"
    root = str(Path(__file__).resolve().parent.parent.parent)
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


def with_row(page: str, row: str) -> str:
    """The page with one more row at the end of its first table."""
    table, _, rest = page.partition("|\n\n")
    table = table.removesuffix("|\n")
    return f"{table}|\n{row}\n" + (f"\n{rest}" if rest else "")


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
    row = (
        f"| {plan['trials']} | {plan['seconds']:.1f} | {truth:.1f} | {plan['seconds'] / truth:.2f} "
        f"| {asked:.1f} | {os.cpu_count()}, {plan['slots']['count']} "
        f"| {', '.join(f'{x:.1f}' for x in load)} |"
    )
    print(HEAD + row)
    if given.out:
        fresh = f"# What plan foretells for `{named.stem}`\n\n{HEAD}"
        page = given.out.read_text() if given.out.is_file() else fresh
        given.out.write_text(with_row(page, row))


if __name__ == "__main__":
    main()
