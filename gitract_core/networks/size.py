"""How large a network is."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


def parameter_count(network: nn.Module, *, statistics: bool = False) -> int:
    """Number of trainable values.

    Args:
        network: any module.
        statistics: count the moving means and variances of batch norm too, as Keras does in the
            totals it prints.
    """
    count = sum(p.numel() for p in network.parameters())
    if statistics:
        # `num_batches_tracked` is a bookkeeping integer that Keras does not have.
        count += sum(b.numel() for b in network.buffers() if b.is_floating_point())
    return count
