"""Parses a budget of time, and writes the search space of the candidates that fit it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from gitract_core.errors import GitractError, SpaceError, counted
from gitract_core.files.atomic import replacing
from gitract_core.spec import Candidate
from search_spaces.loader import SearchSpace, varying_knobs

_BUDGET = re.compile(r"(\d+(?:\.\d+)?)\s*(s|min|m|h|d)")
_UNIT_SECONDS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


def parse_budget(text: str, option: str = "--budget") -> float:
    """Seconds of a text such as ``6h``, ``90m`` or ``3600s``.

    >>> parse_budget("6h"), parse_budget("1.5 m"), parse_budget("2d")
    (21600.0, 90.0, 172800.0)

    Raises:
        GitractError: not such a text, or no time at all.
    """
    match = _BUDGET.fullmatch(text.strip().lower())
    seconds = float(match[1]) * _UNIT_SECONDS[match[2]] if match else 0.0
    if seconds <= 0:
        expected = "a time above 0 with its unit, s, m, h or d"
        raise GitractError(option, expected, repr(text), "write 6h or 90m, for example")
    return seconds


def write_space(
    path: Path, space: SearchSpace, kept: Sequence[Candidate], why: str = "that fit a budget"
) -> None:
    """Write a search space of exactly these candidates, in this order.

    Args:
        path: a YAML file.
        space: whose they are; its folds and seed stay.
        kept: the candidates.
        why: which of the space's, for its description.

    Raises:
        SpaceError: the path is no YAML file's.
    """
    if path.suffix not in (".yaml", ".yml"):
        raise SpaceError("--write-space", "a name that ends in .yaml", path, "rename it")
    varying = varying_knobs(tuple(kept))
    values: dict[str, Any] = {
        "description": f"{counted(len(kept), 'candidate')} of {space.name} {why}",
        "folds": space.folds,
        "seed": space.seed,
        **{n: v for n, v in kept[0].knobs().items() if n not in (*varying, "plugin")},
    }
    if varying:
        values["variants"] = [{n: c.knobs()[n] for n in varying} for c in kept]
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as part:
        part.write_text(yaml.safe_dump(values, sort_keys=False, width=100), encoding="utf-8")
