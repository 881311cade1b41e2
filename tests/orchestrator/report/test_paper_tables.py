"""Tables 5 and 6 against loops of our own, and receptive fields against disturbed pixels."""

from __future__ import annotations

import copy
import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from gitract_core.errors import RunError
from gitract_core.networks import UNet, UNetPlusPlus, build_network, receptive_field_exact
from gitract_core.networks.gradient_field import measured_receptive_field
from gitract_core.spec import Candidate, NetworkKnobs
from orchestrator.report.paper.tables import (
    HONEST_METRICS,
    PAPER_METRICS,
    PAPER_TABLE_6,
    best_epochs,
    field_levels,
    loss_falls,
    table_5,
    table_6,
    trial_best,
)
from orchestrator.report.table import Table, to_csv, to_markdown
from orchestrator.results.histories import TrialHistory, finite_mean
from tests.support.made_up_histories import candidate, history


def test_best_values_and_those_at_the_least_loss_against_a_loop() -> None:
    random = np.random.default_rng(0)
    losses, dice, iou = random.random((3, 20))
    ours = trial_best(history(2, losses, dice=dice, paper_iou=iou))
    least = 0
    for epoch in range(20):
        if losses[epoch] < losses[least]:
            least = epoch
    assert (ours.fold, ours.epochs, ours.best_epoch) == (2, 20, least + 1)
    assert ours.at_least_loss["dice"] == dice[least] != ours.best["dice"]
    assert ours.best["dice"] == sorted(dice)[-1]
    assert ours.best["paper_iou"] == sorted(iou)[-1]


def test_values_that_are_not_finite_never_win() -> None:
    nan, infinity = math.nan, math.inf
    ours = trial_best(history(0, [nan, 0.5, -infinity, 0.4], dice=[nan, 0.2, 0.3, nan]))
    assert ours.best_epoch == 4
    assert ours.best["dice"] == 0.3
    assert math.isnan(ours.at_least_loss["dice"])
    lost = trial_best(history(0, [nan, nan], dice=[nan, nan]))
    assert (lost.best_epoch, lost.falls) == (0, False)
    assert math.isnan(lost.best["dice"])
    assert math.isnan(lost.at_least_loss["dice"])


@pytest.mark.parametrize(
    ("losses", "falls"),
    [
        ([0.5, 0.4], True),
        ([0.5, 0.5, 0.5], False),
        ([0.5, 0.6, 0.4999], False),  # by less than 1 %
        ([-0.5, -0.6], True),
        ([0.5], False),
        ([math.nan, 0.5, 0.3], True),
        ([], False),
    ],
)
def test_a_loss_falls_by_more_than_one_percent_or_never(losses: list[float], falls: bool) -> None:
    assert loss_falls(np.array(losses)) is falls


def test_the_papers_own_lines_come_out_as_printed() -> None:
    """Histories with the paper's figures at the paper's epochs give its lines, brackets and all."""

    def told(epochs: int, at: int, best: Sequence[float], least: Sequence[float]) -> TrialHistory:
        losses = [1.0 + 0.01 * abs(at - epoch) for epoch in range(1, epochs + 1)]
        losses[at - 1] = 0.5
        columns = {name: [0.01] * epochs for name in PAPER_METRICS}
        for name, high, low in zip(PAPER_METRICS, best, least, strict=True):
            columns[name][0 if high != low else at - 1] = high
            columns[name][at - 1] = low
        return history(0, losses, **columns)

    printed = {row[0]: row for row in PAPER_TABLE_6.rows}
    bce = told(40, 25, (0.6786, 0.7305, 0.6786), (0.4241, 0.3747, 0.4241))
    both = told(34, 19, (0.7006, 0.7699, 0.9287), (0.7006, 0.7576, 0.6449))
    rising = history(0, [0.1, 0.2, 0.3])
    lines = best_epochs(
        [candidate("BCE", bce), candidate("Dice", rising), candidate("BCE + 0.5 Dice", both)]
    )
    for row in table_6(lines, PAPER_METRICS, "").cells:
        expected = list(printed[row[0]])
        expected[1] = f"{expected[1]}.0" if expected[1].isdigit() else expected[1]
        assert list(row) == expected


def test_lines_are_means_over_folds_and_one_falling_fold_is_enough_for_numbers() -> None:
    falling = history(0, [1.0, 0.5, 0.6], dice=[0.1, 0.2, 0.6])
    rising = history(1, [1.0, 1.5, 1.6], dice=[0.3, 0.2, 0.1])
    [line] = best_epochs([candidate("x", falling, rising)])
    assert (line.falling, line.best_epoch) == (1, 1.5)
    assert line.best("dice") == pytest.approx((0.6 + 0.3) / 2)
    assert line.at_least_loss("dice") == pytest.approx((0.2 + 0.3) / 2)
    assert table_6([line], HONEST_METRICS, "").cells[0][:3] == ("x", "1.5", "0.4500 (0.2500)")
    values = line.to_json()
    assert values["folds_in_which_the_loss_falls"] == 1
    assert [trial["best_epoch"] for trial in values["trials"]] == [2, 1]
    [never] = best_epochs([candidate("y", rising)])
    assert table_6([never], HONEST_METRICS, "").cells[0] == ("y", "never falls", "/", "/", "/")
    assert never.to_row()["dice_best"] == 0.3  # the table hides them, the CSV does not


def disturbed_rows(network: nn.Module, level: int, side: int) -> int:
    """Rows of pixels that move the middle unit of a level of the untouched, max-pooling network.

    Weights are positive, so that a pixel raised high above all others is the maximum of every
    window on its way up: the unit moves exactly if it depends on the pixel. Six lines of forward
    pass, no gradient.
    """
    network = copy.deepcopy(network).double().eval()
    for weights in network.parameters():
        nn.init.uniform_(weights, 0.1, 1)

    def middle(images: torch.Tensor) -> torch.Tensor:
        for number, encoder in enumerate(network.encoder[: level + 1]):
            images = encoder(network.pool(images) if number else images)
        return images[:, 0, images.shape[2] // 2, images.shape[3] // 2]

    still = torch.rand(1, 1, side, side, dtype=torch.float64)
    moved = still.repeat(side, 1, 1, 1)
    moved[range(side), 0, range(side), side // 2] += 1000
    with torch.no_grad():
        return int((middle(moved) != middle(still)).sum())


def test_gradients_and_disturbed_pixels_agree() -> None:
    network = UNet(1, 3, [2, 2, 2, 2])
    fields = measured_receptive_field(network)
    assert fields == (5, 14, 32, 68)
    assert [disturbed_rows(network, level, 96) for level in range(4)] == list(fields)


@pytest.mark.parametrize(
    ("family", "widths", "depth"),
    [("unet", "2,3,4,5,6", 4), ("unetpp", "2,2,2,2", 3), ("unet2015", "2,2,2,2,2", 4)],
)
def test_every_family_sees_what_the_exact_recurrence_says(
    family: str, widths: str, depth: int
) -> None:
    network = build_network(NetworkKnobs(family, widths, depth), 3, 3)
    expected = [receptive_field_exact(level) for level in range(depth + 1)]
    assert list(measured_receptive_field(network)) == expected


def test_another_network_is_measured_and_not_looked_up() -> None:
    network = UNet(1, 3, [2, 2, 2])
    first = network.encoder[0]
    assert isinstance(first, nn.Sequential)
    first[0] = nn.Conv2d(1, 2, 5, padding=2)
    assert measured_receptive_field(network) == (7, 16, 34)
    network.pool = nn.MaxPool2d(3, stride=2, padding=1)  # 1 px more, at the pooling's own distance
    assert measured_receptive_field(network) == (7, 17, 37)


def test_a_network_is_left_as_it_is_and_unmeasurable_ones_have_no_figure() -> None:
    network = UNetPlusPlus(1, 3, [2, 2])
    before = [weights.clone() for weights in network.state_dict().values()]
    measured_receptive_field(network)
    assert all(map(torch.equal, before, network.state_dict().values()))
    assert network.training
    assert isinstance(network.pool, nn.MaxPool2d)
    assert measured_receptive_field(nn.Conv2d(1, 1, 3)) == ()
    everything = UNet(1, 3, [2, 2])
    everything.encoder[0] = nn.Sequential(everything.encoder[0], WholeMean())
    assert measured_receptive_field(everything) == ()


class WholeMean(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images + images.mean((2, 3), keepdim=True)


def test_table_5_sets_the_two_recurrences_and_the_measurement_side_by_side(tmp_path: Path) -> None:
    shallow, deep = (
        Candidate.from_knobs({"network.widths": widths, "network.depth": depth})
        for widths, depth in (("2,2", 1), ("2,2,2", 2))
    )
    wider = Candidate.from_knobs({"network.widths": "3,3", "network.depth": 1})
    levels = field_levels([shallow, deep, wider])
    assert [(x.paper, x.exact) for x in levels] == [(5, 5), (13, 14), (29, 32)]
    table = table_5(levels, [shallow, deep, wider])
    assert table.header[3:] == ("measured: unet, depth 1", "measured: unet, depth 2")
    assert table.cells[2] == ("2", "29", "32", "-", "32")
    assert "5 of 5 measured figures equal" in table.notes[-1]
    assert "| 1 | 13 | 14 | 14 | 14 |" in to_markdown(table)


def test_rows_of_different_columns_and_holes_survive_csv() -> None:
    text = to_csv(Table.of_records([{"a": 1, "b": math.nan}, {"a": None}]))
    assert list(csv.DictReader(io.StringIO(text))) == [{"a": "1", "b": ""}, {"a": "", "b": ""}]


def test_pipes_in_labels_do_not_break_markdown() -> None:
    [line] = best_epochs([candidate("a|b", history(0, [1.0, 0.5]))])
    assert "| a\\|b | 2.0 |" in to_markdown(table_6([line], PAPER_METRICS, ""))


def test_means_leave_out_what_is_not_a_number_and_empty_histories_are_refused() -> None:
    assert finite_mean([1.0, math.nan, 3.0, math.inf]) == 2.0
    assert math.isnan(finite_mean([]))
    with pytest.raises(RunError, match="at least one epoch"):
        TrialHistory(0, ())
