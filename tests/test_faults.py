"""Faults, injected: nothing finished is repeated, nothing is lost, no file is left half written.

``docs/faults.md`` is the table of them.
"""

from __future__ import annotations

import dataclasses
import errno
import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import StringIO
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from rich.console import Console
from torch import nn
from typer.testing import CliRunner

from gitract_core.device import slices_on
from gitract_core.errors import DataError, RunError, TrialError
from gitract_core.files import read_json
from gitract_core.held_out import open_oof
from gitract_core.networks import build_network
from gitract_core.oof import OofStore
from gitract_core.results import TrialFiles, TrialResult, read_history
from gitract_core.slices import SliceIndex
from gitract_core.training import Training
from gitract_core.trial import fold_slices, iterate_trial, run_trial
from orchestrator.executor import Jobs, TrialEvent, attempt, note_failure
from orchestrator.leaderboard import build_leaderboard
from orchestrator.local_executor import LocalExecutor
from orchestrator.progress import SweepProgress
from orchestrator.slots import Slots
from orchestrator.status import is_locked, read_status
from orchestrator.sweep import PreparedSweep
from tests.tiny_sweep import prepare_tiny

ROOT = Path(__file__).parent.parent
SPACE = """
folds: 2
loss: bce
network: {widths: "4,8", depth: 1}
input: {size: 32, channels: 1}
optimizer: {learning_rate: 0.01, batch_size: 4}
"""


def jobs_of(sweep: PreparedSweep, retries: int = 0) -> Jobs:
    return Jobs(sweep.pending, sweep.data, sweep.directory.trials, Slots(1), retries)


def half_written(run: Path) -> list[Path]:
    return list(run.rglob("*.part*"))


def lock_holder(lock: Path) -> int | None:
    """The process that holds a lock, as the kernel tells; Linux."""
    inode = lock.stat().st_ino
    for line in Path("/proc/locks").read_text().splitlines():
        found = re.search(r"FLOCK\s+ADVISORY\s+WRITE (\d+) \S+:(\d+) ", line)
        if found and int(found[2]) == inode:
            return int(found[1])
    return None


def wait_until(true: Callable[[], object], seconds: float = 200) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def same_but_for_cost(one: TrialResult, other: TrialResult) -> bool:
    return dataclasses.replace(one, cost={}) == dataclasses.replace(other, cost={})


# --- processes that end -------------------------------------------------------------------------


def sweep_command(home: Path, data: Path, limit_bytes: int = 0) -> subprocess.Popen[str]:
    """``gitract-cv sweep`` in a process of its own, perhaps with a limit on the size of files."""
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit_bytes}, -1)); "
    code = f"{limit if limit_bytes else ''}from orchestrator.cli import main; main()"
    arguments = ["sweep", "--local", "--data", str(data), "--space", "space.yaml", "--out", "run"]
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=home,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "100", "PYTHONPATH": str(ROOT)},
    )


def ended(process: subprocess.Popen[str]) -> str:
    """What a command said on stderr by its end, which must come."""
    try:
        return process.communicate(timeout=250)[1]
    finally:
        process.kill()
        process.communicate()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_sweep_takes_its_workers_with_it_and_goes_on(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "space.yaml").write_text(SPACE + "training: {epochs: 400, patience: 400}\n")
    trials = tmp_path / "run/trials"
    running = sweep_command(tmp_path, tiny)
    wait_until(lambda: len(list(trials.glob("*/checkpoint.pt"))) == 2)
    holders = [lock_holder(lock) for lock in trials.glob("*/.lock")]
    assert len(set(holders)) == 2
    assert None not in holders
    running.kill()
    running.communicate()
    wait_until(lambda: not any(is_locked(lock) for lock in trials.glob("*/.lock")), 20)
    before = {file: read_history(file) for file in trials.glob("*/history.csv")}
    assert all(0 < len(epochs) < 400 for epochs in before.values())
    again = sweep_command(tmp_path, tiny)
    said = ended(again)
    assert again.returncode == 0, said
    assert "2/2" in said
    for file, epochs in before.items():
        after = read_history(file)[: len(epochs)]
        assert after[:-1] == epochs[:-1], "seconds tell an epoch from its repetition"
        # The kill may fall between the history and the checkpoint of an epoch: one is repeated.
        assert dataclasses.replace(after[-1], seconds=0) == dataclasses.replace(
            epochs[-1], seconds=0
        )
    assert not half_written(tmp_path / "run")


def test_a_second_writer_is_locked_out(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gitract_core.trial._LOCK_PATIENCE_SECONDS", 0.3)
    sweep = prepare_tiny(tiny, tmp_path / "run")
    first = iterate_trial(sweep.specs[0], sweep.data, tmp_path / "trial")
    next(first)
    before = (tmp_path / "trial/history.csv").read_bytes()
    with pytest.raises(TrialError, match="another process that runs it"):
        run_trial(sweep.specs[0], sweep.data, tmp_path / "trial")
    assert (tmp_path / "trial/history.csv").read_bytes() == before
    assert [record.epoch for record in first] == [2, 3]


# --- disks that are full ------------------------------------------------------------------------


@contextmanager
def largest_file(size_bytes: int) -> Iterator[None]:
    """The system refuses to write beyond this size, as it does when a disk is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("room_bytes", [100, 4000, 16000])
def test_full_disk_is_told_and_leaves_no_half_file(
    room_bytes: int, tiny: Path, tmp_path: Path
) -> None:
    """Too full for the history, for the weights, for the checkpoint."""
    sweep = prepare_tiny(tiny, tmp_path / "run")
    spec, jobs = sweep.specs[0], jobs_of(sweep)
    files = jobs.files(spec.key)
    with largest_file(room_bytes):
        events = list(attempt(spec, jobs))
        last = note_failure(events[-1], spec, jobs, 1)
    assert [(e.kind, e.fault, e.may_pass) for e in events] == [("error", "disk", True)]
    assert "expected room to write" in events[0].message
    assert (last.kind, last.fault, last.message) == ("failed", "disk", events[0].message)
    assert files.failure.is_file() == (room_bytes > 100 and files.failure.stat().st_size > 0)
    assert not half_written(tmp_path)
    assert not files.checkpoint.exists()
    events = list(attempt(spec, jobs))
    assert [e.record.epoch for e in events if e.record] == [1, 2, 3]
    assert (events[-1].kind, files.failure.exists()) == ("finished", False)


def test_a_disk_that_fills_later_keeps_the_last_checkpoint(tiny: Path, tmp_path: Path) -> None:
    sweep = prepare_tiny(tiny, tmp_path / "run")
    spec, files = sweep.specs[0], TrialFiles(tmp_path / "trial")
    running = iterate_trial(spec, sweep.data, files.directory)
    next(running)
    whole = files.checkpoint.read_bytes()
    with largest_file(len(whole) // 2), pytest.raises(OSError, match="too large"):
        next(running)
    assert files.checkpoint.read_bytes() == whole
    assert not half_written(tmp_path)
    assert [r.epoch for r in iterate_trial(spec, sweep.data, files.directory)] == [2, 3]


def test_no_space_left_says_so() -> None:
    error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    event = TrialEvent.from_exception("key", error)
    assert event.message.startswith("the run directory or the cache: expected room to write")
    assert "No space left on device; free some space" in event.message


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_sweep_on_a_full_disk_exits_1_and_goes_on_when_there_is_room(
    tiny: Path, tmp_path: Path
) -> None:
    prepare_tiny(tiny, tmp_path / "other")  # the cache is there already
    (tmp_path / "space.yaml").write_text(SPACE + "training: {epochs: 2}\n")
    full = sweep_command(tmp_path, tiny, limit_bytes=16000)
    said = ended(full)
    assert full.returncode == 1, said
    assert said.count("expected room to write, got") == 4, "two trials, two attempts each"
    assert "2 trials failed for good" in said
    assert "report: expected room to write the page and tables" in said
    assert "Traceback" not in said
    assert not half_written(tmp_path / "run")
    again = sweep_command(tmp_path, tiny)
    said = ended(again)
    assert again.returncode == 0, said
    assert not list((tmp_path / "run").glob("trials/*/failure.json"))


# --- files that are damaged ---------------------------------------------------------------------


def test_damaged_result_is_set_aside_and_made_again(tiny: Path, tmp_path: Path) -> None:
    sweep = prepare_tiny(tiny, tmp_path / "run", {"training.epochs": 2})
    spec, jobs = sweep.specs[0], jobs_of(sweep)
    files = jobs.files(spec.key)
    assert list(attempt(spec, jobs))[-1].kind == "finished"
    first, half = TrialResult.load(files.result), files.result.read_bytes()[:500]
    assert files.is_finished()
    files.result.write_bytes(half)
    assert not files.is_finished()
    assert files.result.read_bytes() == half, "asking changes nothing"
    assert read_status(sweep.directory).trials[0].state == "damaged"
    assert [e.kind for e in attempt(spec, jobs)] == ["epoch", "epoch", "finished"]
    assert same_but_for_cost(TrialResult.load(files.result), first)
    assert files.damaged.read_bytes() == half


def test_unreadable_result_is_left_alone(tiny: Path, tmp_path: Path) -> None:
    """A disk that does not answer says nothing about the file."""
    sweep = prepare_tiny(tiny, tmp_path / "run", {"training.epochs": 1})
    run_trial(sweep.specs[0], sweep.data, tmp_path / "trial")
    files = TrialFiles(tmp_path / "trial")

    def no_answer(self: Path) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(self))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "read_bytes", no_answer)
        with pytest.raises(OSError, match="Input/output"):
            files.is_finished()
    assert files.is_finished()
    assert not files.damaged.exists()


def test_cut_history_of_a_stopped_trial_is_written_anew(tiny: Path, tmp_path: Path) -> None:
    sweep = prepare_tiny(tiny, tmp_path / "run")
    files = TrialFiles(tmp_path / "trial")
    stopped = iterate_trial(sweep.specs[0], sweep.data, files.directory)
    first = [next(stopped), next(stopped)]
    stopped.close()  # type: ignore[attr-defined]
    files.history.write_bytes(files.history.read_bytes()[:-40])
    with pytest.raises(RunError, match=r"history\.csv"):
        read_history(files.history)
    rest = list(iterate_trial(sweep.specs[0], sweep.data, files.directory))
    assert [r.epoch for r in rest] == [3]
    assert read_history(files.history) == first + rest


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # numpy's open file
def test_cut_oof_is_named_and_predicted_anew_once_removed(tiny: Path, tmp_path: Path) -> None:
    sweep = prepare_tiny(tiny, tmp_path / "run", {"training.epochs": 1})
    spec, files = sweep.specs[0], TrialFiles(tmp_path / "trial")
    run_trial(spec, sweep.data, files.directory)
    before = dict(OofStore(files.oof))
    files.oof.write_bytes(files.oof.read_bytes()[:-100])
    with pytest.raises(RunError, match=r"oof\.npz: expected out-of-fold probabilities"):
        open_oof(spec, files, sweep.data)
    files.oof.unlink()
    after = dict(open_oof(spec, files, sweep.data))
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[scan], after[scan]) for scan in before)


def test_image_damaged_after_the_cache_was_built(own_tiny: Path, tmp_path: Path) -> None:
    """Trials read the cache and go on; whatever reads the image names it."""
    image = sorted(own_tiny.glob("train/case7/*/scans/*.png"))[2]
    pixels = cv2.imread(str(image), cv2.IMREAD_UNCHANGED)
    assert pixels is not None
    assert cv2.imwrite(str(image), pixels[::-1])  # a data set, and so a cache, of our own
    sweep = prepare_tiny(own_tiny, tmp_path / "run", {"training.epochs": 1})
    content = image.read_bytes()
    start = content.index(b"IDAT") + 4
    image.write_bytes(content[:start] + bytes(40) + content[start + 40 :])
    for spec in sweep.specs:
        run_trial(spec, sweep.data, sweep.directory.trial(spec).directory)
    from orchestrator.cli import predicting, running
    from orchestrator.cli.app import app

    assert predicting.ensemble
    assert running.sweep
    out, images = tmp_path / "submission.csv", own_tiny / "train"
    arguments = ["ensemble", sweep.directory.path, "--top", 1, "--images", images, "--out", out]
    error = CliRunner().invoke(app, [str(a) for a in arguments]).exception
    assert isinstance(error, DataError)
    assert str(error).startswith(f"{image}: expected a readable PNG")
    assert not out.exists()
    assert not half_written(tmp_path)
    image.write_bytes(content[:200])
    with pytest.raises(DataError, match=f"{image.name}: expected a complete PNG"):
        SliceIndex.from_directory(own_tiny)


# --- losses that diverge ------------------------------------------------------------------------


def test_diverged_trial_is_not_tried_again_and_is_shown_as_diverged(
    tiny: Path, tmp_path: Path
) -> None:
    overflow = {"loss": "3e38*bce + 3e38*dice", "training.epochs": 1}
    sweep = prepare_tiny(tiny, tmp_path / "run", {"training.epochs": 1}, overflow)
    sweep = dataclasses.replace(sweep, pending=[s for s in sweep.specs if s.fold == 0])
    healthy, diverged = sweep.pending
    text = StringIO()
    console = Console(file=text, width=100)
    events: list[TrialEvent] = []
    with SweepProgress(console, sweep.directory, sweep.specs) as progress:
        both: Callable[[TrialEvent], None] = lambda e: (events.append(e), progress(e))[1]  # noqa: E731
        LocalExecutor().run(jobs_of(sweep, retries=3), both)
        console.print(progress._table())
    errors = [(e.key, e.kind, e.fault) for e in events if e.kind in ("error", "failed")]
    key = diverged.key
    assert errors == [(key, "error", "diverged"), (key, "failed", "diverged")]
    assert (healthy.key, "finished") in [(e.key, e.kind) for e in events]
    failure = read_json(sweep.directory.trial(diverged).failure)
    assert (failure["kind"], failure["attempts"]) == ("diverged", 1)
    assert "fold 0: diverged for good" in text.getvalue()
    assert re.search(r"3e\+?38.* diverged +-", text.getvalue())
    states = {t.spec.key: t.state for t in read_status(sweep.directory).trials}
    assert (states[key], states[healthy.key]) == ("diverged", "finished")
    reasons = [line.reasons[0] for line in build_leaderboard(sweep.directory).unranked]
    assert any("(diverged)" in reason for reason in reasons)
    assert not half_written(tmp_path)


# --- devices that are full ----------------------------------------------------------------------


class SmallDevice:
    """Networks that run out of memory on batches larger than ``holds``, or ``validates``."""

    def __init__(self, holds: int, batch_norm: bool = True, validates: int = 1000) -> None:
        self.holds, self.batch_norm, self.validates = holds, batch_norm, validates
        self.refusals = 0

    def __call__(self, *arguments: object) -> nn.Module:
        network = build_network(*arguments)  # type: ignore[arg-type]
        if not self.batch_norm:
            for module in network.modules():
                for name, child in module.named_children():
                    if isinstance(child, nn.BatchNorm2d):
                        setattr(module, name, nn.Identity())
        network.register_forward_pre_hook(self._refuse)
        return network

    def _refuse(self, network: nn.Module, inputs: tuple[torch.Tensor]) -> None:
        if len(inputs[0]) > (self.holds if network.training else self.validates):
            self.refusals += 1
            raise torch.OutOfMemoryError("CUDA out of memory, says the test")


@contextmanager
def device_of(small: SmallDevice) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gitract_core.training.build_network", small)
        patch.setattr("gitract_core.inference.build_network", small)
        yield


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
    for training.micro_batch in (7, 3):  # 3 + 3 + 1
        loss = float(training._gradients(images, masks))
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
            progress(event)
    assert TrialResult.load(jobs.files(spec.key).result).environment["micro_batch"] == 2
    assert "memory ran out; batches of 4 went in parts of 2 slices" in text.getvalue()
    assert read_status(sweep.directory).trials[0].micro_batch == 2


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
            progress(event)
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


# --- the table ----------------------------------------------------------------------------------


def test_every_fault_of_the_table_names_a_test_that_exists() -> None:
    lines = (ROOT / "docs/faults.md").read_text().splitlines()
    rows = [line for line in lines if line.startswith("| ") and "---" not in line][1:]
    assert len(rows) >= 14
    for row in rows:
        named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", row)
        assert named, row
        for file, name in named:
            assert f"def {name}(" in (ROOT / file).read_text(), name


@pytest.fixture(autouse=True)
def no_orphans() -> Iterator[None]:
    """Whatever a test started here ends with it."""
    yield
    assert not [c for c in _children() if c], "a process was left behind"


def _children() -> list[int]:
    import multiprocessing

    return [child.pid or 0 for child in multiprocessing.active_children()]
