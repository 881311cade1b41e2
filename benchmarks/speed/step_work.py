"""Operations and bytes of a training step, counted on tensors without memory."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from gitract_core.knobs import NetworkKnobs
from gitract_core.networks import build_network
from gitract_core.organs import CONTEST


class Traffic(TorchDispatchMode):
    """Bytes that operators read and write, each by itself; views are free."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if not func.is_view:
            tensors = [t for t in tree_leaves((args, kwargs, result)) if torch.is_tensor(t)]
            self.bytes += sum(t.numel() * t.element_size() for t in tensors)
        return result


def work_of(widths: str, depth: int, size: int = 128, batch: int = 16) -> tuple[float, float]:
    """Operations and bytes an image of a training step of the U-Net in bf16, without optimizer.

    The loss is binary cross-entropy: it is next to nothing beside the network, whatever it is.
    """
    with torch.device("meta"):
        network = build_network(NetworkKnobs(widths=widths, depth=depth), 3, len(CONTEST))
        network.to(torch.bfloat16)
        images = torch.empty(batch, 3, size, size, dtype=torch.bfloat16)
        masks = torch.empty(batch, len(CONTEST), size, size)
        with FlopCounterMode(display=False) as operations, Traffic() as traffic:
            logits = network(images).float()
            F.binary_cross_entropy_with_logits(logits, masks).backward()
    return operations.get_total_flops() / batch, traffic.bytes / batch
