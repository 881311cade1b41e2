"""Prediction scan by scan: probabilities at network size; ``postprocess`` makes masks of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import safetensors
import torch
from safetensors.torch import load_file
from torch import nn

from gitract_core.device import DeviceSlices
from gitract_core.errors import RunError
from gitract_core.networks import build_network
from gitract_core.oof import to_bytes
from gitract_core.organs import N_ORGANS
from gitract_core.spec import Candidate

BATCH_SLICES = 32


def load_network(candidate: Candidate, weights: Path, device: torch.device) -> nn.Module:
    """A candidate's network with the weights of a trial, ready to predict.

    Raises:
        RunError: the file is unreadable or holds weights of another network.
    """
    network = build_network(candidate.network, candidate.input.planes, N_ORGANS)
    try:
        network.load_state_dict(load_file(weights))
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


def batches(n_slices: int, size: int = BATCH_SLICES) -> Iterator[slice]:
    """Spans that cover ``n_slices`` in order."""
    return (slice(i, min(i + size, n_slices)) for i in range(0, n_slices, size))


@torch.inference_mode()
def predict_scan(
    network: nn.Module,
    images: torch.Tensor,
    candidate: Candidate,
    precision: str,
    *,
    flip: bool = False,
) -> np.ndarray:
    """Probabilities of one scan.

    Args:
        network: in evaluation mode.
        images: uint8 (slices, size, size) on the network's device.
        candidate: for the slices that the network sees at once.
        precision: ``bf16`` or ``fp32``.
        flip: average with the prediction of the slices mirrored left to right, mirrored back
            (test-time augmentation).

    Returns:
        uint8 (organs, slices, size, size); 255 is probability 1.
    """
    parts = []
    scan = DeviceSlices.of_scan(images)
    rows = torch.arange(len(images), device=images.device)
    for span in batches(len(images)):
        inputs = scan.batch_images(rows[span], candidate.input)
        values = _probabilities(network, inputs, precision)
        if flip:
            mirrored = _probabilities(network, inputs.flip(-1), precision).flip(-1)
            values = (values + mirrored) / 2
        parts.append(values.cpu().numpy())
    return to_bytes(np.concatenate(parts).swapaxes(0, 1))


def _probabilities(network: nn.Module, inputs: torch.Tensor, precision: str) -> torch.Tensor:
    with autocast(inputs.device, precision):
        logits: torch.Tensor = network(inputs.contiguous(memory_format=torch.channels_last))
    return logits.float().sigmoid()
