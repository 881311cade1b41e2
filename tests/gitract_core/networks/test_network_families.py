"""The original U-Net, U-Net++ and MONAI's networks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from gitract_core.errors import SpaceError
from gitract_core.knobs import NetworkKnobs
from gitract_core.losses import build_loss, supervise
from gitract_core.networks import (
    MirroredUNet,
    OriginalUNet,
    UNetPlusPlus,
    build_network,
    network_names,
    parameter_count,
)
from gitract_core.networks.unet2015 import cropped, mirror

ORIGINAL_WIDTHS = [64, 128, 256, 512, 1024]


def test_every_family_is_known():
    assert network_names() == ("monai", "unet", "unet2015", "unetpp")


# The original U-Net.


def test_original_has_23_layers_and_31_million_parameters():
    network = OriginalUNet(1, 2, ORIGINAL_WIDTHS)
    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    assert len(layers) == 23
    assert parameter_count(network) == 31_030_658
    assert parameter_count(OriginalUNet(3, 2, ORIGINAL_WIDTHS)) == 31_030_658 + 2 * 9 * 64


def test_original_maps_572_to_388():
    network = OriginalUNet(1, 2, [2, 2, 2, 2, 2])
    assert network.margin_px == (572 - 388) / 2
    assert network(torch.rand(1, 1, 572, 572)).shape == (1, 2, 388, 388)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_original_takes_exactly_the_sides_it_can_halve(depth):
    """By trying every side, with a network whose check is off, whether halves are whole."""
    network = OriginalUNet(1, 1, [1] * (depth + 1))

    def is_halved_evenly(side):
        for _ in range(depth):
            side -= 4
            if side < 2 or side % 2:
                return False
            side //= 2
        return side > 4

    lost = 2 * network.margin_px
    possible = [s for s in range(lost + 1, lost + 40) if is_halved_evenly(s)]
    assert possible
    for side in range(lost + 1, lost + 40):
        if side in possible:
            assert network(torch.rand(1, 1, side, possible[0])).shape[2] == side - lost
        else:
            with pytest.raises(SpaceError, match="sides that depth"):
                network(torch.rand(1, 1, side, possible[0]))


def test_cropping_keeps_the_middle():
    skip = torch.arange(36.0).view(1, 1, 6, 6)
    assert torch.equal(cropped(skip, torch.empty(1, 1, 2, 4)), skip[:, :, 2:4, 1:5])


@given(st.integers(2, 6), st.integers(0, 20), st.integers(0, 20))
@settings(deadline=None, max_examples=30)
def test_mirror_is_that_of_numpy(side, before, after):
    images = torch.rand(1, 2, side, side + 1)
    pad = [(0, 0), (0, 0), (before, after), (before, before)]
    expected = np.pad(images.numpy(), pad, mode="reflect")
    assert np.array_equal(mirror(images, before, after, before), expected)


def test_mirror_of_a_single_pixel():
    assert torch.equal(mirror(torch.ones(1, 1, 1, 1), 2, 1, 0), torch.ones(1, 1, 4, 3))


def test_mirrored_inside_is_what_the_valid_network_says():
    torch.manual_seed(0)
    network = OriginalUNet(1, 2, [4, 4, 4]).eval()
    lost = network.margin_px
    images = torch.rand(1, 1, 100, 100)
    inside = network(images)  # 100 - 2 * 20 = 60
    assert inside.shape[-1] == 60
    both = MirroredUNet(network)(images)
    torch.testing.assert_close(both[..., lost : lost + 60, lost : lost + 60], inside)


def test_original_keeps_the_contract_of_networks():
    network = build_network(NetworkKnobs(family="unet2015", widths="4,4,6", depth=2), 3, 3)
    assert network(torch.rand(2, 3, 16, 24)).shape == (2, 3, 16, 24)
    assert network.receptive_field() == 32


# U-Net++.


def test_unetpp_has_a_head_for_each_depth():
    network = UNetPlusPlus(1, 3, [4, 6, 8, 8])
    images = torch.rand(2, 1, 16, 24)
    deepest = network(images)
    assert deepest.shape == (2, 3, 16, 24)
    assert [a.shape for a in network.auxiliary_logits] == [deepest.shape] * 2
    network.eval()
    assert network(images).shape == deepest.shape
    assert network.auxiliary_logits == []


def test_unetpp_answers_with_the_mean_of_its_heads_in_evaluation():
    network = UNetPlusPlus(1, 3, [4, 6, 8]).eval()
    images = torch.rand(2, 1, 16, 16)
    heads = []
    for head in network.heads:
        head.register_forward_hook(lambda _, __, made: heads.append(made))
    torch.testing.assert_close(network(images), (heads[0] + heads[1]) / 2)


def test_shallow_heads_depend_on_nothing_below_them():
    network = UNetPlusPlus(1, 1, [4, 4, 4, 4])
    network(torch.rand(1, 1, 16, 16))
    network.auxiliary_logits[0].sum().backward()
    reached = [any(p.grad is not None for p in level.parameters()) for level in network.encoder]
    assert reached == [True, True, False, False]


def test_deep_supervision_reaches_every_head_and_leaves_nothing_behind():
    network = UNetPlusPlus(1, 3, [4, 6, 8])
    loss = supervise(build_loss("bce"), network)
    images, masks = torch.rand(2, 1, 16, 16), torch.ones(2, 3, 16, 16)
    logits = network(images)
    shallow = list(network.auxiliary_logits)
    value = loss(logits, masks)
    bce = build_loss("bce")
    torch.testing.assert_close(value, (bce(logits, masks) + bce(shallow[0], masks)) / 2)
    value.backward()
    assert all(head.weight.grad.abs().sum() > 0 for head in network.heads)
    assert network.auxiliary_logits == []
    assert not any("auxiliary" in key for key in network.state_dict())


def test_unetpp_by_knobs():
    network = build_network(NetworkKnobs(family="unetpp", widths="4,6,8", depth=2), 3, 3)
    assert isinstance(network, UNetPlusPlus)
    with pytest.raises(SpaceError, match="multiples of 4"):
        network(torch.rand(1, 3, 18, 16))


# MONAI.


def monai_knobs(name, widths="8,16,32,64,128"):
    return NetworkKnobs(family=f"monai:{name}", widths=widths)


@pytest.mark.parametrize("name", ["AttentionUnet", "BasicUNet", "SegResNet", "UNet"])
def test_monai_networks_keep_the_contract(name):
    pytest.importorskip("monai")

    def build():
        torch.manual_seed(3)
        return build_network(monai_knobs(name), 3, 3).eval()

    images = torch.rand(2, 3, 32, 32)
    logits = build()(images)
    assert logits.shape == (2, 3, 32, 32)
    assert torch.equal(logits, build()(images))


def test_an_unknown_monai_network_is_refused():
    with pytest.raises(SpaceError, match="got 'monai:BasicUnet'; did you mean 'BasicUNet'"):
        build_network(monai_knobs("BasicUnet"), 3, 3)


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        (NetworkKnobs(family="monai:BasicUNet", widths="4,8", depth=1), "4 for monai:BasicUNet"),
        (monai_knobs("SegResNet", "paper"), "widths that double"),
    ],
)
def test_widths_that_a_monai_network_cannot_have_are_refused(knobs, message):
    pytest.importorskip("monai")
    with pytest.raises(SpaceError, match=message):
        build_network(knobs, 3, 3)
