"""The little language of losses: ``sum = product {"+" product}``, ``product = [number "*"] name``.

Hand-written, so that a text from a search space is never evaluated as code.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import NoReturn

from gitract_core.errors import SpaceError

_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)"
    r"|(?P<name>[A-Za-z_]\w*)|(?P<sign>[+*])|(?P<end>$)|(?P<stranger>.))",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class WeightedTerm:
    """``weight * name``, found at ``column`` (from 1) of the text."""

    weight: float
    name: str
    column: int

    def __str__(self) -> str:
        if self.weight == 1:
            return self.name
        return f"{repr(self.weight).removesuffix('.0')}*{self.name}"


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    column: int


def parse(text: str) -> tuple[WeightedTerm, ...]:
    """The terms of a weighted sum, in the order written; names are not looked up here.

    Raises:
        SpaceError: anything else than the grammar, a weight that is not finite and above 0.

    >>> [str(term) for term in parse("bce+0.50 * dice")]
    ['bce', '0.5*dice']
    """
    tokens = _tokens(text)
    terms = []
    while True:
        terms.append(_product(text, tokens))
        joint = tokens.pop(0)
        if joint.kind == "end":
            return tuple(terms)
        if joint.text != "+":
            fail(text, joint.column, "'+' or the end", _shown(joint))


def fail(text: str, column: int, expected: str, got: str, remedy: str = "") -> NoReturn:
    """Raise the one error of this module, with the place in the text.

    Raises:
        SpaceError: always.
    """
    where = f"loss {text!r}, position {column}"
    raise SpaceError(where, expected, got, remedy or "write a sum such as 'bce + 0.5*dice'")


def _tokens(text: str) -> list[_Token]:
    found = []
    for match in _TOKEN.finditer(text):
        kind = str(match.lastgroup)
        found.append(_Token(kind, match[kind], match.start(kind) + 1))
        if kind == "stranger":
            fail(text, found[-1].column, "a name, a number, '+' or '*'", repr(match[kind]))
        if kind == "end":
            break
    return found


def _product(text: str, tokens: list[_Token]) -> WeightedTerm:
    """Take ``[number "*"] name`` off the front of the tokens."""
    first = tokens[0]
    weight = 1.0
    if first.kind == "number":
        weight = _weight(text, tokens.pop(0))
        if tokens[0].text != "*":
            fail(text, tokens[0].column, "'*' after the weight", _shown(tokens[0]))
        tokens.pop(0)
    if tokens[0].kind != "name":
        expected = "the name of a loss" if first.kind == "number" else "a loss or its weight"
        fail(text, tokens[0].column, expected, _shown(tokens[0]))
    name = tokens.pop(0)
    return WeightedTerm(weight, name.text, name.column)


def _weight(text: str, token: _Token) -> float:
    weight = float(token.text)
    if not 0 < weight < math.inf:
        fail(text, token.column, "a finite weight above 0", token.text, "leave the term out")
    return weight


def _shown(token: _Token) -> str:
    return "the end" if token.kind == "end" else repr(token.text)
