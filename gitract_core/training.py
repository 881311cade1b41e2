"""The training loop: one call trains and validates one epoch; state can be saved between calls."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

import torch
from safetensors.torch import save
from torch import nn

from gitract_core import augment
from gitract_core.captured_step import CapturedStep
from gitract_core.device import DeviceSlices, learning_rate_on, resolve_precision, sent
from gitract_core.errors import RunError, TrialError
from gitract_core.files import write_bytes
from gitract_core.inference import BATCH_SLICES, autocast, batches, on_device
from gitract_core.knobs import NetworkKnobs, OptimizerKnobs
from gitract_core.losses import build_loss, supervise
from gitract_core.metrics.epoch import EpochCounts, EpochMetrics
from gitract_core.networks import build_network
from gitract_core.organs import N_ORGANS
from gitract_core.results import EpochRecord, TrialFiles, write_history
from gitract_core.spec import Candidate, TrialSpec

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

_SEEDING = threading.Lock()  # initial weights come from torch's own generator, which all share


class DivergedError(TrialError):
    """The loss is no longer finite; another attempt would end alike."""

    kind = "diverged"


@dataclass(frozen=True)
class FoldSlices:
    """What one trial trains on and is validated on.

    Attributes:
        slices: the whole cache on the device.
        training, validation: rows of it, int64.
    """

    slices: DeviceSlices
    training: torch.Tensor
    validation: torch.Tensor


class Training:
    """A network in training, with all that a resumed trial needs to end bit-identical.

    Args:
        spec: candidate, fold and seed. Trials of one fold and seed share initial weights (if
            their networks are alike) and the order of slices: common random numbers make
            differences between candidates clearer.
        data: the fold's slices.
        device: where to train.
        capture: replay the steps of whole batches, see ``captured_step``.

    During an epoch nothing waits for the device; two figures and the counts are read at its end.

    A batch that does not fit the device's memory is split in two, once and for the rest of the
    trial: gradients are accumulated over ``micro_batch`` slices, and a step is still one of
    ``optimizer.batch_size``. It is not quite the same training: batch normalization sees the
    statistics of smaller batches, and losses that pool over a batch (dice, say) pool over less.
    The result's ``environment`` therefore tells ``micro_batch``.
    """

    def __init__(
        self, spec: TrialSpec, data: FoldSlices, device: torch.device, *, capture: bool = False
    ) -> None:
        self.candidate, self.data, self.device = spec.candidate, data, device
        self.precision = resolve_precision(self.candidate.training.precision, device)
        seed = spec.seed * 1009 + spec.fold
        with _SEEDING, torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = build_network(self.candidate.network, self.candidate.input.planes, N_ORGANS)
        self.network = on_device(network, device)
        self.loss: Loss = supervise(build_loss(self.candidate.loss), self.network)
        self.optimizer = build_optimizer(self.network, self.candidate.optimizer, device)
        self.random = torch.Generator().manual_seed(seed)
        self.records: list[EpochRecord] = []
        self.best_epoch = 0
        self.micro_batch = self.candidate.optimizer.batch_size
        self.capture = capture
        self._captured: CapturedStep | None = None

    @property
    def finished(self) -> bool:
        """Whether the last epoch is done or patience has run out."""
        knobs, done = self.candidate.training, len(self.records)
        return done >= knobs.epochs or (done > 0 and done - self.best_epoch >= knobs.patience)

    def run_epoch(self) -> EpochRecord:
        """Train one epoch, validate, and note whether it is the best so far.

        Raises:
            DivergedError: the loss is no longer finite.
            torch.OutOfMemoryError: half a batch does not fit the device either.
            TrialError: the step is to be captured and cannot be.
        """
        self.prepare()
        start = time.perf_counter()
        rate = self._set_learning_rate()
        train_loss = self._train()
        loss, metrics = self._validate()
        record = EpochRecord(
            epoch=len(self.records) + 1,
            train_loss=train_loss,
            loss=loss,
            dice=metrics.dice,
            iou=metrics.iou,
            row_dice=metrics.row_dice,
            accuracy=metrics.accuracy,
            balanced_accuracy=metrics.balanced_accuracy,
            paper_dice=metrics.paper_dice,
            paper_iou=metrics.paper_iou,
            paper_accuracy=metrics.paper_accuracy,
            learning_rate=rate,
            seconds=time.perf_counter() - start,
        )
        if not abs(train_loss) < float("inf"):
            where, remedy = f"epoch {record.epoch}", "lower optimizer.learning_rate"
            raise DivergedError(where, "a finite loss", f"{train_loss} (diverged)", remedy)
        self.records.append(record)
        if self.best_epoch == 0 or self._value(record) > self._value(self._best):
            self.best_epoch = record.epoch
        return record

    def prepare(self) -> None:
        """Capture the step, if that is asked for and not done; ``run_epoch`` does it otherwise.

        Where not even the warm-up fits the device, steps stay uncaptured: they then split batches.

        Raises:
            TrialError: the step cannot be recorded.
        """
        size = self.candidate.optimizer.batch_size
        whole = self.micro_batch == size <= len(self.data.training)
        if not self.capture or self._captured is not None or not whole:
            return
        self.network.train()
        knobs, net = self.candidate, self.candidate.network
        name = f"loss {knobs.loss}, network {net.family} {net.widths} of depth {net.depth}"
        rows = self.data.training[:size].to(self.device)
        images = self.data.slices.batch_images(rows, knobs.input)
        batch = (_channels_last(images).clone(), self.data.slices.batch_masks(rows))
        kept = (self.network, self.optimizer)
        try:
            self._captured = CapturedStep(self._plain_step, batch, kept, name)
        except torch.OutOfMemoryError:
            self.capture = False

    def _train(self) -> float:
        self.network.train()
        knobs = self.candidate
        shuffled = torch.randperm(len(self.data.training), generator=self.random)
        order = sent(self.data.training[shuffled], self.device)
        total = torch.zeros((), device=self.device)  # read once an epoch: no waiting in between
        for span in batches(len(order), knobs.optimizer.batch_size):
            rows = order[span]
            images = self.data.slices.batch_images(rows, knobs.input)
            masks = self.data.slices.batch_masks(rows)
            parameters = augment.draw(knobs.augmentation, len(rows), knobs.input.size, self.random)
            images, masks = augment.apply(sent(parameters, self.device), images, masks)
            total += self._step(images, masks) * len(rows)
        return float(total) / len(order)

    def _step(self, images: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
        """Move the weights by one batch; its loss, detached."""
        if self._captured is not None and self._captured.fits(images):
            return self._captured(images, masks)
        loss = self._gradients_within_memory(images, masks)
        self.optimizer.step()
        return loss

    def _plain_step(self, images: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
        loss = self._gradients(images, masks)
        self.optimizer.step()
        return loss

    def _gradients_within_memory(self, images: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
        """As ``_gradients``; a batch that does not fit is done again in two parts, once a trial."""
        try:
            return self._gradients(images, masks)
        except torch.OutOfMemoryError:
            if not self.micro_batch == self.candidate.optimizer.batch_size > 1:
                raise
        # Outside of "except": a caught error keeps the memory of its frames.
        self.micro_batch = (self.micro_batch + 1) // 2
        return self._gradients(images, masks)

    def _gradients(self, images: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
        """Leave the gradients of a batch in the network; its loss, detached."""
        self.optimizer.zero_grad(set_to_none=True)
        total = torch.zeros((), device=self.device)
        for span in batches(len(images), self.micro_batch):
            share = (span.stop - span.start) / len(images)
            loss = self._forward(images[span], masks[span])[0] * share
            loss.backward()
            total += loss.detach()
        return total

    @torch.inference_mode()
    def _validate(self) -> tuple[float, EpochMetrics]:
        self.network.eval()
        counts = EpochCounts(self.device)
        rows = sent(self.data.validation, self.device)
        total = torch.zeros((), device=self.device)
        for span in batches(len(rows), BATCH_SLICES):
            chosen = rows[span]
            images = self.data.slices.batch_images(chosen, self.candidate.input)
            masks = self.data.slices.batch_masks(chosen)
            loss, logits = self._forward(images, masks)
            total += loss * len(chosen)
            counts.update(logits, masks)
        return float(total) / len(rows), counts.compute()

    def _forward(
        self, images: torch.Tensor, masks: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        with autocast(self.device, self.precision):
            logits = self.network(_channels_last(images))
        return self.loss(logits, masks), logits

    def _set_learning_rate(self) -> float:
        knobs = self.candidate.optimizer
        rate = knobs.learning_rate
        if knobs.schedule == "cosine":
            share = len(self.records) / self.candidate.training.epochs
            rate *= 0.5 * (1 + torch.cos(torch.tensor(share * torch.pi)).item())
        for group in self.optimizer.param_groups:
            if isinstance(group["lr"], torch.Tensor):
                group["lr"].fill_(rate)  # a captured step reads this very tensor
            else:
                group["lr"] = rate
        return rate

    @property
    def _best(self) -> EpochRecord:
        return self.records[self.best_epoch - 1]

    def _value(self, record: EpochRecord) -> float:
        """What early stopping maximizes; a NaN is never the best."""
        value = -record.loss if self.candidate.training.monitor == "loss" else record.dice
        return value if value == value else float("-inf")

    def save(self, files: TrialFiles) -> None:
        """Write the history, the checkpoint and, after a best epoch, the weights."""
        write_history(files.history, self.records)
        if self.best_epoch == len(self.records):
            weights = {k: v.contiguous() for k, v in self.network.state_dict().items()}
            write_bytes(files.best, save(weights))
        state = {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "random": self.random.get_state(),
            "records": [asdict(record) for record in self.records],
            "best_epoch": self.best_epoch,
            "micro_batch": self.micro_batch,
        }
        content = io.BytesIO()  # torch's own writer hides why a disk refuses
        torch.save(state, content)
        write_bytes(files.checkpoint, content.getvalue())

    def restore(self, checkpoint: Path) -> None:
        """Go on from a checkpoint.

        Raises:
            RunError: unreadable, or of another network.
        """
        try:
            state = torch.load(checkpoint, map_location=self.device, weights_only=True)
            self.network.load_state_dict(state["network"])
            # Moments alone: the groups are the candidate's and this device's.
            groups = self.optimizer.state_dict()["param_groups"]
            self.optimizer.load_state_dict({**state["optimizer"], "param_groups": groups})
            self._captured = None  # it would move the moments of before
            self.random.set_state(state["random"].cpu())
            self.records = [EpochRecord(**values) for values in state["records"]]
            self.best_epoch = int(state["best_epoch"])
            self.micro_batch = int(state.get("micro_batch", self.micro_batch))
        except Exception as error:  # torch raises many kinds for a damaged file
            got = f"{type(error).__name__}: {str(error).splitlines()[0]:.120}"
            remedy = "remove the file; the trial then starts anew"
            raise RunError(checkpoint, "a checkpoint of this trial", got, remedy) from None


def build_optimizer(
    network: nn.Module, knobs: OptimizerKnobs, device: torch.device
) -> torch.optim.Optimizer:
    """Adam or AdamW with the fused kernel."""
    kind = torch.optim.AdamW if knobs.name == "adamw" else torch.optim.Adam
    rate = learning_rate_on(device, knobs.learning_rate)
    return kind(
        network.parameters(),
        lr=rate,
        weight_decay=knobs.weight_decay,
        fused=True,
        capturable=isinstance(rate, torch.Tensor),
    )


def _channels_last(images: torch.Tensor) -> torch.Tensor:
    return images.contiguous(memory_format=torch.channels_last)


def check_candidate(candidate: Candidate) -> None:
    """Build a candidate's loss and network once, so that faults show before a sweep.

    Raises:
        SpaceError: an unknown loss, network or width.
    """
    build_loss(candidate.loss)
    _check_network(candidate.network, candidate.input.planes)


@lru_cache(maxsize=256)  # a grid has few networks
def _check_network(knobs: NetworkKnobs, planes: int) -> None:
    build_network(knobs, planes, N_ORGANS)
