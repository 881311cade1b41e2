"""A search: what may be tried, and how often, where not everything is.

The first candidates are drawn at random; the others are proposed one by one during the sweep, by
what is known until then (``orchestrator.steering.tpe``).
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from gitract_core.errors import SpaceError, suggestion
from gitract_core.spec import Candidate
from search_spaces.dimensions import Dimension

METHODS = ("tpe", "random")
_LISTS = {
    "input.size": ("[64, 128]", "sizes"),
    "input.spacing_mm": ("[1.5, 2.0]", "spacings"),
}
_MOST_DRAWN_FIRST = 10  # Optuna's own default
_MOST_CORNERS = 2_000
_MOST_MISSES = 10_000


@dataclass(frozen=True)
class Search:
    """What is searched.

    Attributes:
        samples: candidates in all; ``total`` says how many there can be.
        seed: of draws and proposals.
        fixed: knobs that have one value; those not named keep their defaults.
        dimensions: knobs that have several.
        completed: makes a candidate whole whose values are chosen; see ``completing``.
    """

    samples: int
    seed: int
    fixed: Mapping[str, Any]
    dimensions: tuple[Dimension, ...]
    completed: Callable[[Candidate], Candidate] | None = field(default=None, compare=False)

    @classmethod
    def parse(cls, knobs: Mapping[str, Any], samples: int, seed: int) -> Search:
        """A search of knobs by dotted names, lists and distributions among them.

        Raises:
            SpaceError: nothing is left open, a value or a combination of values is impossible.
        """
        lists = {name: {"choice": v} for name, v in knobs.items() if isinstance(v, list)}
        opened = {name: v for name, v in {**knobs, **lists}.items() if isinstance(v, dict)}
        dimensions = tuple(Dimension.parse(name, value) for name, value in opened.items())
        if not dimensions:
            remedy = "give a knob a list or a distribution"
            raise SpaceError("key search", "a knob to search", "none", remedy)
        for dimension in dimensions:
            if dimension.name in _LISTS and dimension.kind != "choice":
                example, values = _LISTS[dimension.name]
                remedy = f"write {example}, for example: each of them has a cache of its own"
                where = f"knob {dimension.name}"
                raise SpaceError(where, f"a list of {values}", dimension.kind, remedy)
        fixed = {name: v for name, v in knobs.items() if name not in opened}
        search = cls(samples, seed, fixed, dimensions)
        for _ in search.corners():  # each is checked as it is made
            pass
        return search

    @property
    def total(self) -> int:
        """How many candidates there will be: ``samples``, or all of a smaller space."""
        return int(min(self.samples, math.prod(d.size for d in self.dimensions)))

    @property
    def drawn_first(self) -> int:
        """How many are drawn before any is proposed: a third, ten at most."""
        return min(_MOST_DRAWN_FIRST, math.ceil(self.total / 3))

    def fixing(self, knobs: Mapping[str, Any]) -> Search:
        """The same search with some knobs fixed."""
        left = tuple(d for d in self.dimensions if d.name not in knobs)
        return replace(self, fixed={**self.fixed, **knobs}, dimensions=left)

    def respelled(self, name: str, spell: Callable[[str], str]) -> Search:
        """The same search with the texts that a knob may be written anew; equal ones are one."""
        fixed = {
            n: spell(v) if n == name and isinstance(v, str) else v for n, v in self.fixed.items()
        }
        changed = tuple(d.respelled(spell) if d.name == name else d for d in self.dimensions)
        return replace(self, fixed=fixed, dimensions=changed)

    def completing(self, completed: Callable[[Candidate], Candidate]) -> Search:
        """The same search with what follows from the values of a candidate, its plugin."""
        return replace(self, completed=completed)

    def candidate(self, values: Mapping[str, Any]) -> Candidate:
        """The candidate with these values of the dimensions.

        Raises:
            SpaceError: they do not go together.
        """
        made = Candidate.from_knobs({**self.fixed, **values})
        return self.completed(made) if self.completed else made

    def values(self, candidate: Candidate) -> dict[str, Any]:
        """A candidate's values of the dimensions; the inverse of ``candidate``."""
        knobs = candidate.knobs()
        return {d.name: knobs[d.name] for d in self.dimensions}

    def inside(self, candidates: Iterable[Candidate]) -> list[Candidate]:
        """Those of some candidates that this search could have found, whoever tried them."""
        names = {"plugin", *(d.name for d in self.dimensions)}  # the plugin follows from others
        fixed = {name: v for name, v in self._any.knobs().items() if name not in names}
        found = []
        for candidate in candidates:
            knobs = candidate.knobs()
            same = all(knobs[n] == v for n, v in fixed.items())
            held = same and all(d.holds(knobs[d.name]) for d in self.dimensions)
            if held and (not self.completed or self.candidate(self.values(candidate)) == candidate):
                found.append(candidate)
        return found

    @cached_property
    def _any(self) -> Candidate:
        return next(self.corners())

    def corners(self) -> Iterator[Candidate]:
        """Combinations of the ends of all dimensions: every one, or of very many a part.

        Raises:
            SpaceError: one of them is impossible.
        """
        ends = [d.ends for d in self.dimensions]
        every: Iterable[tuple[Any, ...]] = itertools.product(*ends)
        if math.prod(len(e) for e in ends) > _MOST_CORNERS:
            source = random.Random(self.seed)
            every = (tuple(source.choice(e) for e in ends) for _ in range(_MOST_CORNERS))
        for values in every:
            names = (d.name for d in self.dimensions)
            yield self.candidate(dict(zip(names, values, strict=True)))

    def draws(self, without: Iterable[Candidate] = (), number: int = 0) -> Iterator[Candidate]:
        """Distinct possible candidates at random, until hardly any is left.

        Args:
            without: candidates that are left out.
            number: another one gives other draws.
        """
        source = random.Random(f"{self.seed} {number}" if number else self.seed)
        seen, misses = set(without), 0
        while misses < _MOST_MISSES:
            misses += 1
            try:
                candidate = self.candidate({d.name: d.draw(source) for d in self.dimensions})
            except SpaceError:  # between the ends of a range there may be gaps
                continue
            if candidate not in seen:
                seen.add(candidate)
                misses = 0
                yield candidate


def parse_method(value: Any) -> tuple[str, Any]:
    """Method and samples of the key ``search``; whether samples is a number is not checked.

    Raises:
        SpaceError: not a mapping of those two, or no such method.
    """
    example = "write search: {method: tpe, samples: 30}, for example"
    if not isinstance(value, dict):
        raise SpaceError("key search", "method and samples", repr(value), example)
    keys = ("method", "samples")
    for key in value:
        if key not in keys:
            raise SpaceError(f"key search.{key}", "a known key", key, suggestion(str(key), keys))
    for key in keys:
        if key not in value:
            raise SpaceError("key search", "method and samples", f"no {key}", example)
    method = value["method"]
    if method not in METHODS:
        remedy = suggestion(str(method), METHODS)
        raise SpaceError("key search.method", "a known method", repr(method), remedy)
    return str(method), value["samples"]
