"""Claim: elastic distortion, noise and blur cost under 3 % of a training step on the CPU.

Images a second for 128 x 128 slices of one channel and three masks, batch 16, every slice changed,
against the peers that are installed (MONAI, albumentations, kornia), and the share of a training
step of the paper's network at the default probability of one half.

    python benchmarks/augment.py --threads 1 --rounds 15
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from training_step import training_step

from gitract_core.augment import apply, draw
from gitract_core.knobs import AugmentationKnobs, NetworkKnobs
from gitract_core.networks import build_network

SIZE, BATCH = 128, 16
IMAGES = torch.rand(BATCH, 1, SIZE, SIZE)
MASKS = (torch.rand(BATCH, 3, SIZE, SIZE) > 0.9).to(torch.uint8)
Run = Callable[[], object]


def ours(kinds: str, probability: float = 1.0) -> Run:
    knobs = AugmentationKnobs(kinds=kinds, probability=probability)
    generator = torch.Generator().manual_seed(0)
    return lambda: apply(draw(knobs, BATCH, SIZE, generator), IMAGES, MASKS)


def monai() -> dict[str, Run]:
    from monai.transforms import Compose, Rand2DElasticd, RandGaussianNoised, RandGaussianSmoothd

    elastic = Rand2DElasticd(
        ["image", "mask"],
        spacing=(20, 20),
        magnitude_range=(3, 4),
        prob=1,
        mode=["bilinear", "nearest"],
        padding_mode="border",
    )
    noise = RandGaussianNoised(["image"], prob=1, std=0.05)
    blur = RandGaussianSmoothd(["image"], (0, 1.28), (0, 1.28), prob=1)
    both = Compose([elastic, blur, noise])

    def each(transform: Callable[[dict[str, torch.Tensor]], object]) -> Run:
        pairs = list(zip(IMAGES, MASKS, strict=True))
        return lambda: [transform({"image": i, "mask": m}) for i, m in pairs]

    return {"MONAI elastic": each(elastic), "MONAI elastic+noise+blur": each(both)}


def albumentations() -> dict[str, Run]:
    import albumentations as peer

    elastic = peer.ElasticTransform(alpha=60, sigma=10, p=1)
    noise, blur = peer.GaussNoise(p=1), peer.GaussianBlur(sigma_limit=(0.1, 1.28), p=1)
    images = IMAGES[:, 0].numpy()
    masks = np.ascontiguousarray(MASKS.permute(0, 2, 3, 1).numpy())

    def each(transform: Callable[..., object]) -> Run:
        pairs = list(zip(images, masks, strict=True))
        return lambda: [transform(image=i, mask=m) for i, m in pairs]

    both = peer.Compose([elastic, noise, blur])
    name = "albumentations elastic"
    return {name: each(peer.Compose([elastic])), f"{name}+noise+blur": each(both)}


def kornia() -> dict[str, Run]:
    import kornia.augmentation as peer

    elastic = peer.RandomElasticTransform((63, 63), (10.0, 10.0), p=1)
    both = (elastic, peer.RandomGaussianNoise(std=0.05, p=1))
    masks = MASKS.float()
    runs = {}
    for name, parts in {"elastic": (elastic,), "elastic+noise": both}.items():
        pipeline = peer.AugmentationSequential(*parts, data_keys=["input", "mask"])
        runs[f"kornia {name}"] = lambda pipeline=pipeline: pipeline(IMAGES, masks)
    return runs


def peers() -> dict[str, Run]:
    runs: dict[str, Run] = {}
    for peer in (monai, albumentations, kornia):
        try:
            runs.update(peer())
        except ImportError as absent:
            print(f"({peer.__name__}: {absent})")
    return runs


def medians(runs: dict[str, Run], rounds: int) -> dict[str, float]:
    """Median seconds a batch; all take turns."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values[1:]) for name, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    kinds = ("elastic", "elastic+noise+blur", "elastic+affine+flip+intensity+noise+blur")
    runs = {f"ours {kind}": ours(kind) for kind in kinds} | peers()
    print(f"\n{options.threads} threads, medians of {options.rounds}\n")
    print("| augmentation | images/s | ms a batch |\n|---|---:|---:|")
    for name, value in medians(runs, options.rounds).items():
        print(f"| {name} | {BATCH / value:.0f} | {value * 1e3:.1f} |")
    default = AugmentationKnobs()
    share = {"augmentation": ours(default.kinds, default.probability)}
    for widths in ("paper", "standard"):
        network = build_network(NetworkKnobs(widths=widths), 3, 3)
        share[widths] = training_step(network, "bf16", "channels_last")
    cost = medians(share, 5)
    for widths in ("paper", "standard"):
        print(f"\nShare of a {widths} step: {cost['augmentation'] / cost[widths]:.2%}")


if __name__ == "__main__":
    main()
