"""Whether a candidate can be trained, found out before a sweep."""

from __future__ import annotations

from gitract_core.errors import SpaceError
from gitract_core.losses import build_loss
from gitract_core.networks.normalization import fewest_slices
from gitract_core.plugins.checks import check_plugged
from gitract_core.spec import Candidate


def check_candidate(candidate: Candidate) -> None:
    """Build a candidate's loss and network once, so that faults show before a sweep.

    Raises:
        SpaceError: an unknown loss, network or width; a size or a batch too small for the network;
            a plugin's network or loss that does not do what it should.
    """
    build_loss(candidate.loss, candidate.plugin)
    check_plugged(candidate)
    network, size = candidate.network, candidate.input.size
    fewest = fewest_slices(network, candidate.input.planes, size, candidate.plugin)
    batch = candidate.optimizer.batch_size
    if batch < fewest:
        why = f"{network.family} of depth {network.depth} cannot normalize one slice of {size} px"
        remedy = "raise it or input.size, or lower network.depth"
        raise SpaceError("knob optimizer.batch_size", f"{fewest} or more: {why}", batch, remedy)
