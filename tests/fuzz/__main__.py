"""Coverage-guided fuzzing of a parser: ``python -m tests.fuzz rle --runs 200000``.

Needs ``pip install 'gitract-cv[fuzz]'`` (atheris: libFuzzer for Python). A crash, an input that
takes more than ``SECONDS_AN_INPUT``, or memory beyond ``MOST_MIB`` ends the run, and the input is
written to the working directory. New inputs that reach new code are kept in a folder of the
system's for temporary files; ``--keep`` adds the shortest of them to the corpus here.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
SECONDS_AN_INPUT = 5
MOST_MIB = 2048
LONGEST_BYTES = 600
MOST_CORPUS_BYTES, MOST_KEPT = 30_000, 60


def main() -> int:
    """Start the fuzzer in a process of its own and print one line of what it did."""
    ask = argparse.ArgumentParser(prog="python -m tests.fuzz")
    ask.add_argument("parser", choices=sorted(p.name for p in (HERE / "corpus").iterdir()))
    ask.add_argument("--runs", type=int, default=200_000)
    ask.add_argument("--seed", type=int, default=1)
    ask.add_argument("--keep", action="store_true", help="add what was found to the corpus")
    told = ask.parse_args()
    corpus = HERE / "corpus" / told.parser
    with tempfile.TemporaryDirectory(prefix="gitract-fuzz-") as found:
        start = time.monotonic()
        code, said = _fuzz(told.parser, [found, str(corpus)], told.runs, told.seed)
        print(_summary(told.parser, said, time.monotonic() - start, code))
        if told.keep and code == 0:
            _keep(Path(found), corpus)
    return code


def _fuzz(parser: str, folders: list[str], runs: int, seed: int) -> tuple[int, str]:
    limits = [f"-timeout={SECONDS_AN_INPUT}", f"-rss_limit_mb={MOST_MIB}"]
    limits += [
        f"-max_len={LONGEST_BYTES}",
        f"-seed={seed}",
        f"-runs={runs}",
        "-use_value_profile=0",
    ]
    command = [sys.executable, "-m", "tests.fuzz.target", parser, *limits, *folders]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    lines = []
    assert process.stdout
    for raw in process.stdout:
        line = raw.decode(errors="replace")
        lines.append(line)
        if not line.startswith("#"):
            sys.stderr.write(line)
    return process.wait(), "".join(lines)


def _summary(parser: str, said: str, seconds: float, code: int) -> str:
    """Inputs, seconds and memory from libFuzzer's own lines."""
    rss = [int(n) for n in re.findall(r"rss: (\d+)Mb", said)]
    done = re.findall(r"^#(\d+)\s", said, re.MULTILINE)
    begin = re.search(r"INITED .*rss: (\d+)Mb", said)
    first = begin[1] if begin else (rss[0] if rss else "?")
    counts = f"{done[-1] if done else 0} inputs, {seconds:.0f} s"
    memory = f"RSS {first} -> {rss[-1] if rss else '?'} MiB"
    return f"{parser}: {counts}, {memory}, {'no finding' if code == 0 else f'exit {code}'}"


def _keep(found: Path, corpus: Path) -> None:
    """Add the shortest of what reached new code; libFuzzer has shortened each already."""
    left = MOST_CORPUS_BYTES - sum(file.stat().st_size for file in corpus.iterdir())
    for file in sorted(found.iterdir(), key=lambda f: (f.stat().st_size, f.name))[:MOST_KEPT]:
        left -= file.stat().st_size
        if left < 0:
            return
        shutil.copyfile(file, corpus / file.name[:12])


if __name__ == "__main__":
    sys.exit(main())
