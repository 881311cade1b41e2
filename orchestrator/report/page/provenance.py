"""How the run was made: folds, settings, environment, fingerprints."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gitract_core.plugin import digests_in
from orchestrator.report.organ_names import organ_name
from orchestrator.results.leaderboard import Leaderboard
from orchestrator.sweeps.run_directory import SweepDirectory, SweepRecord
from search_spaces.loader import varying_knobs

MOST_VALUES = 8
"""Of one fact, in a list."""


def fold_values(directory: SweepDirectory, record: SweepRecord) -> dict[str, Any]:
    """The audit in ``folds.json``: one entry a fold of all plans, and cases in two folds.

    Raises:
        RunError: ``folds.json`` cannot be read.
    """
    folds: list[dict[str, Any]] = []
    leaks: set[Any] = set()
    for number in range(1, len(record.plans) + 1):
        audit = directory.plan_values(number).get("audit") or {}
        folds += [{**fold, "fold": len(folds) + i} for i, fold in enumerate(audit.get("folds", []))]
        leaks |= set(audit.get("cases_in_two_folds") or ())
    columns = [("fold", "fold"), ("cases", "cases"), ("scans", "scans"), ("slices", "slices")]
    shares = [("annotated_share", "with an organ")]
    shares += [(f"{organ}_share", f"with {organ_name(organ)}") for organ in record.organs]
    return {
        "counts": [{"key": key, "name": name} for key, name in columns],
        "shares": [{"key": key, "name": name} for key, name in shares],
        "folds": folds,
        "leaks": sorted(leaks, key=str),
    }


def origin_values(board: Leaderboard) -> dict[str, Any]:
    """Facts of the run, and the settings that all candidates share.

    Returns:
        ``facts``: (name, values as text) in the order of the page; ``shared``: (knob, value).
    """
    record = board.record
    results = [r for line in (*board.ranked, *board.unranked) for r in line.finished]
    facts: list[tuple[str, list[str]]] = [
        ("gitract-cv", [record.version]),
        ("begun", [record.created]),
        ("spaces", list(record.spaces)),
        ("commands", list(record.commands)),
        ("data set", [str(record.data_directory)]),
        ("data fingerprint", [record.data_fingerprint]),
        ("scans left out", list(record.exclude)),
        ("folds fingerprint", [plan.folds_fingerprint for plan in record.plans]),
        ("seed", [str(record.seed)]),
        ("plugins", sorted({d for c in record.candidates for d in digests_in(c.plugin)})),
        ("device", _different(r.cost.get("device") for r in results)),
        ("threads a trial", _different(r.cost.get("threads") for r in results)),
    ]
    for name in ("torch", "numpy", "device_type", "precision"):
        values = _different(r.environment.get(name) for r in results)
        facts.append((name.replace("_", " "), values))
    varying = varying_knobs(record.candidates)
    first = record.candidates[0].knobs()
    return {
        "facts": [[name, values] for name, values in facts if values],
        "shared": [
            [name, str(value)]
            for name, value in first.items()
            if name not in varying and name != "plugin"
        ],
        "varying": list(varying),
    }


def _different(values: Iterable[object]) -> list[str]:
    """The distinct values as text, at most ``MOST_VALUES``; missing ones are left out."""
    distinct = list(dict.fromkeys(str(value) for value in values if value is not None))
    more = len(distinct) - MOST_VALUES
    return distinct if more <= 0 else [*distinct[:MOST_VALUES], f"and {more} more"]
