"""Damages files of a run and of its caches at random, and looks for figures that come of it.

``python -m tests.fuzz.damaged_files --times 2000 --seed 1`` makes a small run of its own (two
candidates, two folds, an ensemble with a submission). Each time one byte of a file is changed, a
file is cut, a part of it is zeroed, or two files are exchanged, in a copy; then commands read the
copy, each in a process of its own. Every figure must be the one of the undamaged run, or the run,
the candidate or the file is refused by name. ``tests/bad_input/test_damaged_files.py`` does it a
few times.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gitract_core.errors import GitractError
from tests.support.refusing import Ended, run_cli
from tests.support.tiny_contest import write_tiny_contest
from tests.support.tiny_sweep import SPACE

CACHE = "cache"
ENSEMBLE = "run/ensembles/top1-equal"
REPORT = ("report", "run", "--json")
STATUS = ("status", "run", "--json")
PAGE = ("report", "run", "--html", "page.html")
AVERAGE = ("ensemble", "run", "--top", "1", "--json", "--device", "cpu")
AUDIT = ("audit", "run", "--top", "1", "--json", "--pictures", "0")
PREDICT = ("predict", ENSEMBLE)  # in the process itself, which takes a tenth of the time
CHECK = ("check-submission", f"{ENSEMBLE}/submission.csv", "--images", "tiny/train")
COMMANDS = (REPORT, STATUS, PAGE, AVERAGE, AUDIT, PREDICT, CHECK)
_LEFT_ALONE = (".lock", ".sweep.lock", "trial.log")
_OF_PEOPLE = ("report", "tensorboard")  # written for people; nothing reads them
_OF_NOW = ("age_seconds", "seconds_left", "at")
_OF_A_COMMAND = ("members", "submission", "files", "faults")  # where something was written


@dataclass(frozen=True)
class Damage:
    """What is done to a copy.

    Attributes:
        kind: ``byte``, ``cut``, ``zeros`` or ``exchange``.
        files: that it is done to, relative to the home folder.
        place: share of the file's length, 0 to 1.
        bits: that are flipped in a byte.
    """

    kind: str
    files: tuple[str, ...]
    place: float = 0.0
    bits: int = 1

    def apply(self, home: Path) -> bool:
        """Do it; whether anything has changed."""
        first, last = home / self.files[0], home / self.files[-1]
        old = first.read_bytes()
        if self.kind == "exchange":
            other = last.read_bytes()
            _write(first, other)
            _write(last, old)
            return old != other
        if not old:
            return False
        at, new = int(self.place * len(old)), bytearray(old)
        if self.kind == "byte":
            new[at] ^= self.bits
        elif self.kind == "cut":
            del new[at:]
        else:
            new[at : at + 512] = bytes(len(new[at : at + 512]))
        _write(first, bytes(new))
        return bytes(new) != old


def _write(file: Path, content: bytes) -> None:
    """A new file: others may be linked to the old one."""
    file.unlink()
    file.write_bytes(content)


def make_home(home: Path) -> None:
    """Data, space, run and ensemble; the cache beside them."""
    write_tiny_contest(home / "tiny")
    (home / "space.yaml").write_text(SPACE + "training: {epochs: 2}\n")
    sweep = "sweep --local --data tiny --space space.yaml --out run --cpus-per-trial 1"
    ensemble = f"{' '.join(AVERAGE)} --images tiny/train"
    for command in (f"{sweep} --no-tensorboard", ensemble):
        code = _forked(home, command.split()).code
        assert code in (0, 1), command  # 1: masks of so short a training may be empty


def files_of(home: Path) -> list[str]:
    """What may be damaged."""
    found = []
    for root in ("run", CACHE):
        for file in sorted((home / root).rglob("*")):
            parts = file.relative_to(home).parts
            if file.is_file() and file.name not in _LEFT_ALONE and parts[1] not in _OF_PEOPLE:
                found.append("/".join(parts))
    return [name for name in found if not name.rpartition("/")[2].endswith(".lock")]


def draw(random: np.random.Generator, files: list[str]) -> Damage:
    """A damage at random."""
    kind = str(random.choice(["byte", "cut", "zeros", "exchange"], p=[0.5, 0.1, 0.1, 0.3]))
    count = 2 if kind == "exchange" else 1
    chosen = tuple(files[i] for i in random.choice(len(files), count, replace=False))
    return Damage(kind, chosen, float(random.random()), 1 << int(random.integers(8)))


@dataclass(frozen=True)
class Expected:
    """What commands say of the run, and of the run without each of its candidates."""

    whole: Mapping[tuple[str, ...], Any]
    without: tuple[Mapping[tuple[str, ...], Any], ...]


def expectations(home: Path) -> Expected:
    """Run all commands on copies of an undamaged home."""
    whole = _said(home)
    rows = whole[REPORT]["leaderboard"]
    without = []
    for row in rows:
        with _copy(home) as copy:
            for file in copy.glob("run/trials/*/result.json"):
                if json.loads(file.read_text())["spec"]["candidate"]["loss"] == row["candidate"]:
                    file.unlink()
            without.append(_said(copy, (AVERAGE, AUDIT)))
    return Expected(whole, tuple(without))


def wrong_figures(home: Path, damage: Damage, expected: Expected) -> list[str]:
    """What commands say of a damaged copy that they should not, a line each."""
    found = []
    with _copy(home) as copy:
        if not damage.apply(copy):
            return []
        for command in _readers(damage):
            ended = _forked(copy, command)
            if ended.code not in (0, 1, 2) or "Traceback" in ended.err:
                found.append(f"{command[0]}: ended with {ended.code}: {ended.err[-300:]}")
            elif ended.code != 2:
                said = _values(copy, command, ended)
                found += [f"{command[0]}: {line}" for line in _differences(command, said, expected)]
    return found


_READERS: dict[str, tuple[tuple[str, ...], ...]] = {
    "result.json": (REPORT, STATUS),
    "history.csv": (PAGE,),
    "scores.parquet": (PAGE,),
    "oof.npz": (AVERAGE,),
    "best.safetensors": (PREDICT, AVERAGE),
    "ensembles": (PREDICT, CHECK),
    "sweep.json": (REPORT, AUDIT),
    "folds.json": (AUDIT,),
    "digests.json": (REPORT, AUDIT),
    CACHE: (AUDIT,),
}
"""The commands that read a file, by a part of its name; those last that make files anew."""


def _readers(damage: Damage) -> Iterator[tuple[str, ...]]:
    """The commands that read the damaged files; of others, that of the ranking alone."""
    names = " ".join(damage.files)
    wanted = {c for part, commands in _READERS.items() if part in names for c in commands}
    yield from (c for c in (PREDICT, CHECK, REPORT, STATUS, PAGE, AUDIT, AVERAGE) if c in wanted)
    if not wanted:
        yield REPORT


def _differences(command: tuple[str, ...], said: Any, expected: Expected) -> Iterator[str]:
    whole = expected.whole[command]
    if said == whole:
        return
    if command == REPORT:
        yield from _rows(said, whole)
    elif command == STATUS:
        yield from _trials(said, whole)
    elif command == PAGE:
        yield from _sections(said, whole)
    elif command in (AVERAGE, AUDIT):
        figures = {k: v for k, v in said.items() if k != "left_out"}
        partly = [_of_the_rest(one[command]) for one in expected.without]
        if figures != whole and _of_the_rest(figures) not in partly:
            yield f"other figures: {_first_difference(figures, whole)}"
    elif said:
        yield "other masks, or another expected score"


def _trials(said: Any, whole: Any) -> Iterator[str]:
    for one, other in zip(said["trials"], whole["trials"], strict=True):
        if one != other and one["state"] not in ("damaged", "stopped", "waiting", "failed"):
            yield f"trial {other['key']} is told as {one}"


def _sections(said: Any, whole: Any) -> Iterator[str]:
    told = said["left_out"] or ": expected " in json.dumps(said["leaderboard"])  # not ranked, why
    told = told or "not known" in json.dumps(said["statistics"])  # what the choice of epochs adds
    for name, section in said.items():
        if section not in (None, whole[name]) and not told:
            yield f"section {name} differs, and nothing is left out"


def _of_the_rest(figures: Any) -> Any:
    """Without what the report announces: it ranks a candidate whose probabilities are damaged."""
    return {k: v for k, v in figures.items() if k != "report_announces"}


def _rows(said: Any, whole: Any) -> Iterator[str]:
    rows = {row["key"]: row for row in said["leaderboard"]}
    for row in whole["leaderboard"]:
        found = rows.pop(row["key"], None)
        if found is None:
            yield f"{row['candidate']} is gone"
        elif found["rank"] is None:
            if not found["reason"]:
                yield f"{row['candidate']} is not ranked, and no reason is told"
            folds = [name for name in row if name.startswith("fold") and name.endswith("_score")]
            if any(found[name] not in (None, row[name]) for name in folds):
                yield f"{row['candidate']}, not ranked, has other folds"
        else:
            own = ("score", "score_sd", "dice", "hausdorff", "seconds", "parameters", "best_epoch")
            if any(found[name] != row[name] for name in own):
                yield f"{row['candidate']} has other figures"
    if rows:
        yield f"candidates that were none: {list(rows)}"
    said, whole = _without_unknown_epochs(said, whole)
    if all(row["rank"] for row in said["leaderboard"]) and said != whole:
        yield f"all are ranked, and figures differ: {_first_difference(said, whole)}"


def _without_unknown_epochs(*both: Any) -> list[Any]:
    """What the choice of the epoch adds may be unknown: the same ranking without it."""
    known = "score_cross_fitted", "flattered_by", "epoch_choice"
    rows = [{row["key"]: row for row in values["leaderboard"]} for values in both]
    unknown = {key for one in rows for key, row in one.items() if row[known[0]] is None}
    if not unknown:
        return list(both)
    return [
        {
            **{name: value for name, value in values.items() if name != "epoch_choice"},
            "leaderboard": [
                {k: v for k, v in row.items() if row["key"] not in unknown or k not in known}
                for row in values["leaderboard"]
            ],
        }
        for values in both
    ]


def _first_difference(one: Any, other: Any, where: str = "") -> str:
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        for key in one:
            if one[key] != other[key]:
                return _first_difference(one[key], other[key], f"{where}.{key}")
    return f"{where}: {str(one)[:80]} for {str(other)[:80]}"


def _said(home: Path, commands: tuple[tuple[str, ...], ...] = COMMANDS) -> dict[Any, Any]:
    found = {}
    for command in commands:
        with _copy(home) as copy:
            ended = _forked(copy, command)
            assert ended.code in (0, 1), (command, ended)
            found[command] = _values(copy, command, ended)
    return found


def _values(home: Path, command: tuple[str, ...], ended: Ended) -> Any:
    """What a command says, without what is another every time."""
    if command == PAGE:
        text = (home / "page.html").read_text()
        values = text.partition(' id="data">')[2].partition("</script>")[0]
        return _lasting(json.loads(values))
    if "--json" in command:
        return _lasting(json.loads(ended.out))
    if command == CHECK:  # what the file holds is the file's; the score is the run's
        return [line for line in ended.out.splitlines() if "expected score" in line]
    return ended.out


def _lasting(value: Any) -> Any:
    if isinstance(value, dict):
        gone = (*_OF_NOW, *_OF_A_COMMAND)
        return {k: _lasting(v) for k, v in value.items() if k not in gone}
    return [_lasting(v) for v in value] if isinstance(value, list) else value


class _copy:  # noqa: N801 (a context)
    """A copy of a home; data is linked."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def __enter__(self) -> Path:
        self.place = Path(tempfile.mkdtemp(prefix="damaged-"))
        for name in ("run", CACHE):
            shutil.copytree(self.home / name, self.place / name)
        (self.place / "tiny").symlink_to(self.home / "tiny")
        return self.place

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.place)


def _forked(home: Path, command: tuple[str, ...] | list[str]) -> Ended:
    """A command in a fork of this process, which has loaded what it needs and read nothing."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.close(read)
        os.chdir(home)
        os.environ["GITRACT_CACHE"] = str(home / CACHE)
        try:
            ended = _predicted() if tuple(command) == PREDICT else run_cli(*command)
        except BaseException as error:
            ended = Ended(99, "", f"Traceback: {type(error).__name__}: {error}")
        with os.fdopen(write, "wb") as out:
            pickle.dump(ended, out)
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as out:
        content = out.read()
    _, status = os.waitpid(child, 0)
    return pickle.loads(content) if content else Ended(98, "", f"Traceback: status {status}")


def _predicted() -> Ended:
    """Masks of a scan by the ensemble's members."""
    from gitract_core.data.slices import SliceIndex
    from gitract_core.device import Runtime
    from gitract_core.prediction.members import Members, Predictor

    index = SliceIndex.from_directory(Path("tiny/train"))
    try:
        members = Members.load(Path(ENSEMBLE) / "members.json")
        masks = Predictor(members, Path(ENSEMBLE), Runtime("cpu", 1)).masks(index, index.scans[0])
    except GitractError as error:
        return Ended(2, "", str(error))
    return Ended(0, str(masks.sum(axis=(2, 3)).tolist()), "")


def fuzz(
    home: Path, times: int, seed: int, say: Callable[[str], object] = print
) -> tuple[Counter[str], list[str]]:
    """Damage a copy so many times; how often which kind, and what was wrong."""
    expected, files = expectations(home), files_of(home)
    random, counts, wrong = np.random.default_rng(seed), Counter[str](), list[str]()
    for number in range(times):
        damage = draw(random, files)
        counts[damage.kind] += 1
        for line in wrong_figures(home, damage, expected):
            wrong.append(f"{damage}: {line}")
            say(wrong[-1])
        if number % 100 == 99:
            say(f"{number + 1} times, {len(wrong)} wrong")
    return counts, wrong


def load() -> None:
    """What forks need, loaded once; it starts no threads that a fork would miss."""
    import torch

    torch.set_num_threads(1)


def main() -> int:
    """Make a run, damage it, and print what was found."""
    ask = argparse.ArgumentParser(prog="python -m tests.fuzz.damaged_files")
    ask.add_argument("--times", type=int, default=2000)
    ask.add_argument("--seed", type=int, default=1)
    options = ask.parse_args()
    load()
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="damaged-home-") as folder:
        home = Path(folder)
        make_home(home)
        counts, wrong = fuzz(home, options.times, options.seed)
    seconds = time.monotonic() - start
    print(f"{options.times} times in {seconds:.0f} s ({dict(counts)}): {len(wrong)} wrong figures")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
