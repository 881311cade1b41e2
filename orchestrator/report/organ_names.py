"""Names of organs as people read them, in narrow columns and in sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from gitract_core.errors import printable

_WORD_COLUMNS = 9


def organ_name(organ: str) -> str:
    """As people write it.

    >>> organ_name("large_bowel")
    'large bowel'
    """
    return printable(organ.replace("_", " "))


def short_names(organs: Sequence[str]) -> list[str]:
    """Headers of narrow columns: the first word where that is enough, else a word a line.

    >>> short_names(("large_bowel", "small_bowel", "stomach"))
    ['large', 'small', 'stomach']
    >>> short_names(("kidney_left", "kidney_right"))
    ['kidney\\nleft', 'kidney\\nright']
    """
    words = [[_cut(word) for word in organ_name(organ).split()] or [organ] for organ in organs]
    firsts = Counter(some[0] for some in words)
    names = [some[0] if firsts[some[0]] == 1 else "\n".join(some) for some in words]
    counts = Counter(names)
    return [n if counts[n] == 1 else f"{n}\n({i})" for i, n in enumerate(names, 1)]


def _cut(word: str) -> str:
    return word if len(word) <= _WORD_COLUMNS else f"{word[: _WORD_COLUMNS - 1]}…"


def known_in_words(known: Mapping[str, float], most: int) -> str:
    """How much of the annotation is known, the least known organs first; empty if all is.

    >>> known_in_words({"liver": 0.5, "spleen": 1.0}, 6)
    'annotation known, the rest is not scored: liver 50 %'
    """
    partly = sorted((share, organ) for organ, share in known.items() if share < 1)
    if not partly:
        return ""
    told = ", ".join(f"{organ_name(organ)} {100 * s:.0f} %" for s, organ in partly[:most])
    more = f" and {len(partly) - most} more" if len(partly) > most else ""
    return f"annotation known, the rest is not scored: {told}{more}"
