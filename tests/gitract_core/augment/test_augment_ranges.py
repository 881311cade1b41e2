"""What is drawn for an augmentation fills the range that is documented, and that alone."""

from __future__ import annotations

import math

import pytest
import torch

from gitract_core.augment import AugmentationParameters, apply, draw
from gitract_core.augment.blur import draw_blur
from gitract_core.augment.flip import Flip
from gitract_core.augment.intensity import draw_intensity
from gitract_core.augment.noise import Noise
from gitract_core.augment.warp import Warp, draw_maps, draw_warp
from gitract_core.knobs import AUGMENTATION_KINDS, AugmentationKnobs

COUNT, SIZE = 2_000, 16
PARTS = {"elastic": "warp", "affine": "warp"}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def filled(values: torch.Tensor, low: float, high: float) -> bool:
    """Whether values lie within a range, reach both of its ends and are even in between."""
    reach = high - low
    ends = low <= float(values.min()) < low + 0.01 * reach
    ends = ends and high - 0.01 * reach < float(values.max()) <= high
    thirds = torch.histc(values.double(), 3, low, high) / len(values)
    return ends and bool((thirds - 1 / 3).abs().max() < 0.05)


def test_gray_levels_change_within_the_documented_bounds() -> None:
    drawn = draw_intensity(torch.arange(COUNT), seeded())
    assert drawn is not None
    gamma, contrast, brightness = drawn.curves.flatten(1)
    assert filled(gamma.log(), -0.25, 0.25)
    assert filled(contrast, 0.85, 1.15)
    assert filled(brightness, -0.05, 0.05)
    for one, other in ((gamma.log(), contrast), (contrast, brightness), (gamma, brightness)):
        assert abs(float(torch.corrcoef(torch.stack([one, other]))[0, 1])) < 0.1


def test_blur_is_as_wide_as_a_share_of_the_side() -> None:
    """The spread of its kernel, in pixels, for two sizes of image."""
    for size in (32, 64):
        knobs = AugmentationKnobs(blur_sigma=0.05)
        drawn = draw_blur(knobs, torch.arange(COUNT), size, seeded())
        assert drawn is not None
        offsets = torch.arange(drawn.kernels.shape[1]) - drawn.kernels.shape[1] // 2
        spread = (drawn.kernels * offsets.float() ** 2).sum(1).sqrt()
        assert float(spread.max()) == pytest.approx(0.05 * size, rel=0.02)
        assert float(spread.median()) == pytest.approx(0.025 * size, rel=0.1)


def test_blur_keeps_a_constant_up_to_the_border() -> None:
    images, masks = torch.full((3, 1, SIZE, SIZE), 0.7), torch.zeros(3, 3, SIZE, SIZE)
    knobs = AugmentationKnobs(kinds="blur", probability=1, blur_sigma=0.2)
    blurred, _ = apply(draw(knobs, 3, SIZE, seeded()), images, masks)
    assert torch.allclose(blurred, images, atol=1e-5)


@pytest.mark.parametrize("probability", [0.1, 0.9])
@pytest.mark.parametrize("kind", AUGMENTATION_KINDS)
def test_each_kind_is_drawn_for_its_share_of_slices(kind: str, probability: float) -> None:
    knobs = AugmentationKnobs(kinds=kind, probability=probability, elastic_smoothness=0.5)
    drawn = draw(knobs, COUNT, SIZE, seeded())
    made = {n for n in ("flip", "warp", "intensity", "blur", "noise") if getattr(drawn, n)}
    assert made == {PARTS.get(kind, kind)}
    rows = getattr(drawn, PARTS.get(kind, kind)).rows
    assert len(rows) / COUNT == pytest.approx(probability, abs=0.03)
    assert len(set(rows.tolist())) == len(rows)


def test_kinds_are_drawn_independently() -> None:
    knobs = AugmentationKnobs(kinds="+".join(AUGMENTATION_KINDS), elastic_smoothness=0.5)
    drawn = draw(knobs, COUNT, SIZE, seeded())
    parts = (drawn.flip, drawn.intensity, drawn.blur, drawn.noise)
    assert drawn.warp is not None
    bent = drawn.warp.rows[drawn.warp.heights.flatten(1).any(1)]
    turned = drawn.warp.rows[(drawn.warp.maps != torch.eye(2, 3)).flatten(1).any(1)]
    every = [bent, turned, *(part.rows for part in parts if part)]
    assert len(every) == 6
    chosen = torch.stack([torch.isin(torch.arange(COUNT), rows) for rows in every]).float()
    assert float((chosen.mean(1) - 0.5).abs().max()) < 0.05
    assert float((torch.corrcoef(chosen) - torch.eye(6)).abs().max()) < 0.1


def test_maps_and_displacements_go_to_the_slices_that_they_were_drawn_for() -> None:
    elastic, affine = torch.tensor([1, 5]), torch.tensor([0, 5, 7])
    drawn = draw_warp(AugmentationKnobs(), elastic, affine, SIZE, seeded())
    assert drawn is not None
    assert drawn.rows.tolist() == [0, 1, 5, 7]
    bent = drawn.heights.flatten(1).any(1).tolist()
    turned = (drawn.maps != torch.eye(2, 3)).flatten(1).any(1).tolist()
    assert bent == [False, True, True, False]
    assert turned == [True, False, True, True]


def test_turn_scale_and_shifts_are_drawn_independently() -> None:
    maps = draw_maps(COUNT, seeded())
    angles = torch.atan2(maps[:, 1, 0], maps[:, 0, 0])
    scales = torch.linalg.det(maps[:, :, :2]).sqrt()
    drawn = torch.stack([angles, scales, maps[:, 0, 2], maps[:, 1, 2]])
    assert float((torch.corrcoef(drawn) - torch.eye(4)).abs().max()) < 0.1
    for values, low, high in zip(
        drawn, (-math.pi / 18, 0.9, -0.1, -0.1), (math.pi / 18, 1.1, 0.1, 0.1), strict=True
    ):
        assert filled(values, low - 1e-6, high + 1e-6)


def test_a_distortion_is_as_smooth_as_the_knob_says() -> None:
    rows, none = torch.arange(200), torch.empty(0, dtype=torch.int64)
    steps = []
    for smoothness in (0.08, 0.3):
        knobs = AugmentationKnobs(elastic_smoothness=smoothness)
        drawn = draw_warp(knobs, rows, none, 64, seeded())
        assert drawn is not None
        assert drawn.smoothness == smoothness
        field = drawn.displacement(64)
        steps.append(float(field.diff(dim=-1).square().mean() / field.square().mean()) ** 0.5)
    # The slope of a field smoothed by a Gaussian of sigma s is 1 / (sqrt(2) s) of its strength.
    expected = [1 / (math.sqrt(2) * s * 64) for s in (0.08, 0.3)]
    assert steps == pytest.approx(expected, rel=0.1)


def test_a_mirrored_slice_is_turned_after_it_is_mirrored() -> None:
    """The order is flip, warp: as documented, and a replay of old parameters depends on it."""
    images = torch.rand(1, 1, SIZE, SIZE, generator=seeded())
    masks = (images > 0.5).float().expand(-1, 3, -1, -1)
    turn = torch.tensor([[[0.0, -1.0, 0.0], [1.0, 0.0, 0.0]]])
    warp = Warp(torch.tensor([0]), turn, torch.zeros(1, 2, 21, 21), 1 / 12)
    both = AugmentationParameters(1, flip=Flip(torch.tensor([0])), warp=warp)
    moved, turned = apply(both, images, masks)
    expected = images.flip(-1).rot90(1, (2, 3))
    torch.testing.assert_close(moved, expected, atol=1e-4, rtol=0)
    assert (turned != masks.flip(-1).rot90(1, (2, 3))).float().mean() < 0.02
    assert float((moved - images.rot90(1, (2, 3)).flip(-1)).abs().max()) > 0.1


def test_noise_comes_after_blur_and_gray_levels() -> None:
    """Else blur would smooth it away."""
    images, masks = torch.full((4, 1, 32, 32), 0.5), torch.zeros(4, 3, 32, 32)
    kinds = "intensity+blur+noise"
    knobs = AugmentationKnobs(kinds=kinds, probability=1, blur_sigma=0.2, noise_sd=0.1)
    drawn = draw(knobs, 4, 32, seeded(2))
    changed, _ = apply(drawn, images, masks)
    assert drawn.noise is not None
    rough = changed.diff(dim=-1).flatten(1).std(1) / 2**0.5
    assert rough.tolist() == pytest.approx(drawn.noise.deviations.flatten().tolist(), rel=0.15)


def test_noise_is_drawn_anew_for_each_batch_and_each_slice() -> None:
    knobs = AugmentationKnobs(kinds="noise", probability=1)
    generator, seeds = seeded(), []
    for _ in range(3):
        drawn = draw(knobs, 2, SIZE, generator)
        assert drawn.noise is not None
        seeds.append(drawn.noise.seed)
    assert len(set(seeds)) == 3
    even = Noise(torch.arange(2), torch.full((2, 1, 1, 1), 0.1), seeds[0])
    noisy = even.apply(torch.full((2, 3, SIZE, SIZE), 0.5))
    assert not torch.equal(noisy[0], noisy[1])
    assert torch.equal(noisy[:, 0], noisy[:, 2]), "channels show one slice"


def test_channels_that_differ_are_augmented_each() -> None:
    """Neighboring slices as channels, unlike one gray slice that is repeated."""
    images = torch.rand(2, 3, SIZE, SIZE, generator=seeded())
    masks = torch.zeros(2, 3, SIZE, SIZE)
    knobs = AugmentationKnobs(kinds="flip+affine+blur", probability=1)
    drawn = draw(knobs, 2, SIZE, seeded())
    changed, _ = apply(drawn, images, masks)
    for channel in range(3):
        alone, _ = apply(drawn, images[:, channel : channel + 1], masks)
        torch.testing.assert_close(changed[:, channel : channel + 1], alone)
