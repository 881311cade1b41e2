"""One step of training: forward pass, loss, backward pass and optimizer on one batch.

The step is captured and fused where that is asked for and possible, and it splits a batch that
does not fit the device's memory.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from gitract_core.device import compiled, is_out_of_memory
from gitract_core.losses import Loss
from gitract_core.prediction.inference import autocast, batches
from gitract_core.training.captured_step import CapturedStep

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trained:
    """What a step changes, and how it computes.

    Attributes:
        network: gets its gradients and new weights.
        loss: of logits and masks, both (batch, organs, height, width).
        optimizer: of the network's weights.
        precision: of the forward pass, ``bf16`` or ``fp32``.
        device: where all of it lies.
        name: loss and network in words, for errors and the log.
    """

    network: nn.Module
    loss: Loss
    optimizer: torch.optim.Optimizer
    precision: str
    device: torch.device
    name: str

    def logits(self, images: torch.Tensor, network: nn.Module | None = None) -> torch.Tensor:
        """Logits (batch, organs, height, width); of ``network`` if it stands in for our own."""
        with autocast(self.device, self.precision):
            forward = self.network if network is None else network
            logits: torch.Tensor = forward(_channels_last(images))
        return logits


class TrainingStep:
    """Moves the weights by one batch.

    Args:
        trained: what the step changes.
        batch_size: slices of a whole batch.
        capture: replay the steps of whole batches, see ``captured_step``.
        fuse: let the compiler fuse the network's two passes in captured steps (see ``compiled``).
        split: train a batch that does not fit the device's memory in two parts.
        fewest: says how many slices a part has at least; asked only when a batch is split.

    Attributes:
        micro_batch: slices whose gradients are computed at once; below ``batch_size`` once a
            batch was split.
    """

    def __init__(
        self,
        trained: Trained,
        batch_size: int,
        *,
        capture: bool = False,
        fuse: bool = False,
        split: bool = True,
        fewest: Callable[[], int] = lambda: 1,
    ) -> None:
        self.fewest = fewest
        self.trained, self.batch_size, self.micro_batch = trained, batch_size, batch_size
        self.capture, self.fuse, self.split = capture, fuse, split
        self.captured: CapturedStep | None = None

    @property
    def to_be_captured(self) -> bool:
        """Whether ``record`` is still to be called."""
        return self.capture and self.captured is None and self.micro_batch == self.batch_size

    def record(self, images: torch.Tensor, *truth: torch.Tensor) -> None:
        """Capture the step on a whole batch; no weight changes.

        Where not even the warm-up fits the device, steps stay uncaptured: they then split batches.
        Steps that cannot be fused, or not be recorded, are trained without, and the log tells why.
        """
        trained, images = self.trained, _channels_last(images).clone()
        for fused in (True, False) if self.fuse else (False,):
            step = partial(self._plain, compiled(trained.network) if fused else trained.network)
            try:
                self.captured = CapturedStep(
                    step,
                    images,
                    *truth,
                    network=trained.network,
                    optimizer=trained.optimizer,
                    name=trained.name,
                )
                return
            except torch.OutOfMemoryError:
                break
            except Exception as error:  # compilers and recorders raise many kinds
                how = "fused" if fused else "captured"
                _LOG.warning("the training step is not %s: %s", how, _first_line(error))
        self.capture = False

    def forget_capture(self) -> None:
        """Let the step be captured anew: the optimizer's moments are other tensors now."""
        self.captured = None

    def __call__(self, images: torch.Tensor, *truth: torch.Tensor) -> torch.Tensor:
        """Train a batch.

        Args:
            images: (batch, planes, height, width).
            truth: masks (batch, organs, height, width) and, where not all annotation is known,
                what is, (batch, organs).

        Returns:
            Its loss, detached; the next call may overwrite it.

        Raises:
            torch.OutOfMemoryError: half a batch does not fit the device either, or is not tried.
        """
        if self.captured is not None and self.captured.fits(images):
            return self.captured(images, *truth)
        loss = self._gradients_within_memory(images, *truth)
        self.trained.optimizer.step()
        return loss

    def gradients(
        self, images: torch.Tensor, *truth: torch.Tensor, network: nn.Module | None = None
    ) -> torch.Tensor:
        """Leave the gradients of a batch in the network; its loss, detached."""
        self.trained.optimizer.zero_grad(set_to_none=True)
        total = torch.zeros((), device=self.trained.device)
        for span in self._parts(len(images)):
            share = (span.stop - span.start) / len(images)
            logits = self.trained.logits(images[span], network)
            loss = self.trained.loss(logits, *(part[span] for part in truth)) * share
            loss.backward()
            total += loss.detach()
        return total

    def _parts(self, n_slices: int) -> Iterator[slice]:
        """The parts of a batch whose gradients are computed one after another."""
        if self.micro_batch == self.batch_size:  # a last slice may have joined it
            return iter([slice(0, n_slices)])
        return parts(n_slices, self.micro_batch, least=self.fewest())

    def _plain(self, network: nn.Module, *batch: torch.Tensor) -> torch.Tensor:
        loss = self.gradients(*batch, network=network)
        self.trained.optimizer.step()
        return loss

    def _gradients_within_memory(self, *batch: torch.Tensor) -> torch.Tensor:
        """As ``gradients``; a batch that does not fit is done again in two parts, once a trial."""
        try:
            return self.gradients(*batch)
        except RuntimeError as error:
            whole = self.micro_batch == self.batch_size > self.fewest()
            if not (is_out_of_memory(error) and self.split and whole):
                raise
        # Outside of "except": a caught error keeps the memory of its frames.
        self.micro_batch = (self.micro_batch + 1) // 2
        return self.gradients(*batch)


def parts(n_slices: int, size: int, *, least: int = 1) -> Iterator[slice]:
    """Spans of at most ``size`` slices that cover a batch, none of fewer than ``least`` (1 or 2).

    A part that would be too small takes a slice of the one before it, or joins it.

    >>> [span.stop - span.start for span in parts(9, 4, least=2)]
    [4, 3, 2]
    >>> [span.stop - span.start for span in parts(5, 2, least=2)]
    [2, 3]
    """
    size = max(size, least)
    spans = [*batches(n_slices, size)]
    if len(spans) > 1 and spans[-1].stop - spans[-1].start < least:
        if size == least:
            return batches(n_slices, size, least=least)
        cut = n_slices - least
        spans[-2:] = [slice(spans[-2].start, cut), slice(cut, n_slices)]
    return iter(spans)


def _channels_last(images: torch.Tensor) -> torch.Tensor:
    return images.contiguous(memory_format=torch.channels_last)


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]:.200}"
