from __future__ import annotations

import pytest
import torch
from torch import nn

from gitract_core.errors import SpaceError
from gitract_core.knobs import NetworkKnobs
from gitract_core.networks import (
    UNet,
    build_network,
    network_names,
    parameter_count,
    receptive_field_exact,
    receptive_field_paper,
    register,
    resolve_widths,
)
from gitract_core.networks.unet import join


@pytest.mark.parametrize(
    ("widths", "depth", "expected"),
    [
        ("paper", 4, 2_501_187),
        ("paper", 5, 5_718_851),
        ("standard", 4, 1_941_139),
        ("standard", 5, 7_775_635),
    ],
)
def test_presets_have_the_parameter_counts_on_record(widths, depth, expected):
    network = build_network(NetworkKnobs(widths=widths, depth=depth), 3, 3)
    assert parameter_count(network, statistics=True) == expected


def test_statistics_are_not_trainable():
    network = UNet(1, 3, [4, 8])
    channels = 4 + 4 + 8 + 8 + 8 + 4 + 4  # batch norms: two a level and one on the way up
    with_statistics = parameter_count(network, statistics=True)
    assert with_statistics - parameter_count(network) == 2 * channels


@pytest.mark.parametrize("in_channels", [1, 3])
@pytest.mark.parametrize("narrow", [False, True])
def test_logits_are_as_large_as_the_image(in_channels, narrow):
    network = UNet(in_channels, 3, [4, 6, 8], narrow=narrow)
    assert network(torch.rand(2, in_channels, 16, 24)).shape == (2, 3, 16, 24)


def test_a_size_that_cannot_be_halved_is_refused():
    with pytest.raises(SpaceError, match=r"multiples of 4 \(depth 2\), got 16 x 18; resize"):
        UNet(1, 3, [4, 6, 8])(torch.rand(1, 1, 16, 18))


@pytest.mark.parametrize("widths", [[4], [], [4, 0]])
def test_widths_that_make_no_network_are_refused(widths):
    with pytest.raises(SpaceError, match="two or more widths"):
        UNet(1, 3, widths)


def test_the_generator_decides_the_weights():
    def weights(seed):
        torch.manual_seed(seed)
        return nn.utils.parameters_to_vector(UNet(1, 3, [4, 8]).parameters())

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_activations_keep_their_scale_without_batch_norm():
    torch.manual_seed(0)
    network = UNet(1, 3, [16, 32, 64, 128], batch_norm=False, narrow=True)
    spread = network(torch.randn(4, 1, 32, 32)).detach().std()
    assert 0.2 < float(spread) < 5  # torch's own initialization: about 0.1


def test_channels_last_and_first_agree():
    torch.manual_seed(0)
    network = UNet(3, 3, [4, 8, 8]).eval()
    images = torch.rand(2, 3, 16, 16)
    first = network(images)
    last = network.to(memory_format=torch.channels_last)(
        images.to(memory_format=torch.channels_last)
    )
    assert last.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(first, last)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_gradients_below_a_concatenation_are_dense(layout):
    """A strided one makes the step of the paper's network 1.6 times as long on a CPU."""
    skip, risen = (torch.rand(2, c, 4, 4).to(memory_format=layout).requires_grad_() for c in (3, 5))
    parts = [skip * 1, risen * 1]
    seen = []
    gradient = torch.rand(2, 8, 4, 4).to(memory_format=layout)
    joined = join(*parts)
    for part in parts:
        part.register_hook(seen.append)  # after the hook of `join`
    joined.backward(gradient)
    assert len(seen) == 2
    for got in seen:
        assert got.is_contiguous(memory_format=layout)
        assert torch.equal(got, gradient[:, :3] if got.shape[1] == 3 else gradient[:, 3:])


def test_without_the_way_down_only_the_top_level_through():
    """Cut the way down off: what is left sees exactly two padded 3x3 double convolutions."""
    network = UNet(1, 1, [3, 4], batch_norm=False)
    make_linear(network)
    for parameter in network.upsamplers.parameters():
        nn.init.zeros_(parameter)
    assert side_of_influence(network, torch.rand(1, 1, 64, 64), center=32) == 9


@pytest.mark.parametrize("depth", [0, 1, 2, 3])
def test_exact_receptive_field_is_what_gradients_reach(depth):
    network = UNet(1, 1, [2] * (max(depth, 1) + 1), batch_norm=False)
    make_linear(network)
    deepest = nn.Sequential()
    for level in range(depth + 1):
        deepest.append(network.encoder[level])
        if level < depth:
            deepest.append(network.pool)
    size = 128
    center = size // 2**depth // 2
    side = side_of_influence(deepest, torch.rand(1, 1, size, size), center)
    assert side == receptive_field_exact(depth)
    if depth:
        assert network.receptive_field() == side


def test_receptive_fields_of_the_facts():
    assert [receptive_field_paper(d) for d in range(6)] == [5, 13, 29, 61, 125, 253]
    assert [receptive_field_exact(d) for d in range(6)] == [5, 14, 32, 68, 140, 284]


def make_linear(network):
    """All weights positive, pooling by mean: no gradient can vanish by chance or cancel."""
    for parameter in network.parameters():
        nn.init.constant_(parameter, 0.1)
    network.pool = nn.AvgPool2d(2)


def side_of_influence(network, images, center):
    """Side of the square of input pixels on which one output unit depends."""
    images.requires_grad_()
    network(images)[0, 0, center, center].backward()
    rows, columns = torch.nonzero(images.grad[0, 0], as_tuple=True)
    sides = {int(axis.max() - axis.min()) + 1 for axis in (rows, columns)}
    assert len(rows) == len(rows.unique()) * len(columns.unique())  # a full square
    assert len(sides) == 1
    return sides.pop()


def test_widths_by_name_and_by_text():
    assert resolve_widths(NetworkKnobs(widths="paper", depth=5)) == (32, 64, 64, 128, 256, 256)
    assert resolve_widths(NetworkKnobs(widths="standard", depth=2)) == (16, 32, 64)
    assert resolve_widths(NetworkKnobs(widths=" 16, 32,64 ", depth=2)) == (16, 32, 64)


@pytest.mark.parametrize(
    ("widths", "depth", "message"),
    [
        ("papr", 4, "got 'papr'; did you mean 'paper'"),
        ("16,32", 2, "expected 3 numbers from 1 to 9999, since network.depth is 2, got '16,32'"),
        ("16,0,8", 2, "numbers from 1 to 9999"),
        ("16,-1,8", 2, "a preset's name or widths"),
        ("", 2, "a preset's name or widths"),
        ("paper", 6, "expected at most 5, since network.widths is 'paper', got 6"),
    ],
)
def test_wrong_widths_are_refused(widths, depth, message):
    with pytest.raises(SpaceError, match=message):
        resolve_widths(NetworkKnobs(widths=widths, depth=depth))


def test_text_widths_build_the_paper_variant():
    written = build_network(NetworkKnobs(widths="32,64,64,128,256"), 3, 3)
    assert parameter_count(written, statistics=True) == 2_501_187


def test_an_unknown_family_is_refused_with_a_suggestion():
    with pytest.raises(SpaceError, match="got 'unett'; did you mean 'unet'"):
        build_network(NetworkKnobs(family="unett"), 3, 3)


def test_a_newcomer_is_one_decorator(monkeypatch):
    monkeypatch.setattr("gitract_core.networks.registry._BUILDERS", {})

    @register("tiny")
    def tiny(knobs, in_channels, out_channels):
        return nn.Conv2d(in_channels, out_channels, int(knobs.family.partition(":")[2] or 1))

    assert network_names() == ("tiny",)
    assert build_network(NetworkKnobs(family="tiny:3"), 1, 2).kernel_size == (3, 3)
    with pytest.raises(SpaceError, match="a name not yet taken"):
        register("tiny")(tiny)


def test_a_new_network_expects_organs_to_be_rare() -> None:
    torch.manual_seed(0)
    images = torch.rand(2, 3, 64, 64)
    for family in ("unet", "unetpp"):
        network = build_network(NetworkKnobs(family, "standard", 4), 3, 3).eval()
        with torch.inference_mode():
            assert float(network(images).sigmoid().median()) < 0.2, family
