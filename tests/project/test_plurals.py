"""What is counted in a message goes by ``counted``, so that nobody reads "1 candidates"."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("gitract_core", "orchestrator", "search_spaces")
PLURALS = (
    "candidate|fold|trial|fault|model|scan|slice|patient|case|file|row|network|epoch|slot|node|"
    "machine|repeat|pair|organ|image|processor|decision|member|attempt|mask"
)
NEVER_ONE = {
    "MOST_*, FEWEST_*, _MANY_*, ...": r"^_?[A-Z_.]+$",
    "named where there are two or more": r"^len\((tied|s\.candidates)\)$|^found\.pairs$",
    "named where fewer are shown": r"^self\.ranked$",
    "the other branch of the two": r"^candidates$",
    "no number": r"^(kind|word|.*\.axis|next\(.*|_WORDS\..*|', '\.join.*)$",
    "folds, of which there are two or more": r"n_folds$|^len\(own\)$|^plan\.folds$|^n_cases$",
    "a total that is named for a share of it": r"^(of|shown)$",
    "those of a whole data set": r"^int\(counts\.sum\(\)\)$",
    "nobody's message": r"^parameters\.batch$",
}


def counts(source: str) -> Iterator[tuple[int, str, str]]:
    """Line, what is counted and the words behind it, of every f-string that counts."""
    words = re.compile(rf"^ (?:[a-z-]+ )?(?:{PLURALS})s\b")
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.JoinedStr):
            continue
        for value, after in zip(node.values, node.values[1:], strict=False):
            if not (isinstance(value, ast.FormattedValue) and isinstance(after, ast.Constant)):
                continue
            if found := words.match(str(after.value)):
                yield node.lineno, ast.unparse(value.value), found[0]


def test_numbers_agree_with_their_words() -> None:
    exempt = re.compile("|".join(NEVER_ONE.values()))
    found = [
        f"{file.relative_to(ROOT)}:{line}: {{{what}}}{word}"
        for package in PACKAGES
        for file in sorted((ROOT / package).rglob("*.py"))
        for line, what, word in counts(file.read_text())
        if not exempt.search(what)
    ]
    assert found == []


def test_a_plural_would_be_found() -> None:
    assert list(counts('f"{n} candidates"')) == [(1, "n", " candidates")]
    assert not list(counts("f\"{counted(n, 'candidate')} of them\""))
