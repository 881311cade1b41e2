"""What the benchmarks share: turns, medians, the line about the machine, tables, verdicts, --out.

A benchmark runs its variants in turns within one process, so that a noisy machine is noisy to all,
and claims ratios of medians. Each target is printed with the side on which the ratio came out.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypeVar

Run = Callable[[], object]
T = TypeVar("T")


def seconds(run: Run) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def medians(runs: Mapping[str, Run], rounds: int, warm_up: int = 1) -> dict[str, float]:
    """Median seconds of each run; all take turns, and the first ``warm_up`` turns do not count."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(warm_up + rounds):
        for name, run in runs.items():
            value = seconds(run)
            if turn >= warm_up:
                times[name].append(value)
    return {name: statistics.median(values) for name, values in times.items()}


def peers(makers: Iterable[Callable[[], dict[str, T]]]) -> tuple[dict[str, T], list[str]]:
    """What can be made of the peers that can be imported, and a line on each that cannot."""
    runs: dict[str, T] = {}
    lines = []
    for maker in makers:
        try:
            runs.update(maker())
        except ImportError as absent:
            lines.append(f"Skipped {maker.__name__}: not installed here ({absent}).")
    return runs, lines


def parser(description: str, rounds: int, threads: int | None = None) -> argparse.ArgumentParser:
    """A parser with ``--rounds``, ``--out`` and, where it matters, ``--threads``."""
    made = argparse.ArgumentParser(description=description.splitlines()[0])
    made.add_argument("--rounds", type=int, default=rounds)
    made.add_argument("--out", type=Path, help="also write the Markdown to this file")
    if threads is not None:
        made.add_argument("--threads", type=int, default=threads)
    return made


def machine(*packages: str) -> str:
    """One line: processor, cores, how busy they were, versions."""
    parts = [f"{processor()}, {os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}"]
    parts.append("Python " + sys.version.split()[0])
    for package in packages:
        try:
            parts.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return ", ".join(parts) + "."


def processor() -> str:
    """The processor's own name and the instructions that decide how fast it multiplies."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return "processor unknown"
    facts = dict(map(_fact, lines))
    known = [flag for flag in ("avx512_bf16", "amx_bf16") if flag in facts.get("flags", "").split()]
    return facts.get("model name", "processor unknown") + (
        f" ({', '.join(known)})" if known else ""
    )


def _fact(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name.strip(), value.strip()


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table, its first column to the left and the others to the right."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def at_least(what: str, value: float, target: float) -> str:
    """A sentence on a target from below: ``what: 3.1, target at least 3: met``."""
    return _verdict(what, value, f"at least {target:g}", value >= target)


def at_most(what: str, value: float, target: float) -> str:
    """A sentence on a target from above."""
    return _verdict(what, value, f"at most {target:g}", value <= target)


def _verdict(what: str, value: float, target: str, met: bool) -> str:
    return f"- {what}: {value:.3g}, target {target}: {'met' if met else '**missed**'}"


def publish(title: str, parts: Iterable[str], out: Path | None) -> None:
    """Print a Markdown page, and write it where ``--out`` says."""
    text = "\n\n".join([f"# {title}", *(part for part in parts if part)]) + "\n"
    print(text)
    if out:
        out.write_text(text)
