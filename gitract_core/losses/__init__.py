"""Losses, written as weighted sums such as ``bce + 0.5*dice``.

A term takes logits and targets, both (batch, classes, height, width), and gives a scalar to be
minimized. Terms are in three files: `pixelwise` (bce, focal), `overlap` (dice, soft_dice, iou,
tversky and kin) and `lovasz`. A newcomer is one function under ``@loss_term("name")``, in one of
them or in a file of its own beside them; in a plugin, a file of one's own, under
``@register_loss("name")``.

"Pooled" means: sums run over all pixels of all slices of the batch, per class, and the mean over
classes is taken last. More than half of all slices are empty, so a per-slice ratio is often 0/0;
pooling (or, where a term is per slice, the smoothing term) keeps value and gradient finite.
"""

from importlib import import_module
from pkgutil import iter_modules

from gitract_core.losses.deep_supervision import Loss, supervise
from gitract_core.losses.weighted_sum import (
    WeightedSum,
    build_loss,
    loss_names,
    loss_term,
    normalize_expression,
)

register_loss = loss_term  # the name by which plugins import it

for _file in iter_modules(__path__):  # every file here may register losses
    import_module(f"{__name__}.{_file.name}")

__all__ = [
    "Loss",
    "WeightedSum",
    "build_loss",
    "loss_names",
    "loss_term",
    "normalize_expression",
    "register_loss",
    "supervise",
]
