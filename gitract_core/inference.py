"""Prediction scan by scan: probabilities at network size, masks at native size."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import cv2
import numpy as np
import safetensors
import torch
from safetensors.torch import load_file
from torch import nn

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
    network = build_network(candidate.network, candidate.input.channels, N_ORGANS)
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
    network: nn.Module, images: torch.Tensor, candidate: Candidate, precision: str
) -> np.ndarray:
    """Probabilities of one scan.

    Args:
        network: in evaluation mode.
        images: uint8 (slices, size, size) on the network's device.
        candidate: for the number of input channels.
        precision: ``bf16`` or ``fp32``.

    Returns:
        uint8 (organs, slices, size, size); 255 is probability 1.
    """
    parts = []
    for span in batches(len(images)):
        gray = images[span].to(torch.float32).mul_(1 / 255).unsqueeze(1)
        inputs = gray.expand(-1, candidate.input.channels, -1, -1)
        with autocast(images.device, precision):
            logits = network(inputs.contiguous(memory_format=torch.channels_last))
        parts.append(logits.float().sigmoid().cpu().numpy())
    return to_bytes(np.concatenate(parts).swapaxes(0, 1))


def native_masks(
    probabilities: np.ndarray, height: int, width: int, threshold: float = 0.5
) -> np.ndarray:
    """Masks at native size from probabilities at network size.

    Args:
        probabilities: uint8, or float in units of 1/255, (organs, slices, size, size); enlarged
            bilinearly.
        height: native size in pixels.
        width: likewise.
        threshold: probability from which a pixel belongs to the organ.

    Returns:
        boolean (organs, slices, height, width).
    """
    organs, slices = probabilities.shape[:2]
    masks = np.zeros((organs, slices, height, width), dtype=bool)
    level = np.float32(threshold * 255)
    for organ, place in np.argwhere(probabilities.max(axis=(2, 3)) >= level):
        plane = probabilities[organ, place].astype(np.float32)
        enlarged = cv2.resize(plane, (width, height), interpolation=cv2.INTER_LINEAR)
        np.greater_equal(enlarged, level, out=masks[organ, place])
    return masks
