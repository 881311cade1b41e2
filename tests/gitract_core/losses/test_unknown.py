"""Losses where not all annotation is known, against loops over what is."""

from __future__ import annotations

import pytest
import torch

from gitract_core.losses import build_loss, loss_names, supervise
from gitract_core.losses.weighted_sum import term_of

POOLED = {"dice", "dice_as_printed", "iou", "tversky", "focal_tversky", "lovasz_hinge"}
KNOWN = torch.tensor([[1.0, 0, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0]])  # (batch, classes)


def batch(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(3, 4, 6, 5, generator=random)
    return logits, (torch.rand(3, 4, 6, 5, generator=random) > 0.6).float()


def by_hand(name: str, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The mean over known (slice, class), or over classes of their known slices together."""
    term = term_of(name)
    if name in POOLED:
        there = [(KNOWN[:, c] > 0, slice(c, c + 1)) for c in range(4) if KNOWN[:, c].any()]
    else:
        there = [
            (torch.arange(3) == row, slice(c, c + 1)) for row, c in torch.nonzero(KNOWN).tolist()
        ]
    parts = [term(logits[rows][:, c], targets[rows][:, c]) for rows, c in there]
    return torch.stack(parts).mean()


@pytest.mark.parametrize("name", loss_names())
def test_only_what_is_known_counts(name: str) -> None:
    logits, targets = batch()
    found = build_loss(name)(logits, targets, KNOWN)
    torch.testing.assert_close(found, by_hand(name, logits, targets), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", loss_names())
def test_what_is_not_known_moves_nothing(name: str) -> None:
    logits, targets = batch()
    other_logits, other_targets = batch(1)
    there = KNOWN[:, :, None, None] > 0
    found = []
    for a, b in (
        (logits, targets),
        (torch.where(there, logits, other_logits), torch.where(there, targets, other_targets)),
    ):
        seen = a.clone().requires_grad_()
        loss = build_loss(f"0.5*{name}")(seen, b, KNOWN)
        loss.backward()
        assert seen.grad is not None
        assert not seen.grad[~there.expand_as(seen)].any()
        assert seen.grad[there.expand_as(seen)].any()
        found.append((loss.detach(), seen.grad))
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])


@pytest.mark.parametrize("name", loss_names())
def test_a_batch_of_which_nothing_is_known_costs_nothing(name: str) -> None:
    logits, targets = batch()
    logits.requires_grad_()
    loss = build_loss(name)(logits, targets, torch.zeros(3, 4))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_where_all_is_known_the_loss_is_the_plain_one() -> None:
    logits, targets = batch()
    for name in loss_names():
        loss = build_loss(name)
        torch.testing.assert_close(
            loss(logits, targets, torch.ones(3, 4)), loss(logits, targets), rtol=1e-6, atol=1e-7
        )


def test_auxiliary_logits_are_masked_too() -> None:
    logits, targets = batch()
    auxiliary, _ = batch(2)
    network = torch.nn.Identity()
    network.auxiliary_logits = [auxiliary]  # type: ignore[assignment]
    loss = build_loss("bce")
    found = supervise(loss, network)(logits, targets, KNOWN)
    expected = (loss(logits, targets, KNOWN) + loss(auxiliary, targets, KNOWN)) / 2
    torch.testing.assert_close(found, expected)
