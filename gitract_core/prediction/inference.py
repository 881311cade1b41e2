"""Prediction scan by scan: probabilities at network size; ``postprocess`` makes masks of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import safetensors
import torch
from safetensors.torch import load, load_file
from torch import nn

from gitract_core.device import is_out_of_memory
from gitract_core.errors import RunError
from gitract_core.files.digests import Stamp
from gitract_core.files.names import is_utf8
from gitract_core.networks import build_network
from gitract_core.organs import Organs
from gitract_core.prediction.device_slices import DeviceSlices
from gitract_core.prediction.probabilities import to_bytes
from gitract_core.spec import Candidate

BATCH_SLICES = 32


def load_network(
    candidate: Candidate,
    weights: Path,
    device: torch.device,
    *,
    organs: Organs,
    channels: int = 1,
    stamp: Stamp | None = None,
) -> nn.Module:
    """A candidate's network with the weights of a trial, ready to predict.

    Args:
        candidate: its setting.
        weights: the file.
        device: where to predict.
        organs: that it finds.
        channels: of the images.
        stamp: what the trial's result says of the file.

    Raises:
        RunError: the file is unreadable, changed, or holds weights of another network.
    """
    if stamp:
        stamp.check(weights, "remove the trial's directory and run the sweep again")
    planes, plugin = candidate.input.planes_of(channels), candidate.plugin
    network = build_network(candidate.network, planes, len(organs), plugin)
    try:
        known = is_utf8(weights)  # the library opens no others
        network.load_state_dict(load_file(weights) if known else load(weights.read_bytes()))
    except (OSError, RuntimeError, safetensors.SafetensorError) as error:
        got = str(error).splitlines()[0]
        remedy = "remove the trial's directory and run the sweep again"
        raise RunError(weights, "the weights of this candidate", got, remedy) from None
    return on_device(network, device).eval()


def on_device(network: nn.Module, device: torch.device) -> nn.Module:
    """Moved to the device, its weights in channels_last order."""
    moved: nn.Module = network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return moved


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """Arithmetic of a forward pass: ``bf16`` autocast or plain ``fp32``."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def batches(
    n_slices: int, size: int = BATCH_SLICES, first: int = 0, least: int = 1
) -> Iterator[slice]:
    """Spans that cover ``n_slices`` in order, from the ``first`` on.

    Args:
        n_slices: to be covered.
        size: slices of a span; the last one may have fewer.
        first: where to begin.
        least: a last span of fewer slices joins the one before it.

    >>> [span.stop - span.start for span in batches(9, 4)]
    [4, 4, 1]
    >>> [span.stop - span.start for span in batches(9, 4, least=2)]
    [4, 5]
    """
    starts = [*range(first, n_slices, size)]
    if len(starts) > 1 and n_slices - starts[-1] < least:
        starts.pop()
    return (slice(a, b) for a, b in zip(starts, [*starts[1:], n_slices], strict=False))


@dataclass
class InParts:
    """A network in evaluation, given as much of a batch at once as the device's memory holds.

    In evaluation a slice's answer does not depend on the others of its batch, so that parts change
    no figure (but for the last bits, where a device reckons batches of another size another way).
    They are therefore taken beside other trials too, down to single slices.

    Attributes:
        size: slices at once; halved, for good, whenever that many do not fit.
    """

    size: int = BATCH_SLICES

    @property
    def split(self) -> int:
        """Slices at once, if memory ran out; else 0."""
        return self.size if self.size < BATCH_SLICES else 0

    def __call__(
        self, forward: Callable[[torch.Tensor], torch.Tensor], images: torch.Tensor
    ) -> torch.Tensor:
        """What ``forward`` makes of a batch.

        Raises:
            torch.OutOfMemoryError: a single slice does not fit either.
        """
        while True:
            try:
                spans = batches(len(images), self.size)
                made = [forward(images[span]) for span in spans]
                return torch.cat(made) if len(made) > 1 else made[0]
            except RuntimeError as error:
                if self.size == 1 or not is_out_of_memory(error):
                    raise
            # Outside of "except": a caught error keeps the memory of its frames.
            made = []
            self.size = (min(self.size, len(images)) + 1) // 2


@torch.inference_mode()
def predict_scan(
    network: nn.Module,
    images: torch.Tensor,
    candidate: Candidate,
    precision: str,
    *,
    flip: bool = False,
    mirrored: Sequence[int] | None = None,
    in_parts: InParts | None = None,
    numbers: np.ndarray | None = None,
) -> np.ndarray:
    """Probabilities of one scan.

    Args:
        network: in evaluation mode.
        images: uint8 (slices, size, size), or (slices, channels, size, size), on the network's
            device.
        candidate: for the slices that the network sees at once.
        precision: ``bf16`` or ``fp32``.
        flip: average with the prediction of the slices mirrored left to right, mirrored back
            (test-time augmentation).
        mirrored: the organ that each shows in a mirrored slice, see ``Organs``; by default itself.
        in_parts: remembers how many slices fit the device; by default each scan finds out.
        numbers: of the slices, int (slices,), rising; by default the scan lacks none.

    Returns:
        uint8 (organs, slices, size, size); 255 is probability 1.
    """
    parts, in_parts = [], in_parts or InParts()
    scan = DeviceSlices.of_scan(images, numbers)
    forward = partial(_probabilities, network, precision)
    rows = torch.arange(len(images), device=images.device)
    for span in batches(len(images)):
        inputs = scan.batch_images(rows[span], candidate.input)
        values = in_parts(forward, inputs)
        if flip:
            back = in_parts(forward, inputs.flip(-1)).flip(-1)
            values = (values + (back if mirrored is None else back[:, list(mirrored)])) / 2
        parts.append(values.cpu().numpy())
    return to_bytes(np.concatenate(parts).swapaxes(0, 1))


def _probabilities(network: nn.Module, precision: str, inputs: torch.Tensor) -> torch.Tensor:
    with autocast(inputs.device, precision):
        logits: torch.Tensor = network(inputs.contiguous(memory_format=torch.channels_last))
    return logits.float().sigmoid()
