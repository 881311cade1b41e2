"""Blur, noise and intensity: each against a reference or its own formula."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from gitract_core.augment import apply
from gitract_core.augment.blur import Blur, gaussian_kernels
from gitract_core.augment.intensity import Intensity
from gitract_core.augment.noise import Noise
from tests.support.augmented_batches import SIZE, batch, drawn


@pytest.mark.parametrize("channels", [1, 3])
def test_blur_is_that_of_scipy(channels):
    images, _ = batch(slices=4, channels=channels)
    sigmas = torch.tensor([0.0, 0.4, 1.0, 2.5])
    blurred = Blur(torch.arange(4), gaussian_kernels(sigmas, 10)).apply(images)
    assert torch.equal(blurred[0], images[0])
    for i in range(1, 4):
        sigma = [0, float(sigmas[i]), float(sigmas[i])]
        expected = gaussian_filter(images[i].numpy(), sigma, mode="nearest", radius=[0, 10, 10])
        np.testing.assert_allclose(blurred[i], expected, atol=1e-5)


def test_blur_sigmas_fill_their_range():
    kernels = drawn("blur", 500, blur_sigma=0.05).blur.kernels.double()
    offsets = torch.arange(kernels.shape[1], dtype=torch.float64) - kernels.shape[1] // 2
    sigmas = (kernels * offsets**2).sum(1).sqrt()
    assert kernels.sum(1).tolist() == pytest.approx([1] * 500)
    assert 0.95 < float(sigmas.max()) / (0.05 * SIZE) < 1.001
    assert float(sigmas.mean()) == pytest.approx(0.025 * SIZE, rel=0.1)


def test_noise_has_the_strength_drawn():
    images = torch.full((3, 2, 200, 200), 0.5)
    deviations = torch.tensor([0.01, 0.05]).view(2, 1, 1, 1)
    noisy = Noise(torch.tensor([0, 2]), deviations, seed=1).apply(images) - 0.5
    assert noisy.mean((1, 2, 3)).tolist() == pytest.approx([0, 0, 0], abs=1e-3)
    assert noisy.std((1, 2, 3)).tolist() == pytest.approx([0.01, 0, 0.05], rel=0.02)
    assert abs(float(torch.corrcoef(noisy[[0, 2], 0].flatten(1))[0, 1])) < 0.02


def test_noise_follows_its_seed():
    images = torch.full((1, 1, 8, 8), 0.5)
    one, same, other = (
        Noise(torch.tensor([0]), torch.full((1, 1, 1, 1), 0.1), seed).apply(images)
        for seed in (1, 1, 2)
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_noise_strengths_fill_their_range():
    deviations = drawn("noise", 1_000, noise_sd=0.2).noise.deviations
    assert 0.19 < float(deviations.max()) <= 0.2
    assert float(deviations.mean()) == pytest.approx(0.1, rel=0.1)


def test_intensity_is_its_formula():
    images, _ = batch(slices=2)
    curves = torch.tensor([[1.5, 0.8], [1.1, 0.9], [0.05, -0.02]]).view(3, 2, 1, 1, 1)
    flat_bias = Intensity(torch.arange(2), curves, torch.zeros(2, 1, 11, 11)).apply(images)
    for i in range(2):
        gamma, contrast, brightness = curves[:, i].flatten().numpy()
        expected = np.clip(contrast * images[i].numpy() ** gamma + brightness, 0, 1)
        np.testing.assert_allclose(flat_bias[i], expected, atol=1e-6)


def test_the_bias_field_is_mild_and_smooth():
    images, masks = torch.full((200, 1, SIZE, SIZE), 0.4), torch.zeros(200, 3, SIZE, SIZE)
    parameters = drawn("intensity", 200)
    plain = dataclasses.replace(
        parameters.intensity,
        curves=torch.ones_like(parameters.intensity.curves)
        * torch.tensor([1.0, 1.0, 0.0]).view(3, 1, 1, 1, 1),
    )
    changed, _ = apply(dataclasses.replace(parameters, intensity=plain), images, masks)
    bias = torch.log(changed / 0.4)
    assert float(bias.std()) == pytest.approx(0.1, rel=0.15)
    assert float(bias.diff(dim=-1).abs().max()) < 1 / SIZE
    assert math.isclose(float(bias.mean()), 0, abs_tol=0.02)
