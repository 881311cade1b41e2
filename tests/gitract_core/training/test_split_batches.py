"""Devices too small for a batch: it is split, told, and remembered."""

from __future__ import annotations

import dataclasses
from io import StringIO
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from gitract_core.prediction.device_slices import slices_on
from gitract_core.prediction.probabilities import OofStore
from gitract_core.results.trial_result import TrialResult
from gitract_core.training.loop import Training
from gitract_core.trial.run import fold_slices
from orchestrator.capacity.trial_slots import Slots
from orchestrator.execution.executor import attempt
from orchestrator.report.progress_table import SweepProgress
from orchestrator.results.status import read_status
from tests.support.faulty_sweep import half_written, jobs_of
from tests.support.faulty_trials import same_but_for_cost
from tests.support.small_device import SmallDevice, device_of
from tests.support.tiny_sweep import prepare_tiny

pytestmark = pytest.mark.usefixtures("no_orphans")


class SmallProcessor(SmallDevice):
    """Whose memory really runs out."""

    def fail(self) -> None:
        torch.empty(2**60, dtype=torch.uint8)


def test_split_batches_have_the_gradient_of_whole_ones(tiny: Path, tmp_path: Path) -> None:
    """Without batch normalization, and with a loss that is a mean over pixels."""
    changes = {"loss": "bce", "training.precision": "fp32"}
    sweep, device = prepare_tiny(tiny, tmp_path / "run", changes), torch.device("cpu")
    cache, spec = sweep.data.cache(32), sweep.specs[0]
    data = fold_slices(cache, slices_on(cache, device), sweep.data.plan, 0)
    with device_of(SmallDevice(7, batch_norm=False)):
        training = Training(spec, data, device)
    training.network.train()
    rows = data.training[:7]
    images = data.slices.batch_images(rows, spec.candidate.input)
    masks = data.slices.batch_masks(rows)
    found = []
    for training.step.micro_batch in (7, 3):  # 3 + 3 + 1
        loss = float(training.step.gradients(images, masks))
        weights = dict(training.network.named_parameters())
        found.append((loss, {n: w.grad.numpy() for n, w in weights.items() if w.grad is not None}))
    (whole_loss, whole), (split_loss, split) = found
    assert split_loss == pytest.approx(whole_loss)
    assert max(abs(g).max() for g in whole.values()) > 1e-3
    for name, gradient in whole.items():
        np.testing.assert_allclose(split[name], gradient, rtol=1e-3, atol=1e-6, err_msg=name)


def test_split_batches_are_told_and_outlive_an_interruption(tiny: Path, tmp_path: Path) -> None:
    sweep = prepare_tiny(tiny, tmp_path / "run")
    spec, jobs = sweep.specs[0], jobs_of(sweep)
    text = StringIO()
    small = SmallDevice(2)
    with device_of(small):
        stopped = attempt(spec, jobs)
        assert [e.kind for e in islice(stopped, 1)] == ["epoch"]
        stopped.close()  # type: ignore[attr-defined]
    assert small.refusals == 1, "asked once, then remembered"
    with device_of(SmallDevice(4)):  # there would be room now
        progress = SweepProgress(Console(file=text, width=200), sweep.directory, sweep.specs)
        for event in attempt(spec, jobs):
            progress(event.for_listeners())
    assert TrialResult.load(jobs.files(spec.key).result).environment["micro_batch"] == 2
    assert "memory ran out; batches of 4 went in parts of 2 slices" in text.getvalue()
    assert read_status(sweep.directory).trials[0].micro_batch == 2


def test_memory_of_processors_runs_out_too(tiny: Path, tmp_path: Path) -> None:
    """PyTorch has no type of error for it."""
    changes = {"training.epochs": 1}
    sweep, spent = (prepare_tiny(tiny, tmp_path / name, changes) for name in ("run", "spent"))
    with device_of(SmallProcessor(2, validates=2)):
        *_, last = attempt(sweep.specs[0], jobs_of(sweep))
    assert last.kind == "finished"
    environment = TrialResult.load(jobs_of(sweep).files(sweep.specs[0].key).result).environment
    assert (environment["micro_batch"], environment["validation_parts"]) == (2, 2)
    with device_of(SmallProcessor(1)):
        (last,) = attempt(spent.specs[0], jobs_of(spent))
    assert (last.kind, last.fault) == ("error", "memory")


def test_the_smallest_batch_that_can_be_split_is_of_two(tiny: Path, tmp_path: Path) -> None:
    changes = {"optimizer.batch_size": 2, "training.epochs": 1}
    sweep = prepare_tiny(tiny, tmp_path / "run", changes)
    with device_of(SmallDevice(1, batch_norm=False)):
        *_, last = attempt(sweep.specs[0], jobs_of(sweep))
    assert last.kind == "finished"
    result = TrialResult.load(jobs_of(sweep).files(sweep.specs[0].key).result)
    assert result.environment["micro_batch"] == 1


def test_a_device_too_small_for_half_a_batch_ends_the_attempt(tiny: Path, tmp_path: Path) -> None:
    sweep = prepare_tiny(tiny, tmp_path / "run")
    small = SmallDevice(1)
    with device_of(small):
        events = list(attempt(sweep.specs[0], jobs_of(sweep)))
    assert [(e.kind, e.fault, e.may_pass) for e in events] == [("error", "memory", True)]
    assert small.refusals == 2
    assert "out of memory, in smaller parts too" in events[0].message
    assert not half_written(tmp_path)


@pytest.mark.parametrize("slots", [Slots(1), Slots(2, gpus=0.5)], ids=["alone", "beside others"])
def test_validation_in_parts_changes_no_figure_and_is_told(
    slots: Slots, tiny: Path, tmp_path: Path
) -> None:
    """Nor does one that is stopped and goes on; a loss that pools over a batch is the hard case."""
    changes = {"loss": "dice", "training.precision": "fp32", "network.family": "unetpp"}
    whole, split = (prepare_tiny(tiny, tmp_path / name, changes) for name in ("whole", "split"))
    jobs = dataclasses.replace(jobs_of(split), slots=slots)
    (spec, _), text, small = split.specs, StringIO(), SmallDevice(4, validates=2)
    list(attempt(spec, jobs_of(whole)))
    progress = SweepProgress(Console(file=text, width=200), split.directory, split.specs)
    with device_of(small):
        stopped = attempt(spec, jobs)
        assert [e.kind for e in islice(stopped, 1)] == ["epoch"]
        stopped.close()  # type: ignore[attr-defined]
        assert small.refusals == 4, "all, a half, a quarter and an eighth of the slices"
        for event in attempt(spec, jobs):
            progress(event.for_listeners())
    assert small.refusals == 4, "remembered, and by the last prediction too"
    found, expected = (TrialResult.load(s.directory.trial(spec).result) for s in (split, whole))
    assert found.environment["validation_parts"] == 2
    assert expected.environment["validation_parts"] == 0
    found = dataclasses.replace(found, environment=expected.environment)
    assert same_but_for_cost(found, expected)
    oof, plain = (OofStore(s.directory.trial(spec).oof) for s in (split, whole))
    assert {scan: oof[scan].tolist() for scan in oof} == {s: plain[s].tolist() for s in plain}
    assert "memory ran out; validation went in parts of 2 slices" in text.getvalue()
    assert read_status(split.directory).trials[0].validation_parts == 2


def test_a_device_too_small_for_one_slice_in_validation_ends_the_attempt(
    tiny: Path, tmp_path: Path
) -> None:
    sweep = prepare_tiny(tiny, tmp_path / "run")
    small = SmallDevice(4, validates=0)
    with device_of(small):
        events = list(attempt(sweep.specs[0], jobs_of(sweep)))
    assert [(e.kind, e.fault, e.may_pass) for e in events] == [("error", "memory", True)]
    assert small.refusals == 6, "half as many each time, down to one"
