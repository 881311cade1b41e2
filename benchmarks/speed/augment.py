"""Claim: elastic distortion, noise and blur cost under 3 % of a training step on the CPU.

Further: on image and masks twice as fast as albumentations, ten times as fast as MONAI, kornia and
batchgeneratorsv2. Images a second for 128 x 128 slices of one channel and three masks, batch 16,
every slice changed, one core, against those peers that are installed; and the share of a training
step of the paper's network at the default probability of one half.

    python -m benchmarks.speed.augment --threads 1 --out benchmarks/results/augment.md

The peers draw fields of about our smoothness and strength; random numbers differ, so what is
checked beforehand is that each changes the image, keeps its shape and leaves masks of 0 and 1.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from benchmarks.measuring import (
    Run,
    at_least,
    at_most,
    machine,
    medians,
    parser,
    peers,
    publish,
    table,
)
from benchmarks.speed.training_step import training_step
from gitract_core.augment import apply, draw
from gitract_core.knobs import AugmentationKnobs, NetworkKnobs
from gitract_core.networks import build_network

SIZE, BATCH = 128, 16
IMAGES = torch.rand(BATCH, 1, SIZE, SIZE)
MASKS = (torch.rand(BATCH, 3, SIZE, SIZE) > 0.9).to(torch.uint8)


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
    noise = peer.RandomGaussianNoise(std=0.05, p=1)
    blur = peer.RandomGaussianBlur((11, 11), (0.1, 1.28), p=1)
    masks = MASKS.float()

    def sequence(*parts: object) -> Run:
        pipeline = peer.AugmentationSequential(*parts, data_keys=["input", "mask"])
        return lambda: pipeline(IMAGES, masks)

    both = sequence(elastic, noise, blur)
    return {"kornia elastic": sequence(elastic), "kornia elastic+noise+blur": both}


def batchgeneratorsv2() -> dict[str, Run]:
    from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform
    from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
    from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
    from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms

    elastic = SpatialTransform(
        patch_size=(SIZE, SIZE),
        patch_center_dist_from_border=0,
        random_crop=False,
        p_elastic_deform=1,
        elastic_deform_scale=(0.08, 0.08),
        elastic_deform_magnitude=(0.03, 0.03),
    )
    noise = GaussianNoiseTransform(noise_variance=(0, 0.05))
    blur = GaussianBlurTransform(blur_sigma=(0.1, 1.28))

    def each(transform: Callable[..., object]) -> Run:
        pairs = list(zip(IMAGES, MASKS.to(torch.int16), strict=True))
        return lambda: [transform(image=i, segmentation=m) for i, m in pairs]

    both = ComposeTransforms([elastic, noise, blur])
    name = "batchgeneratorsv2 elastic"
    return {name: each(elastic), f"{name}+noise+blur": each(both)}


PEERS = {albumentations: 2, monai: 10, kornia: 10, batchgeneratorsv2: 10}
NAMES = {"monai": "MONAI"}


def check(runs: dict[str, Run]) -> None:
    """Each run leaves images of the same size, changed, and masks of 0 and 1."""
    for name, run in runs.items():
        image, mask = _first(run())
        assert np.asarray(image).size == SIZE**2, (name, np.asarray(image).shape)
        assert np.asarray(mask).size == 3 * SIZE**2, (name, np.asarray(mask).shape)
        assert set(np.unique(mask)) <= {0, 1}, name
        assert np.abs(np.asarray(image).reshape(SIZE, SIZE) - IMAGES[0, 0].numpy()).max() > 0.01


def _first(result: object) -> tuple[object, object]:
    """Image and mask of the first slice, from what any of the libraries gives."""
    if isinstance(result, list) and isinstance(result[0], dict):
        first = result[0]
        return first["image"], first["mask"] if "mask" in first else first["segmentation"]
    images, masks = result
    return images[0], masks[0]


def step_shares(rounds: int) -> dict[str, float]:
    """What default augmentation takes of a training step, bf16 in channels_last."""
    default = AugmentationKnobs()
    runs = {"augmentation": ours(default.kinds, default.probability)}
    for widths in ("paper", "standard"):
        network = build_network(NetworkKnobs(widths=widths), 3, 3)
        runs[widths] = training_step(network, "bf16", "channels_last")
    cost = medians(runs, rounds)
    return {widths: cost["augmentation"] / cost[widths] for widths in ("paper", "standard")}


def main() -> None:
    options = parser(__doc__, rounds=15, threads=1).parse_args()
    torch.set_num_threads(options.threads)
    kinds = ("elastic", "elastic+noise+blur", "elastic+affine+flip+intensity+noise+blur")
    others, skipped = peers(PEERS)
    runs = {f"ours {kind}": ours(kind) for kind in kinds} | others
    check(runs)
    found = medians(runs, options.rounds)
    rows = [[name, f"{BATCH / s:.0f}", f"{s * 1e3:.1f}"] for name, s in found.items()]
    verdicts = []
    for peer, target in PEERS.items():
        for kind in kinds[:2]:
            name = f"{NAMES.get(peer.__name__, peer.__name__)} {kind}"
            if name in found:
                ratio = found[name] / found[f"ours {kind}"]
                verdicts.append(at_least(f"ours against {name}", ratio, target))
    shares = step_shares(5)
    verdicts.append(at_most("share of a step of the paper's network", shares["paper"], 0.03))
    verdicts.append(f"- share of a step of the standard network: {shares['standard']:.3g}")
    intro = f"Batches of {BATCH}, {options.threads} threads, medians of {options.rounds} turns."
    header = ["augmentation", "images/s", "ms a batch"]
    versions = machine("torch", "opencv-python-headless", *(p.__name__ for p in PEERS))
    parts = [intro, table(header, rows), "\n".join([*verdicts, *skipped]), versions]
    publish("Augmentation", parts, options.out)


if __name__ == "__main__":
    main()
