"""Left-right mirroring.

Anatomy is not symmetric: the stomach lies on one side and the ascending colon on the other, so a
mirrored slice is one that no patient has. It is offered because winners of the contest used it as
test-time augmentation; whether it helps here is for a sweep to tell.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Flip:
    """Mirror the slices ``rows``, (rows,) int64."""

    rows: Tensor

    def apply(self, images: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        """The batch with its rows mirrored, exactly."""
        rows = self.rows.to(images.device, non_blocking=True)
        return _mirrored(images, rows), _mirrored(masks, rows)


def draw_flip(rows: Tensor) -> Flip | None:
    """Nothing to draw: a slice is mirrored or not."""
    return Flip(rows) if len(rows) else None


def _mirrored(planes: Tensor, rows: Tensor) -> Tensor:
    return planes.index_copy(0, rows, planes.index_select(0, rows).flip(-1))
