"""From the text of a loss to something callable: the registry of terms and their weighted sum."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from gitract_core.errors import SpaceError, suggestion
from gitract_core.losses.expression import WeightedTerm, fail, parse
from gitract_core.plugin import OF_A_PLUGIN, add, find, is_taken, names, require_executed

LossTerm: TypeAlias = Callable[[Tensor, Tensor], Tensor]

_TERMS: dict[str, LossTerm] = {}
_POOLED: dict[str, bool] = {}
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
        taken = {each for each in (name, *aliases) if is_taken(_CANONICAL, each)}
        if taken:
            expected, remedy = "a name not yet taken", "choose another name"
            raise SpaceError("loss registry", expected, sorted(taken), remedy)
        add(_TERMS, name, term)
        add(_POOLED, name, pooled)
        for each in (name, *aliases):
            add(_CANONICAL, each, name)
        return term

    return remember


def loss_names(plugin: str = "") -> tuple[str, ...]:
    """The registered losses, sorted, without aliases; with a plugin's hash those that it adds."""
    return names(_TERMS, plugin)


def every_loss_name(plugin: str = "") -> tuple[str, ...]:
    """As ``loss_names``, with aliases."""
    return names(_CANONICAL, plugin)


def is_loss(name: str, plugin: str = "") -> bool:
    """Whether a loss is registered under a name or an alias, by us or by these plugins."""
    return find(_CANONICAL, name, plugin) is not None


def term_of(name: str, plugin: str = "") -> LossTerm:
    """The function of a registered loss."""
    term = find(_TERMS, find(_CANONICAL, name, plugin) or name, plugin)
    if term is None:
        raise KeyError(name)
    return term


@dataclass(frozen=True, slots=True)
class WeightedSum:
    """A weighted sum of registered losses; ``str()`` gives its normalized expression.

    Attributes:
        terms: at least one.
        plugin: hashes of the plugins that may define some.
    """

    terms: tuple[WeightedTerm, ...]
    plugin: str = ""

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

    def _weighted(
        self, term: WeightedTerm, logits: Tensor, targets: Tensor, *known: Tensor
    ) -> Tensor:
        if known:
            value = masked(term.name, logits, targets, known[0], self.plugin)
        else:
            value = term_of(term.name, self.plugin)(logits, targets)
        return value if term.weight == 1 else term.weight * value


def masked(name: str, logits: Tensor, targets: Tensor, known: Tensor, plugin: str = "") -> Tensor:
    """A term over what is known alone.

    Entries that are not known are made empty against empty: logits far below zero and no target.
    They then add nothing to pooled sums, and to a mean no more than the term gives for such an
    entry, which is taken out of it again. Nothing here waits for the device.

    Args:
        name: of a registered loss.
        logits: (batch, classes, height, width).
        targets: likewise.
        known: (batch, classes), 1 or 0.
        plugin: hashes of the plugins that may define it.

    Returns:
        A scalar; 0 where nothing is known.
    """
    term, there = term_of(name, plugin), known[:, :, None, None] > 0
    value = term(logits.masked_fill(~there, _FAR_BELOW), targets.masked_fill(~there, 0))
    one = logits.new_full((1, 1, 1, 1), _FAR_BELOW)
    empty = term(one, torch.zeros_like(one))
    pooled = find(_POOLED, name, plugin)
    units = known.amax(0) if pooled else known  # what the term is a mean over
    share = units.to(value.dtype).mean()
    least = 1 / units.numel()
    return torch.where(share > 0, (value - (1 - share) * empty) / share.clamp_min(least), 0.0)


def build_loss(expression: str, plugin: str = "") -> WeightedSum:
    """The loss that an expression names.

    Args:
        expression: the sum.
        plugin: hashes of the plugins that may define its names.

    Raises:
        SpaceError: not a weighted sum, an unknown name, a name twice, a weight that is not finite
            and above 0, a plugin that was not executed. The message gives the position and, for a
            name, the nearest known one.

    >>> str(build_loss("bce+.5*jaccard"))
    'bce + 0.5*iou'
    """
    require_executed(plugin)
    terms: list[WeightedTerm] = []
    for term in parse(expression):
        name = find(_CANONICAL, term.name, plugin)
        if name is None:
            remedy = f"{suggestion(term.name, names(_CANONICAL))} {OF_A_PLUGIN}"
            fail(expression, term.column, "the name of a loss", repr(term.name), remedy)
        if name in (t.name for t in terms):
            fail(expression, term.column, "each loss once", repr(name), "add the weights up")
        terms.append(WeightedTerm(term.weight, name, term.column))
    return WeightedSum(tuple(terms), plugin)


def normalize_expression(expression: str, plugin: str = "") -> str:
    """The one way to write an expression, so that equal losses give equal keys.

    The order of terms is kept: sums in another order can differ in the last bit.

    Raises:
        SpaceError: as `build_loss`.

    >>> normalize_expression("bce+0.50 *dice")
    'bce + 0.5*dice'
    """
    return str(build_loss(expression, plugin))
