"""How long candidates train beside each other, counted instead of measured."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from torch.utils.flop_counter import FlopCounterMode

from gitract_core.errors import GitractError
from gitract_core.networks import build_network
from gitract_core.spec import Candidate

if TYPE_CHECKING:
    from gitract_core.knobs import NetworkKnobs

_ANY_ORGANS = 3  # their number hardly changes what a network costs beside others


def relative_cost(candidate: Candidate) -> float:
    """How long a candidate trains beside others, without running it: operations times epochs.

    Counts the forward pass of one slice on tensors without memory; all candidates see the same
    slices, and the backward pass costs twice the forward pass everywhere.
    """
    knobs = candidate.input
    operations = _operations(candidate.network, knobs.planes, knobs.size, candidate.plugin)
    return float(operations) * candidate.training.epochs


@lru_cache(maxsize=1024)
def _operations(network: NetworkKnobs, planes: int, size: int, plugin: str) -> int:
    try:
        return _counted(network, planes, size, plugin, device="meta")
    except GitractError:
        raise
    except Exception:
        if not plugin:
            raise
        # A network of a user's own may look at values: it is run on real tensors.
        with torch.random.fork_rng(devices=[]):
            return _counted(network, planes, size, plugin, device="cpu")


def _counted(network: NetworkKnobs, planes: int, size: int, plugin: str, *, device: str) -> int:
    with torch.device(device), torch.no_grad():
        built = build_network(network, planes, _ANY_ORGANS, plugin).eval()
        with FlopCounterMode(display=False) as counter:
            built(torch.zeros(1, planes, size, size))
    return int(counter.get_total_flops())
