"""How many single-line changes of the code the tests notice.

    python -m benchmarks.studies.mutants --count 330 --workers 2
    python -m benchmarks.studies.mutants --files "orchestrator/statistics/*.py" --count 20

Mutants are drawn by a seed, in turn from every group of files and each kind of change
(``mutant_sites``). Each is put before the tests that run its line, the quickest file first, until
one fails (``mutant_tests``); no file is changed on the disk. Which test runs which line is measured
once, one test file after another, and again only where a file has changed.

Verdicts are appended to ``--record``; a run goes on from there, and judges anew what lies in a
file that has changed since. A timeout counts as caught if it happens twice. With ``--slow`` what
survived is put before the tests marked ``ray`` and ``slow`` as well. Mutants that no test can
notice, since they change nothing that can be seen, stand with the reason in
``mutants_equivalent.txt``, one a line: ``file :: line before :: line after :: reason``.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.studies.mutant_sites import GROUPS, KINDS, Mutant, draw, files_of
from benchmarks.studies.mutant_tests import (
    Case,
    Forks,
    Trial,
    noticing,
    read_map,
    values_of,
    verdict_of,
    warm_up,
)

ROOT = Path(__file__).resolve().parents[2]
EQUIVALENT = Path(__file__).with_name("mutants_equivalent.txt")
_FIRST_FILES = 3  # most mutants are caught by these, and the others need not be loaded
_MAP_SECONDS = 1800.0  # of a test file


def main() -> None:
    """Run as said on the command line."""
    options = _options()
    groups = _groups(options)
    mutants = draw(ROOT, groups, options.count, options.seed)
    warm_up()
    forks = Forks(ROOT, options.workers)
    try:
        files = sorted({file for some in files_of(ROOT, groups).values() for file in some})
        tests = _test_files(options.tests, files)
        cases = read_map(forks, files, tests, options.map, _MAP_SECONDS)
        record = Record(options.record)
        judge(forks, mutants, cases, record, slow=False)
        if options.slow:
            judge(forks, mutants, cases, record, slow=True)
    finally:
        forks.close()
    print(report(mutants, record.verdicts, _equivalent(EQUIVALENT)))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=330, help="mutants")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--groups", type=Path, help="JSON file, group -> globs of its files")
    parser.add_argument("--files", nargs="+", help="globs of one group, in the place of all others")
    parser.add_argument("--tests", nargs="+", default=["tests/**/test_*.py"], help="globs")
    parser.add_argument("--slow", action="store_true", help="also tests marked ray and slow")
    parser.add_argument("--record", type=Path, default=ROOT / "build" / "mutants.jsonl")
    parser.add_argument("--map", type=Path, default=ROOT / "build" / "mutants-map")
    return parser.parse_args()


def _groups(options: argparse.Namespace) -> dict[str, tuple[str, ...]]:
    if options.files:
        return {"files": tuple(options.files)}
    if options.groups:
        read = json.loads(options.groups.read_text(encoding="utf-8"))
        return {name: tuple(globs) for name, globs in read.items()}
    return GROUPS


def _test_files(globs: Iterable[str], files: Sequence[str]) -> list[str]:
    """Test files, and the sources that have examples in docstrings."""
    found = {path.relative_to(ROOT).as_posix() for glob in globs for path in ROOT.glob(glob)}
    return sorted(found) + [f for f in files if ">>> " in (ROOT / f).read_text(encoding="utf-8")]


class Record:
    """Verdicts by the mutant's id, one a line of a file.

    Args:
        path: the file; what it holds counts.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.verdicts: dict[str, str] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            for line in path.read_text(encoding="utf-8").splitlines():
                values = json.loads(line)
                self.verdicts[values["id"]] = values["verdict"]

    def add(self, mutant: Mutant, verdict: str, seconds: float) -> None:
        """Append one verdict; the last one of a mutant counts."""
        self.verdicts[mutant.id] = verdict
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(values_of(mutant, verdict, seconds)) + "\n")


def judge(
    forks: Forks, mutants: Sequence[Mutant], cases: Sequence[Case], record: Record, *, slow: bool
) -> None:
    """Put mutants before their tests: those without a verdict, or those that survived so far.

    Args:
        forks: where tests run.
        mutants: all of them.
        cases: all tests.
        record: of verdicts.
        slow: the tests marked so, for ``survived`` (then ``survived slow``), or all others.
    """
    waiting = []
    for mutant in mutants:
        known = record.verdicts.get(mutant.id)
        if known is None or (slow and known in ("survived", "untested")):
            chosen = noticing(mutant, cases, slow=slow)
            if chosen:
                waiting.append((mutant, _parts(chosen)))
            elif not slow:
                record.verdicts[mutant.id] = "untested"  # and not written: a test may come
    survived = "survived slow" if slow else "survived"
    while waiting:  # once, and again for those with tests left
        trials = [Trial(mutant, parts[0]) for mutant, parts in waiting]
        later = {mutant.id: parts[1:] for mutant, parts in waiting}
        verdicts = _run(forks, trials, _print_verdict)
        waiting = []
        for mutant, verdict, seconds in verdicts:
            if verdict == "survived" and later[mutant.id]:
                waiting.append((mutant, later[mutant.id]))
            else:
                record.add(mutant, survived if verdict == "survived" else verdict, seconds)


Verdict = tuple[Mutant, str, float]


def _run(
    forks: Forks, trials: Sequence[Trial], on_verdict: Callable[[Verdict], None]
) -> list[Verdict]:
    """Verdicts of all trials; one that takes too long is run again."""
    began: dict[str, float] = {}
    found: list[Verdict] = []

    def work(trial: Trial, folder: Path) -> int:
        return trial.run(forks.root, folder)

    def limit(trial: Trial) -> float:
        began[trial.mutant.id] = time.monotonic()
        return trial.limit

    again: list[Trial] = []
    for first in (True, False):
        for trial, status, folder in forks.run(trials if first else again, work, limit):
            verdict = verdict_of(status, folder)
            if verdict == "timeout" and first:
                again.append(trial)
                continue
            verdict = "caught" if verdict == "timeout" else verdict
            seconds = time.monotonic() - began[trial.mutant.id]
            found.append((trial.mutant, verdict, seconds))
            on_verdict(found[-1])
    return found


def _print_verdict(verdict: Verdict) -> None:
    mutant, word, seconds = verdict
    print(f"{word} {seconds:.1f} s {shown(mutant)}", flush=True)


def _parts(cases: Sequence[Case]) -> list[tuple[Case, ...]]:
    """The tests of the first files, and all others."""
    files = list(dict.fromkeys(case.file for case in cases))[:_FIRST_FILES]
    first = tuple(case for case in cases if case.file in files)
    others = tuple(case for case in cases if case.file not in files)
    return [first, others] if others else [first]


def _equivalent(path: Path) -> dict[tuple[str, str, str], str]:
    """File, line before and line after -> why no test can tell them apart."""
    found = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        if line.strip() and not line.startswith("#"):
            file, before, after, reason = (part.strip() for part in line.split(" :: "))
            found[file, before, after] = reason
    return found


def shown(mutant: Mutant) -> str:
    """``file:line before -> after``."""
    return f"{mutant.file}:{mutant.line} {mutant.before} -> {mutant.after}"


def report(
    mutants: Sequence[Mutant],
    verdicts: dict[str, str],
    equivalent: dict[tuple[str, str, str], str],
) -> str:
    """Counts by kind and by group, and the survivors."""
    words: list[tuple[Mutant, str]] = []
    for mutant in mutants:
        word = verdicts.get(mutant.id, "no verdict").split()[0]
        word = "survived" if word == "untested" else word
        if word == "survived" and (mutant.file, mutant.before, mutant.after) in equivalent:
            word = "equivalent"
        words.append((mutant, word))
    lines = [f"{len(words)} mutants: {_counts(word for _, word in words)}"]
    for name, of in (("kind", KINDS), ("group", dict.fromkeys(m.group for m in mutants))):
        for one in of:
            some = [word for mutant, word in words if getattr(mutant, name) == one]
            lines.append(f"  {one:12} {_counts(some)}")
    for title in ("survived", "equivalent", "error"):
        some = [mutant for mutant, word in words if word == title]
        lines += (
            [f"{title}:", *(_line(m, verdicts[m.id], equivalent) for m in some)] if some else []
        )
    return "\n".join(lines)


def _line(mutant: Mutant, verdict: str, equivalent: dict[tuple[str, str, str], str]) -> str:
    why = equivalent.get((mutant.file, mutant.before, mutant.after), "")
    note = "no test runs it" if verdict == "untested" else why or verdict.partition("error ")[2]
    return f"  {mutant.kind}: {shown(mutant)}" + (f"  ({note})" if note else "")


def _counts(words: Iterable[str]) -> str:
    counts: Counter[str] = Counter(words)
    judged = counts["caught"] + counts["survived"]
    share: Any = f", {counts['caught'] / judged:.1%} caught" if judged else ""
    return ", ".join(f"{n} {word}" for word, n in sorted(counts.items())) + share


if __name__ == "__main__":
    main()
