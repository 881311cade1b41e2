"""Claim: bf16 autocast in channels_last trains the paper's network 3 times as fast as fp32 NCHW.

Images a second of one training step (forward, loss, backward, Adam) at 128 x 128, batch 16, depth
4, on the CPU. Also claimed: twice the speed of MONAI's BasicUNet of equal size in its best mode,
and half of the machine's own bf16 matrix rate (operations of a step by torch's ``FlopCounterMode``,
the rate by a large product in the same turns). All take turns; medians are shown.

    python -m benchmarks.speed.training_step --threads 2 --out benchmarks/results/training_step.md

Networks of equal size have parameter counts within 1 % of each other; this is checked, and that
the logits of a network agree in all its modes.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.measuring import Run, at_least, machine, medians, parser, publish, table
from gitract_core.knobs import NetworkKnobs
from gitract_core.losses import build_loss
from gitract_core.networks import UNet, build_network, parameter_count

SIZE, BATCH, SIDE = 128, 16, 2048
DOUBLING = (16, 32, 64, 128, 256)
LAYOUTS = {"NCHW": torch.contiguous_format, "channels_last": torch.channels_last}
MODES = {f"{p} {layout}": (p, layout) for p in ("fp32", "bf16") for layout in LAYOUTS}
PLAIN, BEST = "fp32 NCHW", "bf16 channels_last"
PAPER, OURS, MONAI = "paper", "standard, plain", "MONAI BasicUNet"
Build = Callable[[], nn.Module]


def networks() -> dict[str, Build]:
    made: dict[str, Build] = {
        PAPER: lambda: build_network(NetworkKnobs(), 3, 3),
        OURS: lambda: build_network(NetworkKnobs(widths="standard"), 3, 3),
        "standard, batch norm": lambda: UNet(3, 3, DOUBLING, narrow=True),
    }
    try:
        from monai.networks.nets import BasicUNet
    except ImportError:
        return made
    features = (*DOUBLING, DOUBLING[0])
    made[MONAI] = lambda: BasicUNet(2, 3, 3, features)
    return made


def training_step(network: nn.Module, precision: str, layout: str) -> Callable[[], None]:
    memory_format = LAYOUTS[layout]
    network = network.to(memory_format=memory_format).train()
    images = torch.rand(BATCH, 3, SIZE, SIZE).to(memory_format=memory_format)
    masks = (torch.rand(BATCH, 3, SIZE, SIZE) > 0.95).float()
    loss = build_loss("bce + 0.5*dice")
    optimizer = torch.optim.Adam(network.parameters())

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16) if precision == "bf16" else nullcontext():
            logits = network(images)
        optimizer.zero_grad(set_to_none=True)
        loss(logits, masks).backward()
        optimizer.step()

    return step


def operations(step: Callable[[], None]) -> int:
    """Floating-point operations of one step; a multiplication and its addition are two."""
    with FlopCounterMode(display=False) as counter:
        step()
    return counter.get_total_flops()


def matrix_product() -> Run:
    left, right = (torch.rand(SIDE, SIDE, dtype=torch.bfloat16) for _ in range(2))
    return lambda: left @ right


@torch.no_grad()
def check(build: Build) -> None:
    """Logits of all modes agree, to the 8 bits of bf16 through some 20 layers."""
    network = build().eval()
    images = torch.rand(1, 3, SIZE, SIZE)
    exact = network(images)
    for precision, layout in MODES.values():
        memory_format = LAYOUTS[layout]
        network.to(memory_format=memory_format)
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            logits = network(images.to(memory_format=memory_format)).float()
        assert (logits - exact).abs().mean() < 0.05 * exact.std(), (precision, layout)


def verdicts(found: dict[tuple[str, str], float], rate: float, work: int) -> list[str]:
    """What came out against the targets; ``rate`` is the matrix rate, ``work`` a step's."""
    lines = [
        at_least("paper, best mode against fp32 NCHW", found[PAPER, PLAIN] / found[PAPER, BEST], 3),
        at_least(
            "standard, plain, best mode against fp32 NCHW",
            found[OURS, PLAIN] / found[OURS, BEST],
            3,
        ),
        at_least("paper, share of the bf16 matrix rate", work / found[PAPER, BEST] / rate, 0.5),
    ]
    if (MONAI, PLAIN) not in found:
        return [*lines, "Skipped MONAI: not installed here."]
    theirs, ours = (min(found[name, mode] for mode in MODES) for name in (MONAI, OURS))
    return [*lines, at_least("standard, plain, against MONAI, best modes", theirs / ours, 2)]


def main() -> None:
    options = parser(__doc__, rounds=5, threads=2).parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    built = networks()
    if MONAI in built:
        sizes = [parameter_count(built[name]()) for name in (OURS, MONAI)]
        assert max(sizes) < 1.01 * min(sizes), sizes
    found: dict[tuple[str, str], float] = {}
    rates, rows = [], []
    for name, build in built.items():
        check(build)
        runs: dict[str, Run] = {m: training_step(build(), *mode) for m, mode in MODES.items()}
        times = medians({**runs, "product": matrix_product()}, options.rounds)
        rates.append(2 * SIDE**3 / times.pop("product"))
        found |= {(name, mode): value for mode, value in times.items()}
        cells = [f"{BATCH / s:.1f} ({times[PLAIN] / s:.2f}x)" for s in times.values()]
        rows.append([name, f"{parameter_count(build()):,}", *cells])
    work = operations(training_step(built[PAPER](), "fp32", "NCHW"))
    intro = (
        f"Images/s; depth 4, {SIZE}x{SIZE}, batch {BATCH}, {options.threads} threads, medians of "
        f"{options.rounds} turns; in brackets the ratio to {PLAIN} of the same network."
    )
    rate = (
        f"A bf16 product of {SIDE}x{SIDE} matrices ran at {rates[0] / 1e9:.0f} GFLOP/s in the "
        f"turns of the paper's network, whose step is {work / 1e9:.0f} GFLOP."
    )
    lines = "\n".join(verdicts(found, rates[0], work))
    parts = [intro, table(["network", "parameters", *MODES], rows), rate, lines]
    publish("Training step, CPU", [*parts, machine("torch", "monai")], options.out)


if __name__ == "__main__":
    main()
