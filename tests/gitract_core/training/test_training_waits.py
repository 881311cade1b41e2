"""Nothing in an epoch waits for the device, shown on a CPU that is watched like one.

Tensors that would be on the device are known: the slices, the network, and whatever is computed
from them. To need the value of one on the host (``item``, ``if``, a boolean index) is to wait for
all work queued before it; so is a copy between host and device unless it is told not to block.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from gitract_core import augment
from gitract_core.device import sent
from gitract_core.prediction.device_slices import DeviceSlices, slices_on
from gitract_core.spec import Candidate
from gitract_core.training.loop import Training
from gitract_core.trial.run import fold_slices
from tests.support.organ_squares import write_organ_squares
from tests.support.tiny_sweep import prepare_tiny

aten = torch.ops.aten
CPU = torch.device("cpu")
READS = {aten._local_scalar_dense.default, aten.item.default}  # the latter in inference mode
NEEDS_VALUES = {
    *READS,
    aten.nonzero.default,
    aten.masked_select.default,
    aten.equal.default,
    aten.is_nonzero.default,
}


class Watch(TorchDispatchMode):
    """Notes what would make the host wait for the device.

    Args:
        on_device: tensors that are there from the beginning.
    """

    def __init__(self, on_device: list[torch.Tensor]) -> None:
        super().__init__()
        self.waits: list[str] = []
        self._kept = list(on_device)  # alive, so that no other tensor gets their id
        self._there = {id(t) for t in on_device}
        self._patch = pytest.MonkeyPatch()

    def __enter__(self) -> Watch:
        to, tensor = torch.Tensor.to, torch.tensor

        def watched_to(values: torch.Tensor, *arguments: Any, **named: Any) -> torch.Tensor:
            target = any(isinstance(a, torch.device) for a in (*arguments, *named.values()))
            if target and not named.get("non_blocking"):
                self.waits.append("copy")
            return to(values, *arguments, **named)

        def watched_cpu(values: torch.Tensor) -> torch.Tensor:
            self.waits.append("read")
            return torch.from_numpy(values.numpy().copy())  # on the host from here on

        def watched_tensor(*arguments: Any, **named: Any) -> torch.Tensor:
            if named.get("device") is not None:
                self.waits.append("tensor from the host")
            return tensor(*arguments, **named)

        self._patch.setattr(torch.Tensor, "to", watched_to)
        self._patch.setattr(torch.Tensor, "cpu", watched_cpu)
        self._patch.setattr(torch, "tensor", watched_tensor)
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._patch.undo()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        tensors = [a for a in tree_leaves((args, kwargs)) if isinstance(a, torch.Tensor)]
        there = any(id(t) in self._there for t in tensors)
        if there and (func in NEEDS_VALUES or _by_booleans(func, args)):
            self.waits.append("read" if func in READS else str(func))
        result = func(*args, **(kwargs or {}))
        if there:
            found = [r for r in tree_leaves(result) if isinstance(r, torch.Tensor)]
            if func._schema.is_mutable:
                found.append(args[0])
            self._kept += found
            self._there.update(map(id, found))
        return result


def _by_booleans(func: Any, args: tuple[Any, ...]) -> bool:
    if func not in (aten.index.Tensor, aten.index_put_.default):
        return False
    return any(i is not None and i.dtype in (torch.bool, torch.uint8) for i in args[1])


def make_training(data: Path, run: Path, changes: dict[str, object]) -> Training:
    changes = {"augmentation.probability": 0.7, **changes}
    sweep = prepare_tiny(data, run, changes)
    spec = sweep.specs[0]
    cache = sweep.data.cache(32)
    rows = fold_slices(cache, slices_on(cache, CPU), sweep.data.plan, 0)
    return Training(spec, rows, CPU)


def waits_of_an_epoch(training: Training) -> list[str]:
    slices, state = training.data.slices, training.network.state_dict(keep_vars=True)
    tensors = [*vars(slices).values(), *state.values()]
    with Watch([t for t in tensors if isinstance(t, torch.Tensor)]) as watch:
        training.run_epoch()
    return watch.waits


KINDS = "elastic+noise+blur+affine+flip+intensity"
LOSSES = ("focal + iou + tversky", "soft_dice + focal_tversky", "lovasz_hinge", "dice_as_printed")


@pytest.mark.parametrize("capture", [False, True], ids=["plain", "captured"])
@pytest.mark.parametrize(
    "changes",
    [
        {"loss": "bce", "augmentation.kinds": KINDS, "input.channels": 3},
        {"loss": "bce + dice", "training.precision": "bf16"},
        {"input.context": 5, "optimizer.schedule": "cosine", "optimizer.name": "adamw"},
        {"network.family": "unetpp", "network.widths": "4,8,8", "network.depth": 2},
        *({"loss": loss} for loss in LOSSES),
    ],
    ids=str,
)
def test_the_device_is_read_at_the_end_of_the_halves_of_an_epoch_alone(
    changes: dict[str, object], capture: bool, tiny: Path, tmp_path: Path
) -> None:
    training = make_training(tiny, tmp_path / "run", changes)
    training.step.capture = capture
    training.prepare()
    whole = training.data
    training.data = replace(whole, training=whole.training[:4])
    one_batch = waits_of_an_epoch(training)
    training.data = replace(whole, training=whole.training.repeat(3)[:35])
    nine_batches = waits_of_an_epoch(training)
    # Two losses and three tables of counts, however many batches there are.
    assert one_batch == nine_batches == ["read"] * 5


@pytest.mark.parametrize("loss", ["bce + soft_dice", "focal + iou", "lovasz_hinge"])
def test_unknown_annotation_is_masked_without_waiting(loss: str, tmp_path: Path) -> None:
    data = write_organ_squares(tmp_path / "data", ("a", "b"), unknown=lambda _, organ: organ == "b")
    training = make_training(data, tmp_path / "run", {"loss": loss})
    assert training.data.slices.known is not None
    whole = training.data
    training.data = replace(whole, training=whole.training[:4])
    one_batch = waits_of_an_epoch(training)
    training.data = replace(whole, training=whole.training.repeat(3)[:35])
    # As with known annotation, and the number of entries that the loss is a mean over.
    assert one_batch == waits_of_an_epoch(training) == ["read"] * 6


@pytest.mark.parametrize(
    ("work", "waits"),
    [
        (lambda x: (2 * x).sum().item(), True),
        (lambda x: 1 if x[0] > 1 else 0, True),
        (lambda x: x.add(1).cpu(), True),
        (lambda x: x[x > 1], True),
        (lambda x: torch.nonzero(x.view(2, 2)), True),
        (lambda x: torch.tensor([1.0], device=CPU), True),
        (lambda x: torch.ones(2).to(CPU), True),
        (lambda x: torch.ones(2).to(CPU, non_blocking=True), False),
        (lambda x: torch.ones(2).sum().item(), False),
        (lambda x: x.mul_(2).fill_(3.0)[torch.arange(2)].to(torch.float64), False),
    ],
    ids=list("abcdefghij"),
)
def test_the_watch_sees_what_waits_and_nothing_else(
    work: Callable[[torch.Tensor], object], waits: bool
) -> None:
    values = torch.zeros(4)
    with Watch([values]) as watch:
        work(values)
    assert bool(watch.waits) == waits


def test_what_is_sent_to_a_cpu_is_there_already() -> None:
    rows = torch.arange(3)
    assert sent(rows, CPU) is rows


def test_every_tensor_of_a_dataclass_is_pinned_and_sent_without_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """To the device ``meta``, which has no memory, in place of CUDA."""
    pinned: list[torch.Tensor] = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda x: pinned.append(x) or x)
    knobs = Candidate.from_knobs({"augmentation.kinds": KINDS}).augmentation
    drawn = augment.draw(knobs, 16, 32, torch.Generator().manual_seed(0))
    there = sent(drawn, torch.device("meta"))
    found = [part for kind in KINDS_OF for part in _tensors(getattr(there, kind))]
    assert len(found) == len(pinned) == 11
    assert all(t.device.type == "meta" for t in found)
    assert (there.batch, there.noise and there.noise.seed) == (16, drawn.noise and drawn.noise.seed)


KINDS_OF = ("flip", "warp", "intensity", "blur", "noise")


def _tensors(kind: Any) -> list[torch.Tensor]:
    values = [getattr(kind, name) for name in kind.__dataclass_fields__]
    return [v for v in values if isinstance(v, torch.Tensor)]


@pytest.mark.parametrize("context", [1, 3, 5])
def test_planes_are_those_of_a_loop_over_slices(context: int) -> None:
    images = torch.arange(6 * 4, dtype=torch.uint8).view(6, 2, 2)
    first, last = torch.tensor([0, 0, 0, 3, 3, 3]), torch.tensor([2, 2, 2, 5, 5, 5])
    slices = DeviceSlices(images[:, None], None, first, last)
    knobs = Candidate.from_knobs({"input.context": context, "input.stride": 2}).input
    rows = torch.tensor([5, 0, 2, 3])
    seen = slices.batch_images(rows, knobs)
    for place, row in enumerate(rows.tolist()):
        for plane, offset in enumerate(knobs.offsets):
            near = min(max(row + offset, int(first[row])), int(last[row]))
            assert torch.equal(seen[place, plane], images[near].float() * (1 / 255))
