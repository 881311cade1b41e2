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
_POOLED: set[str] = set()
_CANONICAL: dict[str, str] = {}
_FAR_BELOW = -1e4  # a logit whose probability is 0 in float32 and float64


def loss_term(name: str, *aliases: str, pooled: bool = False) -> Callable[[LossTerm], LossTerm]:
    """Decorator that makes a function of ``(logits, targets)`` known as a loss.

    The function gets two floating-point tensors of one shape (batch, classes, height, width) and
    one dtype, never a half-precision one, and returns a scalar to be minimized: a mean over
    (slice, class), or if ``pooled`` over classes. See ``masked`` for annotation that is not known.

    Args:
        name: the name in expressions and in results.
        aliases: other names that mean the same; expressions are normalized to ``name``.
        pooled: sums run over the whole batch before the mean over classes is taken.
    """

    def remember(term: LossTerm) -> LossTerm:
        taken = {name, *aliases} & _CANONICAL.keys()
        if taken:
            expected, remedy = "a name not yet taken", "choose another name"
            raise SpaceError("loss registry", expected, sorted(taken), remedy)
        _TERMS[name] = term
        if pooled:
            _POOLED.add(name)
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

    def __call__(self, logits: Tensor, targets: Tensor, *known: Tensor) -> Tensor:
        """The loss of a batch.

        Args:
            logits: (batch, classes, height, width), any floating-point dtype.
            targets: same shape; boolean, whole or floating-point numbers, 0 or 1.
            known: at most one, floating point (batch, classes): 1 where the annotation is known,
                else 0. Entries that are not known change neither the loss nor its gradient.

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
            total = self._weighted(self.terms[0], wide, truth, *known)
            for term in self.terms[1:]:
                total = total + self._weighted(term, wide, truth, *known)
        return total

    @staticmethod
    def _weighted(term: WeightedTerm, logits: Tensor, targets: Tensor, *known: Tensor) -> Tensor:
        if known:
            value = masked(term.name, logits, targets, known[0])
        else:
            value = _TERMS[term.name](logits, targets)
        return value if term.weight == 1 else term.weight * value


def masked(name: str, logits: Tensor, targets: Tensor, known: Tensor) -> Tensor:
    """A term over what is known alone.

    Entries that are not known are made empty against empty: logits far below zero and no target.
    They then add nothing to pooled sums, and to a mean no more than the term gives for such an
    entry, which is taken out of it again. Nothing here waits for the device.

    Args:
        name: of a registered loss.
        logits: (batch, classes, height, width).
        targets: likewise.
        known: (batch, classes), 1 or 0.

    Returns:
        A scalar; 0 where nothing is known.
    """
    term, there = _TERMS[name], known[:, :, None, None] > 0
    value = term(logits.masked_fill(~there, _FAR_BELOW), targets.masked_fill(~there, 0))
    one = logits.new_full((1, 1, 1, 1), _FAR_BELOW)
    empty = term(one, torch.zeros_like(one))
    units = known.amax(0) if name in _POOLED else known  # what the term is a mean over
    share = units.to(value.dtype).mean()
    least = 1 / units.numel()
    return torch.where(share > 0, (value - (1 - share) * empty) / share.clamp_min(least), 0.0)


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
