"""The training loop: one call trains and validates one epoch; state can be saved between calls."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from gitract_core import augment
from gitract_core.device import DeviceSlices, resolve_precision
from gitract_core.errors import RunError, TrialError
from gitract_core.files import replacing
from gitract_core.inference import BATCH_SLICES, autocast, batches, on_device
from gitract_core.losses import build_loss, supervise
from gitract_core.metrics.epoch import EpochCounts, EpochMetrics
from gitract_core.networks import build_network
from gitract_core.organs import N_ORGANS
from gitract_core.results import EpochRecord, TrialFiles, write_history
from gitract_core.spec import Candidate, OptimizerKnobs, TrialSpec

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


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
    """

    def __init__(self, spec: TrialSpec, data: FoldSlices, device: torch.device) -> None:
        self.candidate, self.data, self.device = spec.candidate, data, device
        self.precision = resolve_precision(self.candidate.training.precision, device)
        seed = spec.seed * 1009 + spec.fold
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = build_network(self.candidate.network, self.candidate.input.channels, N_ORGANS)
        self.network = on_device(network, device)
        self.loss: Loss = supervise(build_loss(self.candidate.loss), self.network)
        self.optimizer = build_optimizer(self.network, self.candidate.optimizer)
        self.random = torch.Generator().manual_seed(seed)
        self.records: list[EpochRecord] = []
        self.best_epoch = 0

    @property
    def finished(self) -> bool:
        """Whether the last epoch is done or patience has run out."""
        knobs, done = self.candidate.training, len(self.records)
        return done >= knobs.epochs or (done > 0 and done - self.best_epoch >= knobs.patience)

    def run_epoch(self) -> EpochRecord:
        """Train one epoch, validate, and note whether it is the best so far.

        Raises:
            TrialError: the loss is no longer finite.
        """
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
            raise TrialError(where, "a finite loss", f"{train_loss} (diverged)", remedy)
        self.records.append(record)
        if self.best_epoch == 0 or self._value(record) > self._value(self._best):
            self.best_epoch = record.epoch
        return record

    def _train(self) -> float:
        self.network.train()
        knobs = self.candidate
        order = self.data.training[torch.randperm(len(self.data.training), generator=self.random)]
        total = torch.zeros((), device=self.device)  # read once an epoch: no waiting in between
        for span in batches(len(order), knobs.optimizer.batch_size):
            rows = order[span].to(self.device, non_blocking=True)
            images, masks = self.data.slices.batch(rows, knobs.input.channels)
            parameters = augment.draw(knobs.augmentation, len(rows), knobs.input.size, self.random)
            images, masks = augment.apply(parameters, images, masks)
            loss = self._forward(images, masks)[0]
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            total += loss.detach() * len(rows)
        return float(total) / len(order)

    @torch.inference_mode()
    def _validate(self) -> tuple[float, EpochMetrics]:
        self.network.eval()
        counts = EpochCounts(self.device)
        rows = self.data.validation
        total = torch.zeros((), device=self.device)
        for span in batches(len(rows), BATCH_SLICES):
            chosen = rows[span].to(self.device, non_blocking=True)
            images, masks = self.data.slices.batch(chosen, self.candidate.input.channels)
            loss, logits = self._forward(images, masks)
            total += loss * len(chosen)
            counts.update(logits, masks)
        return float(total) / len(rows), counts.compute()

    def _forward(
        self, images: torch.Tensor, masks: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        with autocast(self.device, self.precision):
            logits = self.network(images.contiguous(memory_format=torch.channels_last))
        return self.loss(logits, masks), logits

    def _set_learning_rate(self) -> float:
        knobs = self.candidate.optimizer
        rate = knobs.learning_rate
        if knobs.schedule == "cosine":
            share = len(self.records) / self.candidate.training.epochs
            rate *= 0.5 * (1 + torch.cos(torch.tensor(share * torch.pi)).item())
        for group in self.optimizer.param_groups:
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
            with replacing(files.best) as part:
                save_file(weights, part)
        state = {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "random": self.random.get_state(),
            "records": [asdict(record) for record in self.records],
            "best_epoch": self.best_epoch,
        }
        with replacing(files.checkpoint) as part:
            torch.save(state, part)

    def restore(self, checkpoint: Path) -> None:
        """Go on from a checkpoint.

        Raises:
            RunError: unreadable, or of another network.
        """
        try:
            state = torch.load(checkpoint, map_location=self.device, weights_only=True)
            self.network.load_state_dict(state["network"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.random.set_state(state["random"].cpu())
            self.records = [EpochRecord(**values) for values in state["records"]]
            self.best_epoch = int(state["best_epoch"])
        except Exception as error:  # torch raises many kinds for a damaged file
            got = f"{type(error).__name__}: {str(error).splitlines()[0]:.120}"
            remedy = "remove the file; the trial then starts anew"
            raise RunError(checkpoint, "a checkpoint of this trial", got, remedy) from None


def build_optimizer(network: nn.Module, knobs: OptimizerKnobs) -> torch.optim.Optimizer:
    """Adam or AdamW with the fused kernel."""
    kind = torch.optim.AdamW if knobs.name == "adamw" else torch.optim.Adam
    return kind(
        network.parameters(), lr=knobs.learning_rate, weight_decay=knobs.weight_decay, fused=True
    )


def check_candidate(candidate: Candidate) -> None:
    """Build a candidate's loss and network without memory, so that faults show before a sweep.

    Raises:
        SpaceError: an unknown loss, network or width.
    """
    build_loss(candidate.loss)
    with torch.device("meta"):
        build_network(candidate.network, candidate.input.channels, N_ORGANS)
