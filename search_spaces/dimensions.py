"""A knob that is not fixed: the values it may take, and one of them at random."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from gitract_core.errors import SpaceError, suggestion

DISTRIBUTIONS = {
    "uniform": "`[low, high]`: a number between them",
    "loguniform": "`[low, high]`: a number whose logarithm is uniform between theirs",
    "randint": "`[low, high]`: a whole number from low to high, both included",
    "choice": "`[a, b, c]`: one of the values",
}
"""What a knob's value may be drawn from, and its arguments."""

_DRAWS: dict[str, Callable[[random.Random, Any], Any]] = {
    "uniform": lambda r, ab: r.uniform(*ab),
    "loguniform": lambda r, ab: math.exp(r.uniform(math.log(ab[0]), math.log(ab[1]))),
    "randint": lambda r, ab: r.randint(*ab),
    "choice": lambda r, values: r.choice(values),
}


@dataclass(frozen=True, slots=True)
class Dimension:
    """One knob and what it may be.

    Attributes:
        name: the knob's dotted name.
        kind: ``uniform``, ``loguniform``, ``randint`` or ``choice``.
        arguments: the values of a choice; else low and high, both of them possible.
    """

    name: str
    kind: str
    arguments: tuple[Any, ...]

    @classmethod
    def parse(cls, name: str, value: dict[Any, Any]) -> Dimension:
        """A dimension from a mapping such as ``{"uniform": [0, 1]}``.

        Raises:
            SpaceError: no such distribution, or not its numbers.
        """
        kind, arguments = next(iter(value.items())) if len(value) == 1 else ("", None)
        if kind not in _DRAWS:
            got = repr(kind) if kind else f"{sorted(map(str, value))}"
            remedy = suggestion(str(kind), _DRAWS)
            raise SpaceError(f"knob {name}", "one distribution", got, remedy)
        if not isinstance(arguments, list) or not _fit(kind, arguments):
            expected = "a list of values" if kind == "choice" else "[low, high]"
            expected += " above 0" * (kind == "loguniform")
            expected += " in whole numbers" * (kind == "randint")
            raise SpaceError(f"knob {name}, {kind}", expected, repr(arguments), "mend the numbers")
        if "uniform" in kind:  # which shows that it is not for a knob of whole numbers
            arguments = [float(a) for a in arguments]
        return cls(name, kind, tuple(arguments))

    @property
    def size(self) -> float:
        """How many values there are; infinite for a range of real numbers."""
        low, high = self.arguments[0], self.arguments[-1]
        if self.kind == "choice":
            return len(set(self.arguments))
        if low == high:
            return 1
        return high - low + 1 if self.kind == "randint" else math.inf

    @property
    def ends(self) -> tuple[Any, ...]:
        """All values of a choice, both ends of a range."""
        return tuple(dict.fromkeys(self.arguments))

    def respelled(self, spell: Callable[[str], str]) -> Dimension:
        """The same choice with its texts written anew; equal ones are one."""
        return replace(self, arguments=tuple(dict.fromkeys(map(spell, self.arguments))))

    def draw(self, source: random.Random) -> Any:
        """One value at random."""
        value = _DRAWS[self.kind](source, self.arguments)
        if self.kind == "loguniform":  # the exponential may round beyond the ends
            return min(max(value, self.arguments[0]), self.arguments[1])
        return value

    def holds(self, value: Any) -> bool:
        """Whether this is one of the values."""
        if self.kind == "choice":
            return value in self.arguments
        low, high = self.arguments
        return isinstance(value, int | float) and bool(low <= value <= high)


def _fit(kind: str, arguments: list[Any]) -> bool:
    if kind == "choice":
        return bool(arguments) and not any(isinstance(a, list | dict) for a in arguments)
    number = int if kind == "randint" else int | float
    if len(arguments) != 2 or not all(
        isinstance(a, number) and not isinstance(a, bool) and math.isfinite(a) for a in arguments
    ):
        return False
    low, high = arguments
    return bool(low <= high and (low > 0 or kind != "loguniform"))
