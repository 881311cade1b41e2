"""Captured steps end as plain ones do, on a CPU bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

from gitract_core.device import Replayed, slices_ahead
from gitract_core.errors import RunError, TrialError
from gitract_core.prediction.device_slices import slices_on
from gitract_core.results.trial_result import TrialFiles
from gitract_core.spec import Candidate
from gitract_core.training import loop as training_module
from gitract_core.training import step as step_module
from gitract_core.training.captured_step import CapturedStep, unchanged
from gitract_core.training.checkpoint import Checkpoints, restore
from gitract_core.training.loop import Training
from gitract_core.trial.run import fold_slices, run_trial
from tests.support.rehearsed_steps import Rehearsed, figures, fold_of, make, run
from tests.support.tiny_sweep import prepare_tiny

CHANGES: tuple[dict[str, object], ...] = (
    {"loss": "bce + dice"},
    {"input.channels": 3, "optimizer.schedule": "cosine"},
    {"input.context": 3, "augmentation.kinds": "none", "optimizer.name": "adamw"},
    {"network.family": "unetpp", "network.widths": "4,8,8", "network.depth": 2},
    {"training.precision": "bf16", "input.channels": 3},
    {"training.ema": 0.9, "training.keep": "last"},
)


@pytest.mark.parametrize("changes", CHANGES, ids=str)
def test_captured_steps_end_as_plain_ones_do(
    changes: dict[str, object], tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = prepare_tiny(tiny, tmp_path / "run", changes)
    plain = run(make(sweep), 3)
    assert figures(run(make(sweep, capture=True), 3)) == figures(plain)
    monkeypatch.setattr("gitract_core.training.captured_step.Replayed", Rehearsed)
    assert figures(run(make(sweep, capture=True), 3)) == figures(plain)


def test_whole_batches_go_through_the_captured_step_and_parts_do_not(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = make(prepare_tiny(tiny, tmp_path / "run"), capture=True)
    sizes: list[int] = []
    call = CapturedStep.__call__

    def noted(self: CapturedStep, images: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
        sizes.append(len(images))
        return call(self, images, masks)

    monkeypatch.setattr(CapturedStep, "__call__", noted)
    run(training, 1)
    assert sizes == [4, 4]


@pytest.mark.parametrize("captured", [(True, False), (False, True), (True, True)], ids=str)
def test_a_resumed_trial_may_change_its_mind_about_capture(
    captured: tuple[bool, bool], tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gitract_core.training.captured_step.Replayed", Rehearsed)
    sweep = prepare_tiny(tiny, tmp_path / "run", {"optimizer.schedule": "cosine"})
    whole = run(make(sweep), 3)
    files = TrialFiles(tmp_path / "trial")
    files.directory.mkdir()
    Checkpoints(run(make(sweep, capture=captured[0]), 1), files, 0).after_epoch()
    again = make(sweep, capture=captured[1])
    again.prepare()
    restore(again, files.checkpoint)
    assert again.step.captured is None, "a graph would move the moments of before the checkpoint"
    assert figures(run(again, 2)) == figures(whole)


def test_a_checkpoint_of_another_network_is_refused(tiny: Path, tmp_path: Path) -> None:
    sweep = prepare_tiny(tiny, tmp_path / "run", {}, {"network.widths": "4,9"})
    files = TrialFiles(tmp_path / "trial")
    files.directory.mkdir()
    Checkpoints(run(make(sweep), 1), files, 0).after_epoch()
    other = next(n for n, s in enumerate(sweep.specs) if s.candidate.network.widths == "4,9")
    with pytest.raises(RunError, match="a checkpoint of this trial"):
        restore(make(sweep, other), files.checkpoint)


def test_a_rate_that_is_a_tensor_is_changed_in_place(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on CUDA, but in double precision, so that nothing is rounded."""
    sweep = prepare_tiny(tiny, tmp_path / "run", {"optimizer.schedule": "cosine"})
    plain = run(make(sweep), 3)

    def rate_on(device: torch.device, rate: float) -> torch.Tensor:
        return torch.tensor(rate, dtype=torch.float64)

    monkeypatch.setattr(training_module, "learning_rate_on", rate_on)
    training = make(sweep, capture=True)
    rate = training.optimizer.param_groups[0]["lr"]
    assert training.optimizer.param_groups[0]["capturable"]
    run(training, 3)
    assert training.optimizer.param_groups[0]["lr"] is rate
    assert float(rate) == plain.records[-1].learning_rate < plain.records[0].learning_rate
    assert figures(training) == figures(plain)


def test_what_trains_in_vain_leaves_no_trace(tiny: Path, tmp_path: Path) -> None:
    sweep = prepare_tiny(tiny, tmp_path / "run")
    for epochs in (0, 1):  # without moments, and with some
        training, untouched = run(make(sweep), epochs), run(make(sweep), epochs)
        places = [w.data_ptr() for w in training.network.parameters()]
        with unchanged(training.network, training.optimizer):
            training._train()
        training.started = None
        assert [w.data_ptr() for w in training.network.parameters()] == places
        assert not [w for w in training.network.parameters() if w.grad is not None]
        training.random.set_state(untouched.random.get_state())
        assert figures(run(training, 1)) == figures(run(untouched, 1))


def test_a_step_that_cannot_be_recorded_is_trained_plainly_and_the_log_says_why(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(work: object, device: torch.device, name: str) -> None:
        raise TrialError(name, "a step that a CUDA graph can record", "RuntimeError", "train it")

    monkeypatch.setattr("gitract_core.training.captured_step.Replayed", refuse)
    sweep = prepare_tiny(tiny, tmp_path / "run", {"loss": "focal"})
    assert figures(run(make(sweep, capture=True), 2)) == figures(run(make(sweep), 2))
    (said,) = caplog.messages
    assert said.startswith("the training step is not captured: TrialError: loss focal, network une")


def test_the_network_of_captured_steps_alone_is_compiled(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the compiler's front end, which is what may trip over the network; no code is made."""
    batches: list[tuple[bool, int]] = []

    def backend(graph: torch.fx.GraphModule, inputs: object) -> Callable[..., object]:
        def noted(*arguments: torch.Tensor) -> object:
            images = next(a for a in arguments if a.ndim == 4 and a.shape[-1] == 32)
            batches.append((torch.is_grad_enabled(), len(images)))
            return graph.forward(*arguments)

        return noted

    def traced(network: torch.nn.Module) -> object:
        return torch.compile(network, dynamic=False, fullgraph=True, backend=backend)

    monkeypatch.setattr(step_module, "compiled", traced)
    changes = {"network.widths": "4,8,8", "network.depth": 2, "training.precision": "fp32"}
    sweep = prepare_tiny(tiny, tmp_path / "run", changes)
    training = make(sweep, capture=True)
    training.step.fuse = True
    ended, plain = run(training, 2), run(make(sweep), 2)
    assert batches == [(True, 4)] * 4  # two whole batches an epoch; no part, no validation
    for ours, theirs in zip(ended.records, plain.records, strict=True):
        assert ours.train_loss == pytest.approx(theirs.train_loss, rel=1e-3)


@pytest.mark.parametrize(("more", "fused"), [(0, 1), (1, 0)])
def test_trials_long_enough_for_it_are_fused_where_steps_are_captured(
    more: int, fused: int, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = prepare_tiny(tiny, tmp_path / "run")
    spec, made = sweep.specs[0], []
    slices = len(fold_of(sweep, spec).training)
    monkeypatch.setattr("gitract_core.trial.run.captures", lambda device: True)
    monkeypatch.setattr("gitract_core.trial.run.FUSE_FROM_STEPS", 3 * slices // 4 + more)
    monkeypatch.setattr(step_module, "compiled", lambda net: made.append(net) or net)
    run_trial(spec, sweep.data, tmp_path / "trial")
    assert len(made) == fused


def test_a_network_that_cannot_be_compiled_is_captured_as_it_is(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_compiler(network: torch.nn.Module) -> object:
        def fail(images: torch.Tensor) -> None:
            raise RuntimeError("no C compiler\nmore")

        return fail

    monkeypatch.setattr(step_module, "compiled", no_compiler)
    monkeypatch.setattr("gitract_core.training.captured_step.Replayed", Rehearsed)
    sweep = prepare_tiny(tiny, tmp_path / "run")
    training = make(sweep, capture=True)
    training.step.fuse = True
    assert figures(run(training, 2)) == figures(run(make(sweep), 2))
    assert training.step.captured is not None
    assert caplog.messages == ["the training step is not fused: RuntimeError: no C compiler"]


@pytest.mark.parametrize("capture", [False, True], ids=["plain", "captured"])
def test_slices_prepared_ahead_are_trained_on_in_the_same_steps(
    capture: bool, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = prepare_tiny(tiny, tmp_path / "run", {"augmentation.kinds": "none"})
    one_by_one = run(make(sweep), 2)
    seen: list[int] = []
    monkeypatch.setattr(training_module, "slices_ahead", lambda device, candidate: 8)
    training = make(sweep, capture=capture)
    for _ in range(2):
        training.run_epoch(lambda: seen.append(training.started.done if training.started else 0))
    assert seen == [8, 11] * 2
    assert figures(training) == figures(one_by_one)


def test_prepared_ahead_an_epoch_goes_on_where_its_state_was_saved(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_module, "slices_ahead", lambda device, candidate: 8)
    sweep = prepare_tiny(tiny, tmp_path / "run", {"augmentation.probability": 0.7})
    files, again = TrialFiles(tmp_path / "trial"), make(sweep)
    files.directory.mkdir()
    training = make(sweep)
    saved = Checkpoints(training, files, 1e-9)

    def save_and_die() -> None:
        saved.after_step()
        raise InterruptedError

    with pytest.raises(InterruptedError):
        training.run_epoch(save_and_die)
    restore(again, files.checkpoint)
    assert again.started is not None
    assert again.started.done == 8
    assert figures(run(again, 2)) == figures(run(make(sweep), 2))


@pytest.mark.parametrize(
    ("kind", "batch", "size", "ahead"),
    [("cpu", 16, 128, 16), ("cuda", 16, 128, 256), ("cuda", 24, 128, 240), ("cuda", 64, 512, 64)],
)
def test_a_gpu_is_prepared_whole_batches_for_within_bounds(
    kind: str, batch: int, size: int, ahead: int
) -> None:
    knobs = {"optimizer.batch_size": batch, "input.size": size}
    assert slices_ahead(torch.device(kind), Candidate.from_knobs(knobs)) == ahead


def test_a_warm_up_that_does_not_fit_leaves_the_splitting_of_batches(
    tiny: Path, tmp_path: Path
) -> None:
    training = make(prepare_tiny(tiny, tmp_path / "run"), capture=True)
    asked: list[int] = []

    def refuse(network: torch.nn.Module, inputs: tuple[torch.Tensor]) -> None:
        if network.training and len(inputs[0]) > 2:
            asked.append(len(inputs[0]))
            raise torch.OutOfMemoryError("CUDA out of memory, says the test")

    training.network.register_forward_pre_hook(refuse)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gitract_core.training.captured_step.Replayed", Rehearsed)
        training.run_epoch()
    assert (training.step.micro_batch, asked) == (2, [4, 4])  # the warm-up, then the first batch


class FakeCuda:
    """Stands in for ``torch.cuda``: notes in which order it is used."""

    def __init__(self, patch: pytest.MonkeyPatch, refuses: bool = False) -> None:
        self.log: list[str] = []
        self.refuses, self.stream_now = refuses, "outside"
        patch.setattr(torch.cuda, "Stream", lambda device: FakeStream("side", self.log))
        patch.setattr(torch.cuda, "current_stream", lambda device: FakeStream("main", self.log))
        patch.setattr(torch.cuda, "stream", lambda stream: self.within(stream.name))
        patch.setattr(torch.cuda, "CUDAGraph", lambda: self)
        patch.setattr(torch.cuda, "graph", self.graph)

    @contextmanager
    def within(self, name: str) -> Iterator[None]:
        before, self.stream_now = self.stream_now, name
        yield
        self.stream_now = before

    @contextmanager
    def graph(
        self, graph: object, *, stream: FakeStream, capture_error_mode: str
    ) -> Iterator[None]:
        assert (graph, stream.name, capture_error_mode) == (self, "side", "thread_local")
        if self.refuses:
            raise RuntimeError("operation not permitted when stream is capturing\nmore")
        self.log.append("begin")
        yield
        self.log.append("end")

    def replay(self) -> None:
        self.log.append("replay")


@dataclass
class FakeStream:
    name: str
    log: list[str]

    def wait_stream(self, other: FakeStream) -> None:
        self.log.append(f"{self.name} waits for {other.name}")


def test_work_is_warmed_up_and_recorded_aside_then_replayed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cuda = FakeCuda(monkeypatch)

    def work() -> torch.Tensor:
        assert cuda.stream_now == "side"
        cuda.log.append("work")
        return torch.zeros(())

    replayed = Replayed(work, torch.device("cuda"), "a step")
    before = ["side waits for main", *["work"] * 3, "begin", "work", "end", "main waits for side"]
    assert cuda.log == before
    assert replayed() is replayed(), "the very same tensor, overwritten"
    assert cuda.log == [*before, "replay", "replay"]


def test_work_that_cuda_refuses_to_record_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = FakeCuda(monkeypatch, refuses=True)
    with pytest.raises(TrialError) as caught:
        Replayed(lambda: torch.zeros(()), torch.device("cuda"), "loss bce")
    assert str(caught.value) == (
        "loss bce: expected a step that a CUDA graph can record, got RuntimeError: operation not "
        "permitted when stream is capturing; train without capture"
    )
    assert cuda.log[-1] == "main waits for side"


def test_few_slices_are_never_captured(tiny: Path, tmp_path: Path) -> None:
    training = make(prepare_tiny(tiny, tmp_path / "run"), capture=True)
    training.data = replace(training.data, training=training.data.training[:3])
    training.run_epoch()
    assert training.step.captured is None


@pytest.mark.gpu
@pytest.mark.parametrize("changes", CHANGES, ids=str)
def test_on_a_gpu_captured_steps_train_as_plain_ones(
    changes: dict[str, object], tiny: Path, tmp_path: Path
) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    sweep, device = prepare_tiny(tiny, tmp_path / "run", changes), torch.device("cuda")
    spec, cache = sweep.specs[0], sweep.data.cache(32)
    data = fold_slices(cache, slices_on(cache, device), sweep.data.plan, spec.fold)
    plain, captured = (run(Training(spec, data, device, capture=c), 3) for c in (False, True))
    for ours, theirs in zip(captured.records, plain.records, strict=True):
        assert ours.train_loss == pytest.approx(theirs.train_loss, rel=2e-2)
    fused = run(Training(spec, data, device, capture=True, fuse=True), 3)
    for ours, theirs in zip(fused.records, plain.records, strict=True):
        assert ours.train_loss == pytest.approx(theirs.train_loss, rel=2e-2)
    torch.cuda.set_sync_debug_mode("error")
    try:
        with pytest.raises(RuntimeError, match="synchroniz"):
            captured._train()  # the one read at its end
    finally:
        torch.cuda.set_sync_debug_mode("default")
