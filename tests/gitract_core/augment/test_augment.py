from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter, map_coordinates

from gitract_core.augment import AugmentationParameters, apply, draw
from gitract_core.augment.lattice import smoothing
from gitract_core.augment.warp import Warp, draw_maps
from gitract_core.errors import DataError
from gitract_core.knobs import AUGMENTATION_KINDS, AugmentationKnobs
from tests.support.augmented_batches import SIZE, batch, drawn, seeded

ALL = "+".join(AUGMENTATION_KINDS)


def flat(value):
    """Every number of parameters, in a fixed order."""
    if dataclasses.is_dataclass(value):
        return [n for f in dataclasses.fields(value) for n in flat(getattr(value, f.name))]
    if isinstance(value, torch.Tensor):
        return value.flatten().tolist()
    return [value]


# Drawing and applying.


@pytest.mark.parametrize("kinds", [*AUGMENTATION_KINDS, ALL])
def test_replay_gives_the_same_batch_and_leaves_the_input(kinds):
    images, masks = batch()
    before = images.clone(), masks.clone()
    parameters = drawn(kinds)
    once, twice = (apply(parameters, images, masks) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(once, twice, strict=True))
    assert not torch.equal(once[0], images)
    assert torch.equal(images, before[0])
    assert torch.equal(masks, before[1])


def test_the_generator_decides_and_goes_on():
    knobs = AugmentationKnobs(kinds=ALL)
    one, other = seeded(), seeded()
    first = draw(knobs, 6, SIZE, one)
    assert flat(first) == flat(draw(knobs, 6, SIZE, other))
    state = one.get_state()
    second = draw(knobs, 6, SIZE, one)
    assert flat(second) != flat(first)
    other.set_state(state)
    assert flat(second) == flat(draw(knobs, 6, SIZE, other))


@pytest.mark.parametrize(
    "knobs",
    [
        AugmentationKnobs(kinds="none"),
        AugmentationKnobs(kinds=ALL, probability=0),
        AugmentationKnobs(probability=1, elastic_displacement=0, noise_sd=0, blur_sigma=0),
    ],
)
def test_zero_strength_is_the_identity_to_the_bit(knobs):
    images, masks = batch()
    parameters = draw(knobs, 6, SIZE, seeded())
    assert parameters == AugmentationParameters(6)
    same_images, same_masks = apply(parameters, images, masks)
    assert torch.equal(same_images, images)
    assert torch.equal(same_masks, masks)


@pytest.mark.parametrize("kinds", AUGMENTATION_KINDS)
def test_slices_that_were_not_chosen_pass_through_to_the_bit(kinds):
    images, masks = batch(slices=40)
    parameters = drawn(kinds, slices=40, probability=0.5, blur_sigma=0.1)
    changed, moved = apply(parameters, images, masks)
    part = getattr(parameters, {"elastic": "warp", "affine": "warp"}.get(kinds, kinds))
    chosen = torch.isin(torch.arange(40), part.rows)
    assert 8 < int(chosen.sum()) < 32
    assert torch.equal(changed[~chosen], images[~chosen])
    assert torch.equal(moved[~chosen], masks[~chosen])
    # A blur of next to no width, as may be drawn, changes nothing.
    assert (changed != images).flatten(1).any(1)[chosen].float().mean() > 0.9


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.bool])
@pytest.mark.parametrize("channels", [1, 3])
def test_images_stay_in_range_and_masks_stay_masks(dtype, channels):
    images, masks = batch(channels=channels, dtype=dtype)
    for seed in range(5):
        parameters = drawn(ALL, seed=seed, noise_sd=0.5, elastic_displacement=0.2)
        changed, moved = apply(parameters, images, masks)
        assert changed.shape == images.shape
        assert changed.dtype == torch.float32
        assert 0 <= float(changed.min()) <= float(changed.max()) <= 1
        assert moved.dtype == dtype
        assert set(moved.unique().tolist()) == {0, 1}


@pytest.mark.parametrize("kinds", ["elastic", "affine", "flip", "elastic+affine+flip"])
def test_masks_move_with_the_image(kinds):
    """An image that shows a mask shows the moved mask afterwards."""
    _, masks = batch()
    moved_image, moved = apply(drawn(kinds), masks[:, 1:2].float(), masks)
    assert torch.equal(moved_image[:, 0] >= 0.5, moved[:, 1] == 1)
    assert not torch.equal(moved, masks)


@pytest.mark.parametrize("kinds", ["noise", "blur", "intensity"])
def test_changes_of_gray_levels_leave_masks_alone(kinds):
    images, masks = batch()
    changed, same = apply(drawn(kinds), images, masks)
    assert torch.equal(same, masks)
    assert not torch.equal(changed, images)


def test_channels_of_a_repeated_gray_slice_stay_equal():
    images, masks = batch(channels=3)
    changed, _ = apply(drawn(ALL), images, masks)
    assert torch.equal(changed[:, 0], changed[:, 1])
    assert torch.equal(changed[:, 0], changed[:, 2])


def test_an_expanded_gray_slice_is_augmented_once_and_alike():
    gray, masks = batch()
    shown = gray.expand(-1, 3, -1, -1)
    for parameters in (drawn(ALL), drawn("none")):
        changed, moved = apply(parameters, shown, masks)
        expected, expected_masks = apply(parameters, shown.contiguous(), masks)
        torch.testing.assert_close(changed, expected)
        assert torch.equal(moved, expected_masks)
        assert changed.shape == shown.shape
        assert changed.stride(1) == 0


def test_probability_is_the_share_of_slices():
    parameters = draw(AugmentationKnobs(kinds="flip", probability=0.3), 20_000, SIZE, seeded())
    assert len(parameters.flip.rows) / 20_000 == pytest.approx(0.3, abs=0.02)


@pytest.mark.parametrize("size", [16, 17, 128])
def test_any_size_of_image(size):
    knobs = AugmentationKnobs(kinds=ALL, probability=1, blur_sigma=1, elastic_smoothness=0)
    images, masks = torch.rand(2, 1, size, size), torch.ones(2, 3, size, size)
    changed, moved = apply(draw(knobs, 2, size, seeded()), images, masks)
    assert torch.isfinite(changed).all()
    assert moved.shape == masks.shape


def test_apply_never_waits_for_the_device():
    """Tensors of the meta device have no values, so reading one on the host would raise."""
    images, masks = (planes.to("meta") for planes in batch())
    kinds = "+".join(k for k in AUGMENTATION_KINDS if k != "noise")  # has no meta generator
    changed, moved = apply(drawn(kinds), images, masks)
    assert changed.shape == images.shape
    assert moved.shape == masks.shape


def test_a_batch_of_another_size_is_refused():
    images, masks = batch()
    with pytest.raises(DataError, match="expected a batch of 6 images and masks, got 5 and 5"):
        apply(drawn("flip"), images[:5], masks[:5])
    with pytest.raises(DataError, match="square images and masks of one size"):
        apply(drawn("flip"), images[..., :-1], masks[..., :-1])
    with pytest.raises(DataError, match="square images and masks of one size"):
        apply(drawn("flip"), images, masks[..., :-1, :-1])


# Elastic distortion and affine map.


def test_displacement_is_gaussian_smoothed_noise():
    """Strength and correlation, against SciPy's filter on white noise of full resolution."""
    sigma, displacement = 0.1, 0.03
    warp = drawn("elastic", 200, elastic_smoothness=sigma, elastic_displacement=displacement).warp
    field = warp.displacement(SIZE).numpy()  # (slices, 2, size, size)
    length = np.sqrt((field**2).sum(1).mean())
    assert length == pytest.approx(displacement, rel=0.05)

    white = np.random.default_rng(0).standard_normal((400, 3 * SIZE, 3 * SIZE))
    reference = gaussian_filter(white, (0, sigma * SIZE, sigma * SIZE))
    reference = reference[:, SIZE : 2 * SIZE, SIZE : 2 * SIZE]
    for lag in (1, 4, 8, 16):
        for axis in (-1, -2):
            ours, theirs = correlation(field, lag, axis), correlation(reference, lag, axis)
            assert ours == pytest.approx(theirs, abs=0.04), (lag, axis)


def correlation(field, lag, axis):
    size = field.shape[axis]
    ahead, behind = (np.take(field, range(a, a + size - lag), axis) for a in (lag, 0))
    return (ahead * behind).mean() / (field**2).mean()


def test_the_field_is_as_strong_at_the_border_as_in_the_middle():
    strength = smoothing(0.08, 128).square().sum(1)
    assert strength.tolist() == pytest.approx([1] * 128, rel=1e-3)


def test_no_product_is_subnormal():
    """Some processors take many times as long for such numbers."""
    warp, blur = drawn("elastic").warp, drawn("blur", 300).blur
    tables = smoothing(warp.smoothness, SIZE), smoothing(0.02, 128), blur.kernels
    for table in tables:
        assert float(table[table > 0].min()) ** 2 > torch.finfo(torch.float32).tiny * 1e6
        assert (table == 0).any()  # else there was nothing to be afraid of


def test_x_and_y_displacements_are_independent():
    field = drawn("elastic", 300).warp.displacement(SIZE).flatten(2)
    x, y = field[:, 0].flatten(), field[:, 1].flatten()
    assert abs(float(torch.corrcoef(torch.stack([x, y]))[0, 1])) < 0.1


def test_warp_agrees_with_scipy():
    images, masks = batch()
    warp = drawn("elastic+affine").warp
    moved, _ = warp.apply(images, masks)
    field = warp.displacement(SIZE).numpy() * SIZE  # pixels
    along = np.arange(SIZE) - (SIZE - 1) / 2  # from the center of the image
    y, x = np.meshgrid(along, along, indexing="ij")
    for i in range(len(images)):
        (a, b, right), (c, d, down) = warp.maps[i].numpy()
        from_x = a * x + b * y + right * SIZE / 2 + field[i, 0]
        from_y = c * x + d * y + down * SIZE / 2 + field[i, 1]
        places = [from_y + (SIZE - 1) / 2, from_x + (SIZE - 1) / 2]
        expected = map_coordinates(images[i, 0].numpy(), places, order=1, mode="nearest")
        np.testing.assert_allclose(moved[i, 0], expected, atol=1e-4)


def test_a_quarter_turn():
    images, masks = batch(slices=1)
    turn = torch.tensor([[[0.0, -1.0, 0.0], [1.0, 0.0, 0.0]]])
    warp = Warp(torch.tensor([0]), turn, torch.zeros(1, 2, 21, 21), 1 / 12)
    moved, turned = warp.apply(images, masks)
    torch.testing.assert_close(moved, images.rot90(1, (2, 3)), atol=1e-4, rtol=0)
    assert (turned != masks.rot90(1, (2, 3))).float().mean() < 0.01


def test_affine_maps_are_rotations_scalings_and_shifts_within_bounds():
    maps = draw_maps(2_000, seeded()).double()
    turns, shifts = maps[:, :, :2], maps[:, :, 2]
    scales = torch.linalg.det(turns).sqrt()
    torch.testing.assert_close(
        turns @ turns.mT, scales.square()[:, None, None] * torch.eye(2), atol=1e-6, rtol=0
    )
    angles = torch.rad2deg(torch.atan2(turns[:, 1, 0], turns[:, 0, 0]))
    for values, middle, reach in ((angles, 0, 10), (scales, 1, 0.1), (shifts, 0, 0.1)):
        assert 0.98 * reach < float((values - middle).abs().max()) < 1.0001 * reach
        assert float(values.mean()) == pytest.approx(middle, abs=reach / 10)


def test_a_slice_with_only_an_affine_map_is_not_bent():
    warp = drawn("elastic+affine", 40, probability=0.5).warp
    bent = warp.heights.flatten(1).any(1)
    turned = (warp.maps != torch.eye(2, 3)).flatten(1).any(1)
    assert (bent | turned).all()
    assert set(zip(bent.tolist(), turned.tolist(), strict=True)) == {
        (True, False),
        (False, True),
        (True, True),
    }


def test_flip_is_left_to_right():
    images, masks = batch()
    mirrored, moved = apply(drawn("flip"), images, masks)
    assert torch.equal(mirrored, images.flip(3))
    assert torch.equal(moved, masks.flip(3))
