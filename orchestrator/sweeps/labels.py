"""Labels and letters of candidates, and numbers of folds."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence

from gitract_core.plugin import digests_in
from gitract_core.spec import Candidate, TrialSpec
from orchestrator.sweeps.added_candidate import AddedCandidate
from search_spaces.loader import varying_knobs

_SHORT_DIGEST = 6  # digits of a plugin's hash that people see


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
            c: ", ".join(
                _setting(name, c.knobs()[name], digits)
                for name in varying
                if name != "plugin" or c.plugin
            )
            for c in candidates
        }
        if len(set(labels.values())) == len(labels):
            break
    return labels


def added_labels(added: Sequence[AddedCandidate], taken: Collection[str]) -> dict[Candidate, str]:
    """The names of added candidates, told apart from the labels of others.

    >>> added_labels([AddedCandidate(name="dice")], {"dice"}).popitem()[1]
    'dice (added)'

    Args:
        added: the candidates.
        taken: labels of the run's own.
    """
    return {c: f"{c.name} (added)" if c.name in taken else c.name for c in added}


def candidate_letters(
    candidates: Sequence[Candidate], without: Collection[int] = ()
) -> dict[Candidate, str]:
    """A letter a candidate, in the order in which they came into the run: A, B, ... Z, AA, AB.

    A run adds candidates at the end and keeps their order, so that a letter stays; that of a
    candidate that was removed is not given again.

    >>> from gitract_core.spec import Candidate
    >>> many = [Candidate.from_knobs({"training.epochs": n}) for n in range(1, 29)]
    >>> letters = list(candidate_letters(many).values())
    >>> letters[0], letters[25], letters[26], letters[27]
    ('A', 'Z', 'AA', 'AB')
    >>> list(candidate_letters(many[:2], without=[1]).values())
    ['A', 'C']

    Args:
        candidates: in the order of the run.
        without: places in that order, from 0, of candidates that are not among them.
    """
    taken = set(without)
    places = (place for place in itertools.count() if place not in taken)
    return {c: _letters(place) for c, place in zip(candidates, places, strict=False)}


def _letters(place: int) -> str:
    before, last = divmod(place, 26)
    return (_letters(before - 1) if before else "") + chr(ord("A") + last)


def _setting(name: str, value: object, digits: int) -> str:
    leaf = name.rpartition(".")[2].replace("_", " ")
    if name == "plugin":
        return "plugin " + "+".join(d[:_SHORT_DIGEST] for d in digests_in(str(value)))
    if isinstance(value, float):
        return f"{leaf} {value:.{digits}g}"
    return str(value) if name in ("loss", "augmentation.kinds") else f"{leaf} {value}"


def fold_numbers(specs: Sequence[TrialSpec]) -> dict[str, int]:
    """The fold of each trial by its key, numbered on through the fold plans, as they come."""
    plans = list(dict.fromkeys(spec.folds_fingerprint for spec in specs))
    return {s.key: plans.index(s.folds_fingerprint) * s.n_folds + s.fold for s in specs}
