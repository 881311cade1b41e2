"""Claim: loss and metrics cost a validation epoch at most 15 % over the bare forward passes.

One epoch's validation as a trial does it (input, network, loss, ``EpochCounts``) against the
network alone on the same batches made ready beforehand, in the same precision; the paper's network
at 128 x 128 on the CPU. Where the excess goes is shown by timing each part alone.

    python -m benchmarks.speed.validation_epoch --threads 2 \
        --out benchmarks/results/validation_epoch.md

Slices and masks are made up, as bytes and bits like the cache's: the time does not depend on them.
"""

from __future__ import annotations

import torch

from benchmarks.measuring import at_most, machine, medians, parser, publish, table
from gitract_core.metrics.epoch import EpochCounts
from gitract_core.prediction.device_slices import DeviceSlices
from gitract_core.prediction.inference import BATCH_SLICES, autocast, batches
from gitract_core.spec import Candidate, TrialSpec
from gitract_core.training.loop import FoldSlices, Training

SIZE = 128
TARGET = 1.15


def training(slices: int, precision: str) -> Training:
    """A trial's training state, over random slices that are all validated."""
    random = torch.Generator().manual_seed(0)
    images = torch.randint(256, (slices, 1, SIZE, SIZE), dtype=torch.uint8, generator=random)
    parts = (slices, 1, SIZE // 16, SIZE // 16)
    bits = torch.randint(8, parts, dtype=torch.uint8, generator=random)
    masks = bits.repeat_interleave(16, 2).repeat_interleave(16, 3)
    rows = torch.arange(slices)
    last = rows * 0 + slices - 1
    data = FoldSlices(DeviceSlices(images, masks, rows * 0, last, n_organs=3), rows, rows)
    candidate = Candidate.from_knobs({"training.precision": precision})
    return Training(TrialSpec(candidate, 0, 5, 0, "data", "folds"), data, torch.device("cpu"))


class Parts:
    """What a validation epoch consists of, each part alone over all batches."""

    def __init__(self, state: Training) -> None:
        self.state = state
        slices, rows = state.data.slices, state.data.validation
        spans = [rows[span] for span in batches(len(rows), BATCH_SLICES)]
        self.rows = spans
        self.images = [slices.batch_images(r, state.candidate.input) for r in spans]
        self.inputs = [i.contiguous(memory_format=torch.channels_last) for i in self.images]
        self.masks = [slices.batch_masks(r) for r in spans]
        self.logits = self.forward()

    @torch.inference_mode()
    def forward(self) -> list[torch.Tensor]:
        network = self.state.network.eval()
        with autocast(self.state.device, self.state.precision):
            return [network(inputs) for inputs in self.inputs]

    @torch.inference_mode()
    def reading(self) -> None:
        for rows in self.rows:
            images = self.state.data.slices.batch_images(rows, self.state.candidate.input)
            images.contiguous(memory_format=torch.channels_last)
            self.state.data.slices.batch_masks(rows)

    @torch.inference_mode()
    def loss(self) -> float:
        pairs = zip(self.logits, self.masks, strict=True)
        total = sum(float(self.state.step.trained.loss(logits, m)) * len(m) for logits, m in pairs)
        return total / len(self.state.data.validation)

    @torch.inference_mode()
    def counting(self) -> EpochCounts:
        counts = EpochCounts(self.state.device, 3)
        for logits, masks in zip(self.logits, self.masks, strict=True):
            counts.update(logits, masks)
        return counts


def check(state: Training, parts: Parts) -> None:
    """The parts give what the epoch gives."""
    loss, metrics = state._validate()
    assert abs(parts.loss() - loss) < 1e-5, (parts.loss(), loss)
    assert parts.counting().compute() == metrics


def compare(precision: str, slices: int, rounds: int) -> tuple[list[str], float]:
    """A row of the table (ms a slice), and the epoch over the forward passes."""
    state = training(slices, precision)
    parts = Parts(state)
    check(state, parts)
    runs = {
        "epoch": state._validate,
        "forward": parts.forward,
        "reading": parts.reading,
        "loss": parts.loss,
        "counting": parts.counting,
    }
    found = medians(runs, rounds)
    ratio = found["epoch"] / found["forward"]
    cells = [f"{value / slices * 1e3:.2f}" for value in found.values()]
    return [precision, *cells, f"{ratio:.3f}"], ratio


def main() -> None:
    reader = parser(__doc__, rounds=5, threads=2)
    reader.add_argument("--slices", type=int, default=64)
    options = reader.parse_args()
    torch.set_num_threads(options.threads)
    header = ["precision", "epoch", "forward", "reading", "loss", "counting", "epoch / forward"]
    rows, verdicts = [], []
    for precision in ("bf16", "fp32"):
        row, ratio = compare(precision, options.slices, options.rounds)
        rows.append(row)
        verdicts.append(at_most(f"epoch / forward, {precision}", ratio, TARGET))
    intro = (
        f"ms a slice; {options.slices} slices of {SIZE}x{SIZE}, batches of {BATCH_SLICES}, the "
        f"paper's network, {options.threads} threads, medians of {options.rounds} turns. Loss and "
        "metrics of the parts and of the epoch were equal before timing."
    )
    parts = [intro, table(header, rows), "\n".join(verdicts), machine("torch")]
    publish("Validation epoch", parts, options.out)


if __name__ == "__main__":
    main()
