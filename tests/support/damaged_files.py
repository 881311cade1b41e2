"""Ways to damage the files of a run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Change = Callable[[bytes], bytes]


REPORT, PREDICT = "report run", "predict run/ensembles/one --images tiny/train/case7 --out new.csv"


DAMAGED: dict[str, Change] = {
    "empty": lambda _: b"",
    "cut short": lambda old: old[: len(old) // 2],
    "bytes": lambda _: np.random.default_rng(0).bytes(3000),
    "NUL": lambda _: bytes(100),
    "a list": lambda _: b"[1, 2]",
    "a number": lambda _: b"17",
    "nothing in it": lambda _: b"{}",
    "UTF-16": lambda old: old.decode().encode("utf-16"),
    "latin-1": lambda old: old.replace(b'"', b'"\xe9', 1),
    "nested 100,000 deep": lambda _: b'{"spec": ' + b"[" * 100_000,
    "NaN": lambda old: old.replace(b": 0", b": NaN", 1).replace(b": 1", b": NaN", 1),
    "a number of a megabyte": lambda _: b'{"fold": ' + b"9" * 10**6 + b"}",
}


VALUES: dict[str, Any] = {
    "null": None,
    "text": "x",
    "huge": 1e308,
    "of 30 digits": 10**30,
    "a list": [],
    "a way out": "../../../x",
}


def result_file(home: Path) -> Path:
    """Of a member of the ensemble, so that all commands read it."""
    members = json.loads((home / "run/ensembles/one/members.json").read_text())["members"]
    return home / "run/trials" / members[0]["trial"] / "result.json"


class Owning:
    """Pickled, it writes a file when it is loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)
