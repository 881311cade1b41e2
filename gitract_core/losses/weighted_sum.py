"""From the text of a loss to something callable: the registry of terms and their weighted sum."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from gitract_core.errors import SpaceError, suggestion
from gitract_core.losses.expression import WeightedTerm, fail, parse

LossTerm: TypeAlias = Callable[[Tensor, Tensor], Tensor]

_TERMS: dict[str, LossTerm] = {}
_CANONICAL: dict[str, str] = {}


def loss_term(name: str, *aliases: str) -> Callable[[LossTerm], LossTerm]:
    """Decorator that makes a function of ``(logits, targets)`` known as a loss.

    The function gets two floating-point tensors of one shape (batch, classes, height, width) and
    one dtype, never a half-precision one, and returns a scalar to be minimized.

    Args:
        name: the name in expressions and in results.
        aliases: other names that mean the same; expressions are normalized to ``name``.
    """

    def remember(term: LossTerm) -> LossTerm:
        taken = {name, *aliases} & _CANONICAL.keys()
        if taken:
            expected, remedy = "a name not yet taken", "choose another name"
            raise SpaceError("loss registry", expected, sorted(taken), remedy)
        _TERMS[name] = term
        _CANONICAL.update(dict.fromkeys((name, *aliases), name))
        return term

    return remember


def loss_names() -> tuple[str, ...]:
    """The registered losses, sorted, without aliases."""
    return tuple(sorted(_TERMS))


def term_of(name: str) -> LossTerm:
    """The function of a registered loss."""
    return _TERMS[_CANONICAL[name]]


@dataclass(frozen=True, slots=True)
class WeightedSum:
    """A weighted sum of registered losses; ``str()`` gives its normalized expression."""

    terms: tuple[WeightedTerm, ...]

    def __str__(self) -> str:
        return " + ".join(map(str, self.terms))

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The loss of a batch.

        Args:
            logits: (batch, classes, height, width), any floating-point dtype.
            targets: same shape; boolean, whole or floating-point numbers, 0 or 1.

        Returns:
            A scalar: float32, or float64 for float64 logits. Half-precision logits are widened
            first, since sums over a batch of pixels do not fit their 8 or 11 bits.

        Raises:
            SpaceError: shapes that differ or are not four-dimensional.
        """
        if logits.shape != targets.shape or logits.ndim != 4:
            raise SpaceError(
                f"loss {str(self)!r}",
                "logits and targets of one shape (batch, classes, height, width)",
                f"{tuple(logits.shape)} and {tuple(targets.shape)}",
                "pass the masks at network size",
            )
        with torch.autocast(logits.device.type, enabled=False):
            wide = logits if logits.dtype == torch.float64 else logits.float()
            truth = targets.to(wide.dtype)
            # Not `sum`, which would start from an integer 0 and add a kernel.
            total = self._weighted(self.terms[0], wide, truth)
            for term in self.terms[1:]:
                total = total + self._weighted(term, wide, truth)
        return total

    @staticmethod
    def _weighted(term: WeightedTerm, logits: Tensor, targets: Tensor) -> Tensor:
        value = _TERMS[term.name](logits, targets)
        return value if term.weight == 1 else term.weight * value


def build_loss(expression: str) -> WeightedSum:
    """The loss that an expression names.

    Raises:
        SpaceError: not a weighted sum, an unknown name, a name twice, a weight that is not finite
            and above 0. The message gives the position and, for a name, the nearest known one.

    >>> str(build_loss("bce+.5*jaccard"))
    'bce + 0.5*iou'
    """
    terms: list[WeightedTerm] = []
    for term in parse(expression):
        if term.name not in _CANONICAL:
            remedy = suggestion(term.name, _CANONICAL)
            fail(expression, term.column, "the name of a loss", repr(term.name), remedy)
        name = _CANONICAL[term.name]
        if name in (t.name for t in terms):
            fail(expression, term.column, "each loss once", repr(name), "add the weights up")
        terms.append(WeightedTerm(term.weight, name, term.column))
    return WeightedSum(tuple(terms))


def normalize_expression(expression: str) -> str:
    """The one way to write an expression, so that equal losses give equal keys.

    The order of terms is kept: sums in another order can differ in the last bit.

    Raises:
        SpaceError: as `build_loss`.

    >>> normalize_expression("bce+0.50 *dice")
    'bce + 0.5*dice'
    """
    return str(build_loss(expression))
