"""How many single-line changes of the code the tests notice.

    python -m benchmarks.studies.mutants --count 330 --workers 2
    python -m benchmarks.studies.mutants --files "orchestrator/statistics/*.py" --count 20

Mutants are drawn by a seed, in turn from every group of files and each kind of change
(``mutant_sites``). Each is put before the tests that run its line, the quickest file first, until
one fails (``mutant_tests``); no file is changed on the disk. Which test runs which line is measured
once (``mutant_map``), one test file after another, and again only where a file has changed.

Verdicts are appended to ``--record``; a run goes on from there, and judges anew what lies in a
file that has changed since. A timeout counts as caught if it happens twice. With ``--slow`` what
survived is put before the tests marked ``ray`` and ``slow`` as well. Mutants that no test can
notice, since they change nothing that can be seen, stand with the reason in
``mutants_equivalent.txt``, one a line: ``file :: line before :: line after :: reason``.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from benchmarks.studies.mutant_forks import LIBRARIES, Forks, warm_up
from benchmarks.studies.mutant_map import Case, noticing, read_map
from benchmarks.studies.mutant_sites import GROUPS, KINDS, Mutant, draw, files_of
from benchmarks.studies.mutant_tests import Trial, values_of, verdict_of

ROOT = Path(__file__).resolve().parents[2]
EQUIVALENT = Path(__file__).with_name("mutants_equivalent.txt")
_QUICK_SECONDS, _FIRST_SECONDS = 2.0, 8.0  # of a test, and of those that most are caught by


def main() -> None:
    """Run as said on the command line."""
    options = _options()
    groups, root = _groups(options), options.root.resolve()
    mutants = draw(root, groups, options.count, options.seed)
    warm_up(options.load)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    forks = Forks(root, options.workers)
    record = Record(options.record or root / "build" / "mutants.jsonl")
    store = options.map or root / "build" / "mutants-map"
    try:
        files = sorted({file for some in files_of(root, groups).values() for file in some})
        tests = _test_files(root, options.tests, files)
        for slow in (False, True)[: 1 + options.slow]:
            judge(
                forks, mutants, read_map(forks, files, tests, store, slow=slow), record, slow=slow
            )
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
    parser.add_argument("--record", type=Path, help="build/mutants.jsonl by default")
    parser.add_argument("--map", type=Path, help="folder, build/mutants-map by default")
    parser.add_argument("--root", type=Path, default=ROOT, help="of the repository")
    parser.add_argument("--load", nargs="*", default=LIBRARIES, help="libraries of all forks")
    return parser.parse_args()


def _groups(options: argparse.Namespace) -> dict[str, tuple[str, ...]]:
    if options.files:
        return {"files": tuple(options.files)}
    if options.groups:
        read = json.loads(options.groups.read_text(encoding="utf-8"))
        return {name: tuple(globs) for name, globs in read.items()}
    return GROUPS


def _test_files(root: Path, globs: Iterable[str], files: Sequence[str]) -> list[str]:
    """Test files, and the sources that have examples in docstrings."""
    found = {path.relative_to(root).as_posix() for glob in globs for path in root.glob(glob)}
    return sorted(found) + [f for f in files if ">>> " in (root / f).read_text(encoding="utf-8")]


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
        cases: the tests.
        record: of verdicts.
        slow: these are the tests marked so, for what survived the others.
    """
    waiting = []
    for mutant in mutants:
        known = record.verdicts.get(mutant.id)
        if known is None or (slow and known in ("survived", "untested")):
            chosen = noticing(mutant, cases)
            if chosen:
                waiting.append((mutant, _parts(chosen)))
            elif not slow:
                record.verdicts[mutant.id] = "untested"  # and not written: a test may come
    while waiting:  # once, and again for those with tests left
        later = {mutant.id: parts[1:] for mutant, parts in waiting}
        trials = [Trial(mutant, parts[0]) for mutant, parts in waiting]
        waiting = []
        for mutant, verdict, seconds in _verdicts(forks, trials):
            if verdict == "survived" and later[mutant.id]:
                waiting.append((mutant, later[mutant.id]))
                continue
            print(f"{verdict} {seconds:.1f} s {shown(mutant)}", flush=True)
            said = "survived slow" if slow and verdict == "survived" else verdict
            record.add(mutant, said, seconds)


def _verdicts(forks: Forks, trials: Sequence[Trial]) -> Iterator[tuple[Mutant, str, float]]:
    """Verdicts and seconds of all trials, as they end; one that takes too long is run again."""
    began: dict[str, float] = {}
    again: list[Trial] = []

    def work(trial: Trial, folder: Path) -> int:
        return trial.run(forks.root, folder)

    def limit(trial: Trial) -> float:
        began[trial.mutant.id] = time.monotonic()
        return trial.limit

    for first in (True, False):
        for trial, status, folder in forks.run(trials if first else again, work, limit):
            verdict = verdict_of(status, folder)
            if verdict == "timeout" and first:
                again.append(trial)
                continue
            verdict = "caught" if verdict == "timeout" else verdict
            yield trial.mutant, verdict, time.monotonic() - began[trial.mutant.id]


def _parts(cases: Sequence[Case]) -> list[tuple[Case, ...]]:
    """The quick tests of the quickest files, and all others."""
    first, seconds = [], 0.0
    for case in cases:
        if case.seconds <= _QUICK_SECONDS and seconds < _FIRST_SECONDS:
            first.append(case)
            seconds += case.setup + case.seconds
    chosen = {case.id for case in first}
    others = [case for case in cases if case.id not in chosen]
    return [tuple(part) for part in (first, others) if part]


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
            of_one = [word for mutant, word in words if getattr(mutant, name) == one]
            lines.append(f"  {one:12} {_counts(of_one)}")
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
    share = f", {counts['caught'] / judged:.1%} caught" if judged else ""
    return ", ".join(f"{n} {word}" for word, n in sorted(counts.items())) + share


if __name__ == "__main__":
    main()
