from __future__ import annotations

import math
from dataclasses import fields

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.metrics import balanced_accuracy_score, f1_score, jaccard_score

from gitract_core.errors import SpaceError
from gitract_core.metrics.epoch import EpochCounts, EpochMetrics


def batches(seed, sizes=(3, 3, 2), emptiness=0.5):
    """Logits and masks of some batches; about half of the rows are empty."""
    random = np.random.default_rng(seed)
    made = []
    for size in sizes:
        logits = 2 * random.standard_normal((size, 3, 6, 5)) - 1.5
        masks = random.random((size, 3, 6, 5)) < 0.3
        masks &= random.random((size, 3, 1, 1)) > emptiness
        logits[random.random((size, 3)) < emptiness / 2] = -9
        made.append((torch.tensor(logits), torch.tensor(masks)))
    return made


def counted(made):
    counts = EpochCounts("cpu", made[0][0].shape[1])
    for logits, masks in made:
        counts.update(logits, masks)
    return counts.compute()


def of_each_organ(made):
    """The metrics of each organ alone."""
    organs = range(made[0][0].shape[1])
    return [counted([(z[:, [o]], m[:, [o]]) for z, m in made]) for o in organs]


def assert_alike(ours, theirs, skip=()):
    for item in fields(EpochMetrics):
        if item.name not in skip:
            one, other = getattr(ours, item.name), getattr(theirs, item.name)
            np.testing.assert_allclose(one, other, rtol=1e-5, err_msg=item.name)


def pooled(made, organ):
    """Truth and prediction of all pixels of one organ."""
    truth = torch.cat([m[:, organ].flatten() for _, m in made]).numpy()
    predicted = torch.cat([z[:, organ].flatten() for z, _ in made]).numpy() > 0
    return truth, predicted


@pytest.mark.parametrize("seed", range(4))
def test_pooled_figures_are_those_of_scikit_learn(seed):
    made = batches(seed)
    ours, alone = counted(made), of_each_organ(made)
    for organ in range(3):
        truth, predicted = pooled(made, organ)
        assert alone[organ].dice == pytest.approx(f1_score(truth, predicted))
        assert alone[organ].iou == pytest.approx(jaccard_score(truth, predicted))
        assert alone[organ].accuracy == pytest.approx((truth == predicted).mean())
        balanced = balanced_accuracy_score(truth, predicted)
        assert alone[organ].balanced_accuracy == pytest.approx(balanced)
    for name in ("dice", "iou", "accuracy", "balanced_accuracy"):
        assert getattr(ours, name) == pytest.approx(np.mean([getattr(a, name) for a in alone]))


@pytest.mark.parametrize("seed", range(4))
def test_row_dice_skips_rows_that_are_empty_on_both_sides(seed):
    made = batches(seed, emptiness=0.8)
    rows = {organ: [] for organ in range(3)}
    for logits, masks in made:
        for predicted_slice, true_slice in zip((logits > 0).numpy(), masks.numpy(), strict=True):
            for organ in range(3):
                predicted, true = predicted_slice[organ], true_slice[organ]
                if predicted.any() or true.any():
                    both = 2 * (predicted & true).sum() / (predicted.sum() + true.sum())
                    rows[organ].append(both)
    ours = counted(made)
    assert ours.row_dice == pytest.approx(np.mean(np.concatenate(list(rows.values()))))
    for organ, alone in enumerate(of_each_organ(made)):
        assert alone.row_dice == pytest.approx(np.mean(rows[organ]))
    assert 0 < sum(map(len, rows.values())) < 24  # some were skipped


@pytest.mark.parametrize("seed", range(4))
def test_paper_triple_is_the_keras_code_written_out(seed):
    dices, ious, accuracies = [], [], []
    made = batches(seed)
    for logits, masks in made:
        p, t = expit(logits.numpy()), masks.numpy().astype(float)
        dices.append((2 * (p.ravel() @ t.ravel()) + 1) / (p.sum() + t.sum() + 1))
        per_slice = []
        for predicted, true in zip(p, t, strict=True):
            both = (predicted * true).sum()
            per_slice.append((both + 1) / (predicted.sum() + true.sum() - both + 1))
        ious.append(np.mean(per_slice))
        accuracies.append((p.argmax(1) == t.argmax(1)).mean())
    ours = counted(made)
    assert ours.paper_dice == pytest.approx(np.mean(dices))
    assert ours.paper_iou == pytest.approx(np.mean(ious))
    assert ours.paper_accuracy == pytest.approx(np.mean(accuracies))


def test_a_mostly_empty_epoch_shows_the_paper_s_dice_below_its_iou():
    masks = torch.zeros(8, 3, 16, 16)
    masks[0, 0, :8] = 1
    predicted = masks.clone()
    predicted[0, 0, 2:8] = 0
    ours = counted([(40 * predicted - 20, masks)])
    assert ours.paper_dice < ours.paper_iou
    assert ours.dice > ours.iou


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 7))
def test_honest_figures_do_not_depend_on_how_slices_are_batched(seed, cut):
    [(logits, masks)] = batches(seed, sizes=(8,))
    whole = counted([(logits, masks)])
    split = counted([(logits[:cut], masks[:cut]), (logits[cut:], masks[cut:])])
    assert_alike(split, whole, skip=("paper_dice", "paper_iou", "paper_accuracy"))


def test_perfect_prediction():
    masks = batches(0, emptiness=0)[0][1].float()
    ours = counted([(80 * masks - 40, masks)])
    for item in fields(EpochMetrics):
        value = getattr(ours, item.name)
        assert np.allclose(value, 1), item.name


def test_a_class_that_nobody_holds_is_nan_and_left_out_of_the_mean():
    logits, masks = torch.full((1, 3, 4, 4), -5.0), torch.zeros(1, 3, 4, 4, dtype=torch.uint8)
    masks[0, 1, 0, :2] = 1
    logits[0, 1, 0, 0] = 5
    ours = counted([(logits, masks)])
    for name in ("dice", "iou", "row_dice"):
        figures = [getattr(alone, name) for alone in of_each_organ([(logits, masks)])]
        assert [math.isnan(f) for f in figures] == [True, False, True]
    assert ours.dice == pytest.approx(2 / 3)
    assert ours.accuracy == pytest.approx((1 + 15 / 16 + 1) / 3)
    assert ours.balanced_accuracy == pytest.approx((0.5 + 1) / 2)


def test_before_the_first_batch_everything_is_nan():
    ours = EpochCounts("cpu", 3).compute()
    assert all(math.isnan(getattr(ours, item.name)) for item in fields(EpochMetrics))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_dtype_and_memory_layout_do_not_matter(dtype, layout):
    [(logits, masks)] = batches(1, sizes=(4,))
    logits = logits.to(dtype)
    plain = counted([(logits.double(), masks)])
    assert_alike(counted([(logits.to(memory_format=layout), masks.to(torch.uint8))]), plain)


def test_more_pixels_than_single_precision_can_count():
    counts = EpochCounts("cpu", 3)
    counts._pixels += 2**24
    counts.update(torch.full((1, 3, 1, 1), 5.0), torch.ones(1, 3, 1, 1))
    assert counts._pixels.tolist() == [[2**24 + n] * 3 for n in (1, 0, 0, 1)]


def test_update_never_waits_for_the_device():
    """Tensors of the meta device have no values, so reading one on the host would raise."""
    [(logits, masks)] = batches(0, sizes=(2,))
    EpochCounts("meta", 3).update(logits.to("meta"), masks.to("meta"))


@pytest.mark.parametrize(
    ("logits", "masks"), [((1, 3, 4, 4), (1, 3, 4, 5)), ((1, 2, 4, 4),) * 2, ((3, 3, 4),) * 2]
)
def test_wrong_shapes_are_refused(logits, masks):
    with pytest.raises(SpaceError, match="of one shape"):
        EpochCounts("cpu", 3).update(torch.zeros(logits), torch.zeros(masks))


def test_what_is_not_known_is_not_counted() -> None:
    """Each class against the counts of its known slices alone."""
    random = torch.Generator().manual_seed(3)
    logits = torch.randn(6, 4, 8, 8, generator=random)
    truth = (torch.rand(6, 4, 8, 8, generator=random) > 0.5).float()
    known = (torch.rand(6, 4, generator=random) > 0.4).float()
    known[:, 3] = 0
    counts = EpochCounts("cpu", 4)
    for span in (slice(0, 4), slice(4, 6)):
        counts.update(logits[span], truth[span], known[span])
    found, each = counts.compute(), []
    for place in range(3):
        rows = known[:, place] > 0
        alone = EpochCounts("cpu", 1)
        alone.update(logits[rows][:, [place]], truth[rows][:, [place]])
        each.append(alone.compute())
    for name in ("dice", "iou", "accuracy", "balanced_accuracy"):
        expected = np.mean([getattr(alone, name) for alone in each])
        assert getattr(found, name) == pytest.approx(expected), name
    rows = known[:, :3].sum(0).numpy()  # none of them is empty
    expected = np.average([alone.row_dice for alone in each], weights=rows)
    assert found.row_dice == pytest.approx(expected)
