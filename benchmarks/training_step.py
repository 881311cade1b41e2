"""Claim: bf16 autocast in channels_last trains a network at least 2.5 times as fast as fp32 NCHW.

Images a second of one training step (forward, loss, backward, Adam) at 128 x 128, batch 16, depth
4, on the CPU. Variants take turns, so that a noisy machine is noisy to all; medians are shown.

    python benchmarks/training_step.py --threads 2 --rounds 7

MONAI's BasicUNet, of the widths of the second network, is timed too where MONAI is installed.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext

import torch
from torch import nn

from gitract_core.knobs import NetworkKnobs
from gitract_core.losses import build_loss
from gitract_core.networks import UNet, build_network, parameter_count

SIZE, BATCH = 128, 16
DOUBLING = (16, 32, 64, 128, 256)
LAYOUTS = {"NCHW": torch.contiguous_format, "channels_last": torch.channels_last}
VARIANTS = [(p, layout) for p in ("fp32", "bf16") for layout in LAYOUTS]


def networks() -> dict[str, Callable[[], nn.Module]]:
    made: dict[str, Callable[[], nn.Module]] = {
        "paper": lambda: build_network(NetworkKnobs(), 3, 3),
        "standard, plain": lambda: build_network(NetworkKnobs(widths="standard"), 3, 3),
        "standard, batch norm": lambda: UNet(3, 3, DOUBLING, narrow=True),
    }
    try:
        from monai.networks.nets import BasicUNet
    except ImportError:
        return made
    features = (*DOUBLING, DOUBLING[0])
    made["MONAI BasicUNet"] = lambda: BasicUNet(2, 3, 3, features)
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


def seconds(step: Callable[[], None]) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def compare(build: Callable[[], nn.Module], rounds: int) -> list[float]:
    """Median seconds a step of each variant."""
    steps = [training_step(build(), precision, layout) for precision, layout in VARIANTS]
    for step in steps:
        step()  # the first call plans its kernels
    times = [[seconds(step) for step in steps] for _ in range(rounds)]
    return [statistics.median(column) for column in zip(*times, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    print(f"images/s, {options.threads} threads, medians of {options.rounds}; ratio to fp32 NCHW\n")
    print("| network | parameters |" + "".join(f" {p} {layout} |" for p, layout in VARIANTS))
    print("|---|" + "---:|" * (1 + len(VARIANTS)))
    for name, build in networks().items():
        medians = compare(build, options.rounds)
        cells = [f"{BATCH / m:.1f} ({medians[0] / m:.2f}x)" for m in medians]
        print(f"| {name} | {parameter_count(build()):,} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
