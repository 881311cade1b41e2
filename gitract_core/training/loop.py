"""The training loop: one call trains and validates one epoch; ``checkpoint`` saves its state."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from gitract_core import augment
from gitract_core.device import learning_rate_on, resolve_precision, sent, slices_ahead
from gitract_core.errors import DivergedError
from gitract_core.files.digests import Stamp
from gitract_core.knobs import OptimizerKnobs
from gitract_core.losses import build_loss, supervise
from gitract_core.metrics.epoch import EpochCounts, EpochMetrics
from gitract_core.networks import build_network
from gitract_core.networks.normalization import fewest_slices
from gitract_core.prediction.device_slices import DeviceSlices
from gitract_core.prediction.inference import InParts, batches, on_device
from gitract_core.results.result_shape import MOST_FIGURE
from gitract_core.results.trial_result import EpochRecord
from gitract_core.spec import Candidate, TrialSpec
from gitract_core.training.early_stopping import has_ended, is_kept
from gitract_core.training.epoch_scorer import EpochScorer, as_bytes
from gitract_core.training.moving_average import MovingAverage
from gitract_core.training.step import Trained, TrainingStep


@dataclass(frozen=True)
class FoldSlices:
    """What one trial trains on and is validated on.

    Attributes:
        slices: the whole cache on the device.
        training: rows of it that are trained on, int64.
        validation: rows by which epochs are judged: the held-out fold's, or of training cases set
            aside (``training.keep: inner``).
    """

    slices: DeviceSlices
    training: torch.Tensor
    validation: torch.Tensor


@dataclass
class StartedEpoch:
    """The training half of an epoch, as far as it is done; kept until the epoch is validated.

    Attributes:
        order: rows of the cache in the order in which they are trained on, int64, on the host.
        done: how many of them have been.
        loss_sum: over those, on the device.
        began: when, on ``time.perf_counter``; earlier by the time that was spent before a restart.
    """

    order: torch.Tensor
    done: int
    loss_sum: torch.Tensor
    began: float


class Training:
    """A network in training, with all that a resumed trial needs to end bit-identical.

    Args:
        spec: candidate, fold and seed. Trials of one fold and seed share initial weights (if
            their networks are alike) and the order of slices: common random numbers make
            differences between candidates clearer.
        data: the fold's slices.
        device: where to train.
        capture: replay the steps of whole batches, see ``captured_step``. A step that cannot be
            recorded is trained as without.
        fuse: let the compiler fuse the network's forward and backward pass in captured steps (see
            ``compiled``).
        split: train a batch that does not fit the device's memory in two parts.
        scorer: takes what validation predicts, to score every epoch.

    Slices are gathered and augmented some batches ahead on a GPU, where that costs as many launches
    as for one batch (``slices_ahead``). During an epoch nothing waits for the device; two figures
    and the counts are read at its end.

    A batch that does not fit the device's memory is split in two, once and for the rest of the
    trial (unless ``split`` is off, for there may be a place with more room): gradients are
    accumulated over ``step.micro_batch`` slices, and a step is still one of
    ``optimizer.batch_size``.
    It is not quite the same training: batch normalization sees the statistics of smaller batches,
    and losses that pool over a batch (dice, say) pool over less. The result's ``environment``
    therefore tells ``micro_batch``. A validation batch goes through the network in as many parts as
    it takes (``in_parts``); its loss and its metrics are still those of the whole one.

    A candidate of a plugin is neither captured nor fused: its code may decide something anew in
    every step, which a recorded step would repeat as it was.

    Where a single slice cannot be normalized (``fewest_slices``), the last slice of an epoch joins
    the batch before it, and no part of a split batch is a single slice.
    """

    def __init__(
        self,
        spec: TrialSpec,
        data: FoldSlices,
        device: torch.device,
        *,
        capture: bool = False,
        fuse: bool = False,
        split: bool = True,
        scorer: EpochScorer | None = None,
    ) -> None:
        self.spec, self.data, self.device = spec, data, device
        self.candidate = spec.candidate
        self.precision = resolve_precision(self.candidate.training.precision, device)
        seed = spec.seed * 1009 + spec.fold
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            planes = self.candidate.input.planes_of(data.slices.images.shape[1])
            organs = data.slices.n_organs
            plugin = self.candidate.plugin
            network = build_network(self.candidate.network, planes, organs, plugin)
        self.network = on_device(network, device)
        self.optimizer = build_optimizer(self.network, self.candidate.optimizer, device)
        loss = supervise(build_loss(self.candidate.loss, plugin), self.network)
        trained = Trained(
            self.network, loss, self.optimizer, self.precision, device, _name(self.candidate)
        )
        size, how = self.candidate.optimizer.batch_size, {"capture": capture, "fuse": fuse}
        if plugin:
            how = dict.fromkeys(how, False)
        self.step = TrainingStep(trained, size, **how, split=split, fewest=self.fewest_slices)
        self.random = torch.Generator().manual_seed(seed)
        self.records: list[EpochRecord] = []
        self.started: StartedEpoch | None = None
        self.best_epoch = 0
        self.best_stamp: Stamp | None = None  # of the file with its weights
        self.in_parts = InParts()
        self.scorer = scorer
        decay = self.candidate.training.ema
        self.average = MovingAverage(self.network, decay) if decay else None

    @property
    def judged(self) -> nn.Module:
        """What is validated and kept: the network, or its moving average."""
        return self.network if self.average is None else self.average.network

    @property
    def finished(self) -> bool:
        """Whether the last epoch is done or patience has run out."""
        return has_ended(len(self.records), self.best_epoch, self.candidate.training)

    @property
    def may_go_on(self) -> bool:
        """Whether more epochs would begin with these; see ``reuse``."""
        knobs = self.candidate
        done = len(self.records) >= knobs.training.epochs
        return done and knobs.optimizer.schedule == "constant"

    def fewest_slices(self) -> int:
        """The fewest slices that the network can be trained on at once."""
        knobs = self.candidate
        return fewest_slices(knobs.network, knobs.input.planes, knobs.input.size, knobs.plugin)

    def run_epoch(
        self,
        after_step: Callable[[], object] | None = None,
        in_validation: Callable[[], object] | None = None,
    ) -> EpochRecord:
        """Train one epoch, or what is left of it, validate, and note whether it is the best so far.

        Args:
            after_step: called after each step, or after the steps that were prepared together;
                ``started`` then tells where in the epoch it is.
            in_validation: called after each batch of validation; ``started`` then tells that all
                steps are done.

        Raises:
            DivergedError: the loss is no longer finite, or larger than a result can hold.
            torch.OutOfMemoryError: half a batch does not fit the device either, or is not tried; or
                a single slice does not in validation.
        """
        self.prepare()
        began, rate = self._start_epoch().began, self._set_learning_rate()
        train_loss = self._train(after_step)
        loss, metrics = self._validate(in_validation)
        self.started = None
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
            seconds=time.perf_counter() - began,
        )
        if not abs(train_loss) <= MOST_FIGURE:
            where, remedy = f"epoch {record.epoch}", "lower optimizer.learning_rate"
            expected = f"a finite loss of at most {MOST_FIGURE:.0e}"
            raise DivergedError(where, expected, f"{train_loss:.6g} (diverged)", remedy)
        self.records.append(record)
        best = self.records[self.best_epoch - 1] if self.best_epoch else None
        if is_kept(record, best, self.candidate.training):
            self.best_epoch = record.epoch
        return record

    def prepare(self) -> None:
        """Capture the step now if capture is on; without this call ``run_epoch`` does it."""
        size = self.candidate.optimizer.batch_size
        if not self.step.to_be_captured or len(self.data.training) < size:
            return
        self.network.train()
        rows = self.data.training[:size].to(self.device)
        images = self.data.slices.batch_images(rows, self.candidate.input)
        slices = self.data.slices
        self.step.record(images, slices.batch_masks(rows), *slices.batch_known(rows))

    def _start_epoch(self) -> StartedEpoch:
        """Where the epoch is; at its beginning, with its slices in a new order, if it is none."""
        if self.started is None:
            shuffled = torch.randperm(len(self.data.training), generator=self.random)
            nothing = torch.zeros((), device=self.device)
            order = self.data.training[shuffled]
            self.started = StartedEpoch(order, 0, nothing, time.perf_counter())
        return self.started

    def _train(self, after_step: Callable[[], object] | None = None) -> float:
        self.network.train()
        now, size = self._start_epoch(), self.candidate.optimizer.batch_size
        order = sent(now.order, self.device)
        ahead = slices_ahead(self.device, self.candidate)
        least = self.fewest_slices() if len(order) % size == 1 else 1
        for prepared in batches(len(order), ahead, now.done, least):
            self._seed_others(prepared.start)
            rows = order[prepared]
            changed = self._augmented(rows)
            for span in batches(len(rows), size, least=least):
                loss = self.step(*(part[span] for part in changed))
                if self.average is not None:
                    self.average.follow(self.network)
                now.loss_sum += loss * (span.stop - span.start)
            now.done = prepared.stop
            if after_step:
                after_step()
        return float(now.loss_sum) / len(order)  # read once an epoch: no waiting in between

    def _seed_others(self, done: int) -> None:
        """Make what a plugin draws while it trains, in dropout say, a matter of the trial's seed.

        Done anew at every place where a trial may be interrupted; our own networks draw nothing.
        """
        if self.candidate.plugin:
            place = f"{self.spec.seed} {self.spec.fold} {len(self.records)} {done}"
            torch.manual_seed(random.Random(place).getrandbits(63))

    def _augmented(self, rows: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Images and masks of some slices, changed at random, and what is known of them."""
        knobs = self.candidate
        images = self.data.slices.batch_images(rows, knobs.input)
        masks = self.data.slices.batch_masks(rows)
        parameters = augment.draw(knobs.augmentation, len(rows), knobs.input.size, self.random)
        images, masks = augment.apply(sent(parameters, self.device), images, masks)
        of_organs = (masks, *self.data.slices.batch_known(rows))
        if parameters.flip is not None:
            turned = parameters.flip.rows
            of_organs = tuple(self.data.slices.exchanged(part, turned) for part in of_organs)
        return (images, *of_organs)

    @torch.inference_mode()
    def _validate(
        self, after_batch: Callable[[], object] | None = None
    ) -> tuple[float, EpochMetrics]:
        slices = self.data.slices
        counts = EpochCounts(self.device, slices.n_organs)
        total = torch.zeros((), device=self.device)
        weight: int | torch.Tensor = 0
        for chosen, logits in self._judged_batches():
            truth = (slices.batch_masks(chosen), *slices.batch_known(chosen))
            share = truth[1].mean(1).sum() if len(truth) > 1 else len(chosen)
            total += self.step.trained.loss(logits, *truth) * share
            weight = weight + share
            counts.update(logits, *truth)
            if self.scorer is not None:
                self.scorer.hear(as_bytes(logits))
            if after_batch:
                after_batch()
        if self.scorer is not None:
            self.scorer.take()
        slices_known = float(weight)
        mean = float(total) / slices_known if slices_known else math.nan
        return mean, counts.compute()

    @torch.inference_mode()
    def score_again(self) -> None:
        """Let the scorer take the last epoch, whose scores ended with an earlier process."""
        assert self.scorer is not None
        for _, logits in self._judged_batches():
            self.scorer.hear(as_bytes(logits))
        self.scorer.take()

    def _judged_batches(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Rows of validation batches, and their logits."""
        forward = partial(self.step.trained.logits, network=self.judged.eval())
        rows = sent(self.data.validation, self.device)
        for span in batches(len(rows)):
            images = self.data.slices.batch_images(rows[span], self.candidate.input)
            yield rows[span], self.in_parts(forward, images)

    def _set_learning_rate(self) -> float:
        knobs = self.candidate
        rate = knobs.optimizer.rate(len(self.records), knobs.training.epochs)
        for group in self.optimizer.param_groups:
            if isinstance(group["lr"], torch.Tensor):
                group["lr"].fill_(rate)  # a captured step reads this very tensor
            else:
                group["lr"] = rate
        return rate


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


def _name(candidate: Candidate) -> str:
    """Loss and network, as errors and the log call what is trained."""
    net = candidate.network
    return f"loss {candidate.loss}, network {net.family} {net.widths} of depth {net.depth}"
