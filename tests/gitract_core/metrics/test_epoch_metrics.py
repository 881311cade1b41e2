from __future__ import annotations

import json
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

PER_CLASS = [f.name for f in fields(EpochMetrics) if f.name.endswith("_per_class")]


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
    counts = EpochCounts()
    for logits, masks in made:
        counts.update(logits, masks)
    return counts.compute()


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
    ours = counted(made)
    for organ in range(3):
        truth, predicted = pooled(made, organ)
        assert ours.dice_per_class[organ] == pytest.approx(f1_score(truth, predicted))
        assert ours.iou_per_class[organ] == pytest.approx(jaccard_score(truth, predicted))
        assert ours.accuracy_per_class[organ] == pytest.approx((truth == predicted).mean())
        balanced = balanced_accuracy_score(truth, predicted)
        assert ours.balanced_accuracy_per_class[organ] == pytest.approx(balanced)
    for name in ("dice", "iou", "accuracy", "balanced_accuracy"):
        assert getattr(ours, name) == pytest.approx(np.mean(getattr(ours, f"{name}_per_class")))


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
    assert ours.row_dice_per_class == pytest.approx([np.mean(rows[o]) for o in range(3)])
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
    for figures in (ours.dice_per_class, ours.iou_per_class, ours.row_dice_per_class):
        assert [math.isnan(f) for f in figures] == [True, False, True]
    assert ours.dice == pytest.approx(2 / 3)
    assert ours.accuracy == pytest.approx((1 + 15 / 16 + 1) / 3)
    assert ours.balanced_accuracy == pytest.approx((0.5 + 1) / 2)


def test_before_the_first_batch_everything_is_nan():
    ours = EpochCounts().compute()
    assert math.isnan(ours.dice)
    assert math.isnan(ours.paper_iou)
    assert all(math.isnan(v) for name in PER_CLASS for v in getattr(ours, name))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_dtype_and_memory_layout_do_not_matter(dtype, layout):
    [(logits, masks)] = batches(1, sizes=(4,))
    logits = logits.to(dtype)
    plain = counted([(logits.double(), masks)])
    assert_alike(counted([(logits.to(memory_format=layout), masks.to(torch.uint8))]), plain)


def test_more_pixels_than_single_precision_can_count():
    counts = EpochCounts()
    counts._pixels += 2**24
    counts.update(torch.full((1, 3, 1, 1), 5.0), torch.ones(1, 3, 1, 1))
    assert counts._pixels.tolist() == [[2**24 + n] * 3 for n in (1, 0, 0, 1)]


def test_update_never_waits_for_the_device():
    """Tensors of the meta device have no values, so reading one on the host would raise."""
    [(logits, masks)] = batches(0, sizes=(2,))
    EpochCounts("meta").update(logits.to("meta"), masks.to("meta"))


def test_json_round_trip():
    ours = counted([(torch.full((1, 3, 2, 2), -5.0), torch.zeros(1, 3, 2, 2))])
    text = json.dumps(ours.to_json(), allow_nan=False)
    again = EpochMetrics.from_json(json.loads(text))
    assert math.isnan(again.dice)
    assert again.to_json() == ours.to_json()
    assert isinstance(again.dice_per_class, tuple)


@pytest.mark.parametrize(
    ("logits", "masks"), [((1, 3, 4, 4), (1, 3, 4, 5)), ((1, 2, 4, 4),) * 2, ((3, 3, 4),) * 2]
)
def test_wrong_shapes_are_refused(logits, masks):
    with pytest.raises(SpaceError, match="of one shape"):
        EpochCounts().update(torch.zeros(logits), torch.zeros(masks))


def test_what_is_not_known_is_not_counted() -> None:
    """Each class against the counts of its known slices alone."""
    random = torch.Generator().manual_seed(3)
    logits = torch.randn(6, 4, 8, 8, generator=random)
    truth = (torch.rand(6, 4, 8, 8, generator=random) > 0.5).float()
    known = (torch.rand(6, 4, generator=random) > 0.4).float()
    known[:, 3] = 0
    counts = EpochCounts(classes=4)
    for span in (slice(0, 4), slice(4, 6)):
        counts.update(logits[span], truth[span], known[span])
    found = counts.compute()
    for place in range(3):
        rows = known[:, place] > 0
        alone = EpochCounts(classes=1)
        alone.update(logits[rows][:, [place]], truth[rows][:, [place]])
        expected = alone.compute()
        for name in ("dice", "iou", "accuracy", "balanced_accuracy", "row_dice"):
            figure = getattr(found, f"{name}_per_class")[place]
            assert figure == pytest.approx(getattr(expected, name)), (name, place)
    assert math.isnan(found.dice_per_class[3])
    assert found.dice == pytest.approx(sum(found.dice_per_class[:3]) / 3)
