"""2.5D input: neighbors of the same scan as channels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from gitract_core.data.cache import build_cache
from gitract_core.data.slices import SliceIndex
from gitract_core.errors import SpaceError
from gitract_core.knobs import InputKnobs
from gitract_core.prediction.device_slices import slices_on
from gitract_core.prediction.inference import predict_scan
from gitract_core.spec import Candidate
from gitract_core.trial.run import run_trial
from tests.support.tiny_sweep import KNOBS, prepare_tiny


@pytest.mark.parametrize(("context", "stride"), [(3, 1), (3, 3), (5, 2)])
def test_channels_are_neighbors_of_the_same_scan_and_nothing_else(
    tiny: Path, context: int, stride: int
) -> None:
    cache = build_cache(SliceIndex.from_directory(tiny), 32)
    table = cache.index.table.reset_index(drop=True)
    slices = slices_on(cache, torch.device("cpu"))
    rows = torch.randperm(len(table), generator=torch.Generator().manual_seed(0))
    seen = slices.batch_images(rows, InputKnobs(context=context, stride=stride))
    assert seen.shape == (len(table), context, 32, 32)
    for picture, row in zip(seen, rows.tolist(), strict=True):
        own = table.index[table["scan"] == table["scan"][row]].tolist()
        for channel in range(context):
            wanted = row + stride * (channel - context // 2)
            nearest = min(own, key=lambda r, w=wanted: abs(r - w))  # type: ignore[misc]
            expected = np.float32(1 / 255) * cache.images[nearest, 0].astype(np.float32)
            assert np.array_equal(picture[channel].numpy(), expected), (row, channel)


def test_neighbors_are_found_by_number_where_slices_are_missing(own_tiny: Path) -> None:
    """A scan without its third slice: the second is no neighbor of the fourth."""
    remove_slices(own_tiny, "case1_day0", {3})
    cache = build_cache(SliceIndex.from_directory(own_tiny), 32)
    numbers = cache.index.rows_of_scan("case1_day0")["slice"].tolist()
    assert numbers == [1, 2, 4, 5, 6]
    seen_at = {  # offset -> numbers of the slices that are seen from 1, 2, 4, 5 and 6
        -1: [1, 1, 4, 4, 5],
        1: [2, 2, 5, 6, 6],
        -2: [1, 1, 2, 4, 4],
        2: [2, 4, 6, 6, 6],
    }
    slices = slices_on(cache, torch.device("cpu"))
    for stride in (1, 2):
        knobs = InputKnobs(context=3, stride=stride)
        seen = slices.batch_images(torch.arange(5), knobs)
        for channel, offset in ((0, -stride), (2, stride)):
            for place, number in enumerate(seen_at[offset]):
                row = numbers.index(number)
                expected = np.float32(1 / 255) * cache.images[row, 0].astype(np.float32)
                assert np.array_equal(seen[place, channel].numpy(), expected), (offset, place)
        rest = torch.arange(5, len(cache.index.table))
        whole = replace(slices, numbers=None)
        assert torch.equal(slices.batch_images(rest, knobs), whole.batch_images(rest, knobs))
        given = predict_scan(
            torch.nn.Identity(),
            slices.images[:5],
            Candidate(input=knobs),
            "fp32",
            numbers=np.array(numbers),
        )
        assert np.array_equal(given, trained_bytes(seen))


def test_no_scan_with_a_gap_takes_the_old_way(tiny: Path) -> None:
    cache = build_cache(SliceIndex.from_directory(tiny), 32)
    assert slices_on(cache, torch.device("cpu")).numbers is None


def trained_bytes(seen: torch.Tensor) -> np.ndarray:
    return seen.sigmoid().mul(255).round().numpy().swapaxes(0, 1).astype(np.uint8)


def remove_slices(root: Path, scan: str, numbers: set[int]) -> None:
    ids = {f"{scan}_slice_{n:04d}" for n in numbers}
    for number in numbers:
        folder = root / "train" / scan.partition("_")[0] / scan / "scans"
        next(folder.glob(f"slice_{number:04d}_*")).unlink()
    lines = (root / "train.csv").read_text().splitlines(keepends=True)
    kept = [line for line in lines if line.partition(",")[0] not in ids]
    (root / "train.csv").write_text("".join(kept))


def test_one_slice_is_repeated_as_in_the_paper(tiny: Path) -> None:
    cache = build_cache(SliceIndex.from_directory(tiny), 32)
    seen = slices_on(cache, torch.device("cpu")).batch_images(torch.tensor([4]), InputKnobs())
    assert seen.shape == (1, 3, 32, 32)
    assert (seen[:, 0] == seen[:, 1]).all()
    assert (seen[:, 0] == seen[:, 2]).all()


def test_prediction_of_a_scan_sees_what_training_saw(tiny: Path) -> None:
    """A network that passes its channels on shows which slices it was given."""
    cache = build_cache(SliceIndex.from_directory(tiny), 32)
    index, slices = cache.index, slices_on(cache, torch.device("cpu"))
    candidate = Candidate.from_knobs({"input.context": 3, "input.stride": 2})
    for scan in index.scans:
        rows = torch.tensor(index.rows_of_scan(scan).index.to_numpy())
        given = predict_scan(torch.nn.Identity(), slices.images[rows], candidate, "fp32")
        trained = slices.batch_images(rows, candidate.input).sigmoid().mul(255).round()
        assert np.array_equal(given, trained.numpy().swapaxes(0, 1).astype(np.uint8))


def test_a_trial_with_context_runs_and_differs_from_one_without(tiny: Path, tmp_path: Path) -> None:
    changes = ({}, {"input.context": 3}, {"input.context": 5, "input.stride": 2})
    sweep = prepare_tiny(tiny, tmp_path / "run", *changes)
    results = [run_trial(s, sweep.data, tmp_path / s.key) for s in sweep.specs if s.fold == 0]
    assert len({r.environment["parameters"] for r in results}) == 3
    first_layer = 9 * 4  # one more plane is a kernel more for each of four feature maps
    counts = [r.environment["parameters"] for r in results]
    assert [c - counts[0] for c in counts] == [0, 2 * first_layer, 4 * first_layer]


@pytest.mark.parametrize(("knob", "value"), [("context", 2), ("context", 7), ("stride", 0)])
def test_other_contexts_are_refused(knob: str, value: int) -> None:
    with pytest.raises(SpaceError, match=f"input.{knob}"):
        Candidate.from_knobs({**KNOBS, f"input.{knob}": value})
