"""Names of organs as people read them, in narrow columns and in sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from gitract_core.errors import printable


def organ_name(organ: str) -> str:
    """The name with spaces and without control characters.

    >>> organ_name("large_bowel")
    'large bowel'
    """
    return printable(organ.replace("_", " "))


def short_names(organs: Sequence[str], width: int) -> list[str]:
    """Headers of narrow columns: the first word where that is enough, else a word a line.

    Args:
        organs: shown beside each other.
        width: characters of a line; longer words are parted.

    >>> short_names(("large_bowel", "small_bowel", "stomach"), 7)
    ['large', 'small', 'stomach']
    >>> short_names(("kidney_left", "kidney_right", "bladder"), 6)
    ['kidney\\nleft', 'kidney\\nright', 'bladd-\\ner']
    """
    words = [organ_name(organ).split() or [organ] for organ in organs]
    firsts = Counter(name[0] for name in words)
    names = [name[:1] if firsts[name[0]] == 1 else name for name in words]
    lines = ["\n".join(part for word in name for part in _parted(word, width)) for name in names]
    counts = Counter(lines)
    return [n if counts[n] == 1 else f"{n}\n({i})" for i, n in enumerate(lines, 1)]


def _parted(word: str, width: int) -> list[str]:
    parts = []
    while len(word) > width:
        parts.append(f"{word[: width - 1]}-")
        word = word[width - 1 :]
    return [*parts, word]


def known_in_words(known: Mapping[str, float], most: int) -> str:
    """How much of the annotation is known, the least known organs first; empty if all is.

    >>> known_in_words({"liver": 0.5, "spleen": 1.0}, 6)
    'annotation known, the rest is not scored: liver 50 %'
    """
    partly = sorted((share, organ) for organ, share in known.items() if share < 1)
    if not partly:
        return ""
    shares = ", ".join(f"{organ_name(organ)} {100 * s:.0f} %" for s, organ in partly[:most])
    more = f" and {len(partly) - most} more" if len(partly) > most else ""
    return f"annotation known, the rest is not scored: {shares}{more}"
