"""The device that training runs on: every CUDA call is in this module."""

from __future__ import annotations

import os
import platform
import re
import resource
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, TypeVar, cast

import torch
from torch import nn

from gitract_core.errors import GitractError, TrialError
from gitract_core.spec import Candidate

T = TypeVar("T")

_PIXELS_AHEAD = 2**22  # 256 slices of 128 x 128
_WARM_UP_RUNS = 3  # as PyTorch's notes on CUDA graphs do: libraries set themselves up at first


def unsaid(line: str) -> None:
    """For a line that nobody reads."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """Where and with how many threads a trial runs; none of it takes part in its key.

    Attributes:
        device: ``auto`` (CUDA if there is one), ``cpu`` or ``cuda``.
        threads: processor threads of a trial on the CPU; concurrent trials share the cores, so
            the executor sets it. Results on a CPU are equal bit by bit for equal threads.
        keep_oof: leave out-of-fold probabilities behind; without them they are predicted anew from
            the weights when they are asked for.
        capture: on CUDA, replay whole training steps from a graph (see ``captured_step``) and, in
            trials long enough to pay for it, let the compiler fuse them (``compiled``).
        checkpoint_minutes: how long a trial goes on inside an epoch without saving its state; with
            0 it is saved after epochs alone.
        split_batches: train a batch that does not fit the device's memory in two parts; without it
            the attempt ends. Of no effect where memory suffices.
        keep_state: leave the last state of a trial behind that ran out of epochs, so that a sweep
            with more epochs goes on from there.
        say: takes a line for the trial's log, for example on whose training it goes on from.
    """

    device: str = "auto"
    threads: int = 1
    keep_oof: bool = True
    capture: bool = True
    checkpoint_minutes: float = 10.0
    keep_state: bool = True
    split_batches: bool = True
    say: Callable[[str], object] = unsaid

    def __post_init__(self) -> None:
        if not re.fullmatch(r"auto|cpu|cuda(:\d{1,4})?", self.device, re.ASCII):
            raise GitractError("device", "auto, cpu or cuda", repr(self.device), "pass one of them")

    def torch_device(self) -> torch.device:
        """The device, with the thread count set.

        Raises:
            GitractError: CUDA is asked for and there is none.
        """
        torch.set_num_threads(self.threads)
        name = self.device
        if name == "auto":
            name = "cuda" if torch.cuda.is_available() else "cpu"
        if name.startswith("cuda") and not torch.cuda.is_available():
            remedy = "pass --device cpu or mend the driver (gitract-cv doctor)"
            raise GitractError("device", "a CUDA device", "none", remedy)
        return torch.device(name)


def sent(value: T, device: torch.device) -> T:
    """A tensor, or a dataclass of them, on the device; the host does not wait for the copy.

    A copy from ordinary memory may wait for all work before it, one from pinned memory does not.
    """
    if device.type == "cpu":
        return value
    if isinstance(value, torch.Tensor):
        return cast(T, value.pin_memory().to(device, non_blocking=True))
    if is_dataclass(value) and not isinstance(value, type):
        parts: dict[str, Any] = {
            f.name: sent(getattr(value, f.name), device) for f in fields(value)
        }
        return replace(value, **parts)
    return value


def slices_ahead(device: torch.device, candidate: Candidate) -> int:
    """How many slices to gather and augment at once: whole batches, one of them on a CPU.

    On a GPU the launches that this takes cost more than the work (an H100 trains standard widths
    at batch 16 faster than its host launches the augmentation of each batch).
    """
    batch, size = candidate.optimizer.batch_size, candidate.input.size
    if device.type == "cpu":
        return batch
    return max(1, _PIXELS_AHEAD // (batch * size**2)) * batch


def captures(device: torch.device) -> bool:
    """Whether replayed steps are faster than plain ones there; on a CPU they are the same."""
    return device.type == "cuda"


def compiled(network: nn.Module) -> nn.Module:
    """The network, its forward and backward pass fused by ``torch.compile`` at the first call.

    Every other size of a batch would be compiled anew. The compiler needs Triton and a C compiler,
    and says so at the first call.
    """
    return cast(nn.Module, torch.compile(network, dynamic=False))


def learning_rate_on(device: torch.device, rate: float) -> float | torch.Tensor:
    """A learning rate that an optimizer keeps: on CUDA a number in memory, as graphs need it."""
    return torch.tensor(rate, device=device) if device.type == "cuda" else rate


class Replayed:
    """Work on tensors that stay in place: a CUDA graph on CUDA, the work itself elsewhere.

    A graph costs one launch where the work costs one a kernel. Made as PyTorch's notes say
    (https://docs.pytorch.org/docs/stable/notes/cuda.html#whole-network-capture).

    Args:
        work: reads and writes tensors in place and waits for nothing; what it gives is overwritten
            by the next call. On CUDA it is run three times here, to warm up, and then recorded;
            never again called.
        device: where the tensors are.
        name: what the work is, for the error.

    Raises:
        TrialError: the work cannot be recorded.
        torch.OutOfMemoryError: the warm-up does not fit the device.
    """

    def __init__(self, work: Callable[[], torch.Tensor], device: torch.device, name: str) -> None:
        self._replay = work
        if device.type == "cuda":
            self._replay = _captured(work, device, name)

    def __call__(self) -> torch.Tensor:
        """Do the work on what its tensors hold now."""
        return self._replay()


def _captured(
    work: Callable[[], torch.Tensor], device: torch.device, name: str
) -> Callable[[], torch.Tensor]:
    outside, stream = torch.cuda.current_stream(device), torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    stream.wait_stream(outside)
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UP_RUNS):
                work()
            try:
                # Other threads may use CUDA meanwhile, which the default mode forbids.
                with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
                    result = work()
            except RuntimeError as error:  # lack of memory is one too
                got = f"{type(error).__name__}: {str(error).partition(chr(10))[0]:.120}"
                expected, remedy = "a step that a CUDA graph can record", "train without capture"
                raise TrialError(name, expected, got, remedy) from error
    finally:
        outside.wait_stream(stream)

    def replay() -> torch.Tensor:
        graph.replay()
        return result

    return replay


def supports_bf16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 matrices in hardware."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))


def resolve_precision(precision: str, device: torch.device) -> str:
    """``bf16`` or ``fp32`` for a knob that may say ``auto``."""
    if precision != "auto":
        return precision
    return "bf16" if supports_bf16(device) else "fp32"


def gpu_memory_sizes() -> list[int]:
    """Bytes of each CUDA device that this process sees; empty without one."""
    if not torch.cuda.is_available():
        return []
    count = torch.cuda.device_count()
    return [int(torch.cuda.get_device_properties(i).total_memory) for i in range(count)]


def free_memory(device: torch.device) -> tuple[int, int]:
    """Free bytes and all bytes of a GPU, or of this machine, whoever uses the rest."""
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        return int(free), int(total)
    pages = [os.sysconf(name) for name in ("SC_AVPHYS_PAGES", "SC_PHYS_PAGES")]
    return pages[0] * os.sysconf("SC_PAGE_SIZE"), pages[1] * os.sysconf("SC_PAGE_SIZE")


def see_one_gpu(place: int) -> None:
    """Let this process, which has not used CUDA yet, see one of the machine's GPUs, in turn.

    Args:
        place: number of the process; those beyond the last GPU begin again with the first.
    """
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    gpus = named.split(",") if named else [str(n) for n in range(torch.cuda.device_count())]
    if gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpus[place % len(gpus)]


def peak_memory_bytes(device: torch.device) -> int:
    """Most memory held so far: of this trial on a GPU, of this process on a CPU."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def finish(device: torch.device) -> None:
    """Wait for everything that was queued on the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def start_measuring(device: torch.device) -> None:
    """Begin a trial: forget the last one's memory."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def device_name(device: torch.device) -> str:
    """The card's or processor's own name."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        with open("/proc/cpuinfo") as lines:
            names = [line.split(":", 1)[1].strip() for line in lines if "model name" in line]
    except OSError:
        names = []
    return f"{names[0] if names else platform.processor() or 'CPU'} ({os.cpu_count()} cores)"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device's memory did not hold something; for processors torch has no own type."""
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator: " in str(error)
