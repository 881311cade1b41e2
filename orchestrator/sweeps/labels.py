"""Short names: of candidates the knobs in which they differ, of folds their number."""

from __future__ import annotations

from collections.abc import Sequence

from gitract_core.spec import Candidate, TrialSpec
from search_spaces.loader import varying_knobs


def candidate_labels(candidates: Sequence[Candidate]) -> dict[Candidate, str]:
    """A label a candidate, for example ``bce + dice, depth 5``.

    >>> from gitract_core.spec import Candidate
    >>> pair = Candidate.from_knobs({"loss": "bce"}), Candidate.from_knobs({"loss": "dice"})
    >>> list(candidate_labels(pair).values())
    ['bce', 'dice']
    """
    varying = varying_knobs(tuple(candidates)) or ("loss",)
    for digits in (4, 8, 17):  # drawn numbers may be close
        labels = {
            c: ", ".join(_setting(name, c.knobs()[name], digits) for name in varying)
            for c in candidates
        }
        if len(set(labels.values())) == len(labels):
            break
    return labels


def _setting(name: str, value: object, digits: int) -> str:
    leaf = name.rpartition(".")[2].replace("_", " ")
    if isinstance(value, float):
        return f"{leaf} {value:.{digits}g}"
    return str(value) if name in ("loss", "augmentation.kinds") else f"{leaf} {value}"


def fold_numbers(specs: Sequence[TrialSpec]) -> dict[str, int]:
    """The fold of each trial by its key, numbered on through the fold plans, as they come."""
    plans = list(dict.fromkeys(spec.folds_fingerprint for spec in specs))
    return {s.key: plans.index(s.folds_fingerprint) * s.n_folds + s.fold for s in specs}
