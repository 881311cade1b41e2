from __future__ import annotations

import math
import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit
from torch import nn

from gitract_core.errors import SpaceError
from gitract_core.losses import (
    build_loss,
    loss_names,
    loss_term,
    normalize_expression,
    supervise,
)
from gitract_core.losses.weighted_sum import _TERMS

OVERLAPS = ["dice", "dice_as_printed", "soft_dice", "iou", "tversky", "focal_tversky"]


def batch(seed=0, shape=(2, 3, 5, 4), dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(shape, generator=generator, dtype=dtype)
    targets = (torch.rand(shape, generator=generator) < 0.3).to(dtype)
    return logits, targets


# Independent references: NumPy, one (slice, class) or class after another, as the papers write.


def sums(p, t):
    return (p * t).sum(), p.sum(), t.sum()


def naive_tversky(p, t):
    both, predicted, true = sums(p, t)
    return (both + 1) / (both + 0.3 * (predicted - both) + 0.7 * (true - both) + 1)


def naive_dice(p, t):
    both, predicted, true = sums(p, t)
    return (2 * both + 1) / (predicted + true + 1)


def naive_iou(p, t):
    both, predicted, true = sums(p, t)
    return (both + 1) / (predicted + true - both + 1)


def per_class(ratio):
    def loss(logits, targets):
        p, t = expit(logits), targets
        return np.mean([ratio(p[:, c], t[:, c]) for c in range(p.shape[1])])

    return loss


def naive_soft_dice(logits, targets):
    p, t = expit(logits), targets
    values = [
        1 - (2 * (p[i, c] * t[i, c]).sum() + 1) / ((p[i, c] ** 2).sum() + (t[i, c] ** 2).sum() + 1)
        for i in range(p.shape[0])
        for c in range(p.shape[1])
    ]
    return np.mean(values)


def naive_bce(logits, targets):
    p = expit(logits)
    return -np.mean(np.where(targets == 1, np.log(p), np.log(1 - p)))


def naive_focal(logits, targets):
    p = expit(logits)
    right = np.where(targets == 1, p, 1 - p)
    alpha = np.where(targets == 1, 0.25, 0.75)
    return np.mean(-alpha * (1 - right) ** 2 * np.log(right))


def naive_lovasz_hinge(logits, targets):
    """The Lovasz extension by its definition: Jaccard losses of growing sets of errors."""

    def jaccard_loss(wrong, truth):
        predicted = truth ^ wrong
        return 1 - (truth & predicted).sum() / (truth | predicted).sum() if wrong.any() else 0.0

    values = []
    for c in range(logits.shape[1]):
        z, t = logits[:, c].ravel(), targets[:, c].ravel() == 1
        errors = np.maximum(0, 1 - z * np.where(t, 1, -1))
        wrong, total = np.zeros(len(z), dtype=bool), 0.0
        for pixel in np.argsort(-errors):
            before = jaccard_loss(wrong, t)
            wrong[pixel] = True
            total += errors[pixel] * (jaccard_loss(wrong, t) - before)
        values.append(total)
    return np.mean(values)


REFERENCES = {
    "bce": naive_bce,
    "focal": naive_focal,
    "dice": per_class(lambda p, t: 1 - naive_dice(p, t)),
    "dice_as_printed": per_class(naive_dice),
    "iou": per_class(lambda p, t: 1 - naive_iou(p, t)),
    "tversky": per_class(lambda p, t: 1 - naive_tversky(p, t)),
    "focal_tversky": per_class(lambda p, t: (1 - naive_tversky(p, t)) ** 0.75),
    "soft_dice": naive_soft_dice,
    "lovasz_hinge": naive_lovasz_hinge,
}


def test_every_loss_has_a_reference():
    assert set(loss_names()) == set(REFERENCES)


@pytest.mark.parametrize("name", REFERENCES)
@pytest.mark.parametrize("seed", range(3))
def test_value_is_the_reference(name, seed):
    logits, targets = batch(seed)
    ours = build_loss(name)(logits, targets)
    assert ours.ndim == 0
    assert ours.item() == pytest.approx(REFERENCES[name](logits.numpy(), targets.numpy()))


@pytest.mark.parametrize("name", REFERENCES)
def test_gradient_is_the_finite_difference(name):
    logits, targets = batch(shape=(2, 3, 3, 3))
    logits.requires_grad_()
    assert torch.autograd.gradcheck(lambda z: build_loss(name)(z, targets), logits)


def test_a_weighted_sum_adds_up():
    logits, targets = batch()
    total = build_loss("0.5*dice + bce + 2e-1*focal")(logits, targets)
    parts = [build_loss(n)(logits, targets) for n in ("dice", "bce", "focal")]
    torch.testing.assert_close(total, 0.5 * parts[0] + parts[1] + 0.2 * parts[2])


@pytest.mark.parametrize("name", REFERENCES)
@pytest.mark.parametrize("target", [0, 1])
@pytest.mark.parametrize("level", [-1e4, -100.0, 0.0, 100.0, 1e4])
def test_finite_at_extremes_and_on_empty_masks(name, target, level):
    logits = torch.full((2, 3, 4, 4), level, requires_grad=True)
    loss = build_loss(name)(logits, torch.full_like(logits, target))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("name", [n for n in REFERENCES if n != "dice_as_printed"])
def test_empty_masks_push_probabilities_down(name):
    logits = torch.zeros(2, 3, 4, 4, requires_grad=True)
    empty = torch.zeros_like(logits)
    build_loss(name)(logits, empty).backward()
    assert (logits.grad >= 0).all()
    assert (logits.grad > 0).any()
    right = torch.full_like(logits, -50)
    assert build_loss(name)(right, empty).item() == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("name", REFERENCES)
def test_losses_never_wait_for_the_device(name):
    """Tensors of the meta device have no values, so reading one on the host would raise."""
    logits, targets = (t.to("meta") for t in batch())
    assert _TERMS[name](logits, targets).shape == ()


def test_the_printed_dice_loss_rewards_a_miss():
    _, targets = batch()
    hit, miss = 20 * targets - 10, 10 - 20 * targets
    printed, mended = build_loss("dice_as_printed"), build_loss("dice")
    assert printed(hit, targets) > printed(miss, targets)
    assert mended(hit, targets) < mended(miss, targets)


@pytest.mark.parametrize("name", REFERENCES)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.bool, torch.int64, torch.bfloat16])
def test_dtype_of_targets_does_not_matter(name, dtype):
    logits, targets = batch(dtype=torch.float32)
    loss = build_loss(name)
    assert torch.equal(loss(logits, targets.to(dtype)), loss(logits, targets))


@pytest.mark.parametrize("name", REFERENCES)
def test_half_precision_logits_are_judged_in_single_precision(name):
    logits, targets = batch(shape=(4, 3, 64, 64), dtype=torch.float32)
    half = logits.bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        under_autocast = build_loss(name)(half, targets)
    assert under_autocast.dtype == torch.float32
    assert torch.equal(under_autocast, build_loss(name)(half.float(), targets))


def test_pooled_and_per_slice_dice_differ_where_slices_differ():
    targets = torch.zeros(2, 1, 8, 8)
    targets[0, 0, :4] = 1
    logits = 20 * targets - 10  # right, but for a missing pixel of a small object
    targets[1, 0, 0, 0] = 1
    assert build_loss("dice")(logits, targets) < 0.03
    assert build_loss("soft_dice")(logits, targets) == pytest.approx(0.25, abs=0.01)


# The language.


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("bce", "bce"),
        (" bce+.5*dice ", "bce + 0.5*dice"),
        ("1.0 * bce + 2.00*dice", "bce + 2*dice"),
        ("1e-5*bce + 5E+2*dice", "1e-05*bce + 500*dice"),
        ("dice + 3.*jaccard", "dice + 3*iou"),
        ("bce\n", "bce"),  # as YAML blocks end
    ],
)
def test_normal_form(text, normal):
    assert normalize_expression(text) == normal


WEIGHTS = st.floats(min_value=0, exclude_min=True, allow_infinity=False, allow_nan=False)


@given(st.lists(st.sampled_from(loss_names()), min_size=1, unique=True), st.data())
def test_normal_form_is_fixed_and_keeps_weights(names, data):
    weights = [data.draw(WEIGHTS) for _ in names]
    text = "+".join(f"{w!r} * {n}" for w, n in zip(weights, names, strict=True))
    loss = build_loss(text)
    assert [(t.weight, t.name) for t in loss.terms] == list(zip(weights, names, strict=True))
    assert normalize_expression(str(loss)) == str(loss)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "position 1: expected a loss or its weight, got the end"),
        ("bce + ", "position 7: expected a loss or its weight, got the end"),
        ("bce + dcie", "position 7: expected the name of a loss, got 'dcie'; did you mean 'dice'"),
        ("bce dice", "position 5: expected '+' or the end, got 'dice'"),
        ("2 bce", "position 3: expected '*' after the weight, got 'bce'"),
        ("0.5*3", "position 5: expected the name of a loss, got '3'"),
        ("bce - dice", "position 5: expected a name, a number, '+' or '*', got '-'"),
        ("0*bce", "position 1: expected a finite weight above 0, got 0"),
        ("bce + 1e999*dice", "position 7: expected a finite weight above 0, got 1e999"),
        ("iou + jaccard", "position 7: expected each loss once, got 'iou'"),
        ("__import__('os')", "position 11: "),
    ],
)
def test_faults_are_placed(text, message):
    with pytest.raises(SpaceError, match=re.escape(message)):
        build_loss(text)


@given(st.text(alphabet="bce dif*+.0123(_-\n", max_size=12))
def test_any_text_is_a_loss_or_a_clear_error(text):
    try:
        loss = build_loss(text)
    except SpaceError:
        return
    assert all(0 < term.weight < math.inf for term in loss.terms)


def test_shapes_that_differ_are_refused():
    with pytest.raises(SpaceError, match=r"got \(1, 3, 4, 4\) and \(1, 3, 4, 5\)"):
        build_loss("bce")(torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 5))


def test_a_newcomer_is_one_function(monkeypatch):
    module = "gitract_core.losses.weighted_sum"
    monkeypatch.setattr(f"{module}._TERMS", {})
    monkeypatch.setattr(f"{module}._CANONICAL", {})

    @loss_term("mean_logit", "ml")
    def mean_logit(logits, targets):
        return logits.mean()

    assert loss_names() == ("mean_logit",)
    assert build_loss("3*ml")(torch.ones(1, 3, 2, 2), torch.ones(1, 3, 2, 2)).item() == 3
    with pytest.raises(SpaceError, match=r"not yet taken, got \['ml'\]"):
        loss_term("ml")(mean_logit)


# Deep supervision.


def test_supervision_is_the_loss_itself_for_an_ordinary_network():
    loss = build_loss("bce")
    assert supervise(loss, nn.Conv2d(1, 1, 1)) is loss


def test_supervision_averages_over_auxiliary_logits_and_lets_them_go():
    network = nn.Conv2d(1, 1, 1)
    network.auxiliary_logits = []
    loss = supervise(build_loss("bce"), network)
    logits, targets = batch()
    network.auxiliary_logits.append(-logits)
    bce = build_loss("bce")
    expected = (bce(logits, targets) + bce(-logits, targets)) / 2
    torch.testing.assert_close(loss(logits, targets), expected)
    torch.testing.assert_close(loss(logits, targets), bce(logits, targets))  # nothing left
