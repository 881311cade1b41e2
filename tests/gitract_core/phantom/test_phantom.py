"""The phantom as a data set: layout, determinism, resumption, refusals, published statistics."""

from __future__ import annotations

import csv
import hashlib
import re
import shutil
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy import ndimage

import gitract_core.phantom.writing as writing
from gitract_core.data.rle import encode
from gitract_core.data.slices import SliceIndex
from gitract_core.errors import DataError
from gitract_core.organs import CONTEST
from gitract_core.phantom import PhantomSpec, write_phantom, write_phantom_of

NAME = re.compile(r"slice_(\d{4})_(\d+)_(\d+)_(\d\.\d\d)_(\d\.\d\d)\.png")


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty scans or so in slices of 18 mm: enough for statistics, seconds to draw."""
    directory = tmp_path_factory.mktemp("phantom") / "data"
    write_phantom(directory, cases=10, seed=4, slices_per_scan=24, workers=2)
    return directory


@pytest.fixture(scope="module")
def masks(phantom: Path) -> dict[str, np.ndarray]:
    """Masks of each training scan, bool (3, slices, height, width), decoded by own code."""
    sizes = {i.parent.parent.name: cv2.imread(str(i), -1).shape for i in images(phantom / "train")}
    scans: dict[str, list[np.ndarray]] = {}
    with (phantom / "train.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            scan = row["id"].rsplit("_slice_", 1)[0]
            flat = np.zeros(np.prod(sizes[scan]), dtype=bool)
            numbers = [int(n) for n in row["segmentation"].split()]
            for start, length in zip(numbers[::2], numbers[1::2], strict=True):
                flat[start - 1 : start - 1 + length] = True
            scans.setdefault(scan, []).append(flat.reshape(sizes[scan]))
    return {s: np.stack(m).reshape(-1, 3, *sizes[s]).swapaxes(0, 1) for s, m in scans.items()}


def images(tree: Path) -> list[Path]:
    return sorted(tree.glob("case*/case*_day*/scans/*.png"))


def digests(directory: Path) -> dict[str, str]:
    files = (p for p in directory.rglob("*") if p.is_file())
    return {
        str(p.relative_to(directory)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files
    }


def test_layout_is_the_contests(phantom: Path) -> None:
    for image in images(phantom / "train") + images(phantom / "test"):
        match = NAME.fullmatch(image.name)
        assert match is not None
        pixels = cv2.imread(str(image), cv2.IMREAD_UNCHANGED)
        assert pixels.dtype == np.uint16
        assert pixels.shape == (int(match[3]), int(match[2]))  # the name says width first
        spacing = "1.63" if pixels.shape == (276, 276) else "1.50"
        assert (match[4], match[5]) == (spacing, spacing)
    assert (phantom / "sample_submission.csv").read_text() == "id,class,predicted\n"
    assert not (phantom / ".drawing").exists()


def test_index_reads_it_with_every_size(phantom: Path) -> None:
    table = SliceIndex.from_directory(phantom).table
    sizes = {(266, 266), (310, 360), (276, 276), (234, 234)}
    assert set(zip(table["height"], table["width"], strict=True)) == sizes
    lengths = table.groupby("scan").agg(n=("slice", "max"), height=("height", "first"))
    assert (lengths["n"] == lengths["height"].map(lambda h: 13 if h == 276 else 24)).all()
    assert table["case"].nunique() == 10


def test_three_rows_a_slice_in_the_contests_order(phantom: Path) -> None:
    with (phantom / "train.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["id", "class", "segmentation"]
    assert [r[1] for r in rows[1:7]] == [*CONTEST.names, *CONTEST.names]
    assert len(rows) - 1 == 3 * len(images(phantom / "train"))


def test_texts_are_exactly_their_masks(phantom: Path, masks: dict[str, np.ndarray]) -> None:
    with (phantom / "train.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            scan, number = row["id"].rsplit("_slice_", 1)
            mask = masks[scan][CONTEST.names.index(row["class"]), int(number) - 1]
            assert encode(mask) == row["segmentation"]


def test_test_folder_has_unseen_cases_and_later_days_with_hidden_truth(phantom: Path) -> None:
    train = {p.parent.parent.name for p in images(phantom / "train")}
    test = {p.parent.parent.name for p in images(phantom / "test")}
    assert not train & test
    last_day: dict[str, int] = {}
    for name in train:
        case, day = name.split("_day")
        last_day[case] = max(int(day), last_day.get(case, -1))
    seen = [name.split("_day") for name in test if name.split("_day")[0] in last_day]
    assert 0 < len(seen) < len(test)
    assert all(int(day) > last_day[case] for case, day in seen)
    with (phantom / "test_truth.csv").open(newline="") as file:
        truth = list(csv.DictReader(file))
    assert list(truth[0]) == ["id", "class", "segmentation", "height", "width"]
    assert {r["id"].rsplit("_slice_", 1)[0] for r in truth} == test
    shapes = {
        p.parent.parent.name: cv2.imread(str(p), -1).shape for p in images(phantom / "test")[::9]
    }
    for row in truth[::30]:
        size = (int(row["height"]), int(row["width"]))
        assert size == shapes[row["id"].rsplit("_slice_", 1)[0]]


def test_same_seed_gives_the_same_bytes_for_any_number_of_workers(tmp_path: Path) -> None:
    for name, workers, seed in (("one", 1, 7), ("two", 2, 7), ("other", 1, 8)):
        where = tmp_path / name
        write_phantom(where, cases=1, seed=seed, slices_per_scan=16, workers=workers)
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    pictures = [
        {v for k, v in digests(tmp_path / n).items() if "png" in k} for n in ("one", "other")
    ]
    assert not pictures[0] & pictures[1]


def test_half_written_phantom_is_finished_and_whole_one_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = PhantomSpec.small(2, 1, 16)
    write_phantom_of(tmp_path / "whole", spec, workers=1)
    real_draw, drawn = writing._draw, []

    def draw_until_killed(job: writing._Job) -> None:
        if len(drawn) == 2:
            (job.masks.parent / f"{job.part}_{job.plan.name}" / "scans").mkdir(parents=True)
            raise KeyboardInterrupt
        drawn.append(job.plan.name)
        real_draw(job)

    monkeypatch.setattr(writing, "_draw", draw_until_killed)
    with pytest.raises(KeyboardInterrupt):
        write_phantom_of(tmp_path / "cut", spec, workers=1)
    assert not (tmp_path / "cut" / "train.csv").exists()

    def draw_the_rest(job: writing._Job) -> None:
        assert job.plan.name not in drawn
        real_draw(job)

    monkeypatch.setattr(writing, "_draw", draw_the_rest)
    seen: list[tuple[int, int]] = []
    write_phantom_of(tmp_path / "cut", spec, workers=1, progress=lambda a, b: seen.append((a, b)))
    assert digests(tmp_path / "cut") == digests(tmp_path / "whole")
    assert seen[0][0] == 2
    assert seen[-1][0] == seen[-1][1]
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "cut").rglob("*")}
    monkeypatch.setattr(writing, "_draw", pytest.fail)
    write_phantom_of(tmp_path / "cut", spec, workers=1)
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "cut").rglob("*")} == before


def test_images_whose_masks_are_lost_are_drawn_again(tmp_path: Path) -> None:
    spec = PhantomSpec.small(1, 2, 16)
    write_phantom_of(tmp_path / "whole", spec, workers=1)
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    (tmp_path / "cut" / "train.csv").unlink()
    write_phantom_of(tmp_path / "cut", spec, workers=1)
    assert digests(tmp_path / "cut") == digests(tmp_path / "whole")


def test_foreign_folders_are_refused_and_untouched(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match=r"notes\.txt"):
        write_phantom(tmp_path, cases=1)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]
    with pytest.raises(DataError, match="got a file"):
        write_phantom(tmp_path / "notes.txt", cases=1)


def test_a_phantom_of_another_spec_is_refused(phantom: Path) -> None:
    with pytest.raises(DataError, match="'seed': 5"):
        write_phantom(phantom, cases=10, seed=5, slices_per_scan=24)


@pytest.mark.parametrize("marker", ['"drawing": 1', '"drawing": 99', None])
def test_a_phantom_of_another_drawing_is_refused_and_untouched(
    tmp_path: Path, marker: str | None
) -> None:
    """The same spec, but other pictures: results would be compared that cannot be."""
    spec = PhantomSpec.small(1, 2, 16)
    write_phantom_of(tmp_path / "data", spec, workers=1)
    path = tmp_path / "data" / "phantom.json"
    stated = f'"drawing": {writing.DRAWING}'
    assert stated in path.read_text()
    text = path.read_text().replace(stated, marker or '"format": 1')  # at first: no number
    path.write_text(text)
    before = digests(tmp_path / "data")
    with pytest.raises(DataError, match=r"drawing.*remove the folder to have it drawn anew"):
        write_phantom_of(tmp_path / "data", spec, workers=1)
    assert digests(tmp_path / "data") == before


@pytest.mark.parametrize(
    ("words", "culprit"),
    [
        ({"cases": 0}, "cases"),
        ({"cases": -3}, "cases"),
        ({"cases": 1, "seed": -1}, "seed"),
        ({"cases": 1, "slices_per_scan": 3}, "slices_per_scan"),
        ({"cases": 1, "workers": 0}, "workers"),
    ],
)
def test_arguments_out_of_range(tmp_path: Path, words: dict[str, int], culprit: str) -> None:
    with pytest.raises(DataError, match=f"phantom {culprit}"):
        write_phantom(tmp_path / "new", **words)  # type: ignore[arg-type]
    assert not (tmp_path / "new").exists()


def test_organs_per_slice(masks: dict[str, np.ndarray]) -> None:
    held = np.concatenate([m.any(axis=(2, 3)).sum(axis=0) for m in masks.values()])
    shares = np.bincount(held, minlength=4) / len(held)
    np.testing.assert_allclose(shares, [0.569, 0.064, 0.284, 0.083], atol=0.003)


def test_ranges_have_no_gap_and_masks_keep_off_the_border(masks: dict[str, np.ndarray]) -> None:
    for scan in masks.values():
        for organ in scan:
            held = np.flatnonzero(organ.any(axis=(1, 2)))
            assert (np.diff(held) == 1).all()
        for edge in (scan[:, :, 0], scan[:, :, -1], scan[..., 0], scan[..., -1]):
            assert not edge.any()


# 22 real scans: median area in pixels, mean number of components, mean centroid (y, x)
REAL = {
    "large_bowel": (1390, 2.34, (0.389, 0.572)),
    "small_bowel": (1836, 3.36, (0.397, 0.589)),
    "stomach": (1132, 1.10, (0.391, 0.591)),
}


@pytest.mark.parametrize("organ", CONTEST.names)
def test_shapes_are_like_real_ones(organ: str, masks: dict[str, np.ndarray]) -> None:
    area, components, (y, x) = REAL[organ]
    found = [s for m in masks.values() for s in m[CONTEST.names.index(organ)] if s.any()]
    assert np.median([s.sum() for s in found]) == pytest.approx(area, rel=0.4)
    counts = [ndimage.label(s, np.ones((3, 3)))[1] for s in found]
    assert np.mean(counts) == pytest.approx(components, rel=0.3)
    centers = [np.divide(ndimage.center_of_mass(s), s.shape) for s in found]
    np.testing.assert_allclose(np.mean(centers, axis=0), (y, x), atol=0.05)


def test_neighboring_slices_agree_as_real_ones_do(tmp_path: Path) -> None:
    """Dice of slices 3 mm apart; the real medians are .908, .870 and .913."""
    from gitract_core.phantom.planning.drawing import make_plan
    from gitract_core.phantom.scan import Scan

    values: list[list[float]] = [[], [], []]
    plan = make_plan(PhantomSpec.small(6, 2))
    for scan in [s for s in plan.train if s.n_slices == 144][::2]:
        drawn = [m for _, m in Scan.drawn(scan, 2).slices()]
        for one, two in pairwise(drawn):
            for organ in range(3):
                if one[organ].any() and two[organ].any():
                    both = 2 * (one[organ] & two[organ]).sum()
                    values[organ].append(both / (one[organ].sum() + two[organ].sum()))
    np.testing.assert_allclose([np.median(v) for v in values], [0.908, 0.870, 0.913], atol=0.035)


def test_intensities_are_like_real_ones_and_no_threshold_finds_an_organ(
    phantom: Path, masks: dict[str, np.ndarray]
) -> None:
    bodies, dark, organs, shares, best = [], [], [], [], 0.0
    inside, outside = np.zeros(256), np.zeros(256)
    for image in images(phantom / "train")[::3]:
        number = int(image.name.split("_")[1]) - 1
        mask = masks[image.parent.parent.name][:, number].any(axis=0)
        if not mask.any():
            continue
        pixels = cv2.imread(str(image), cv2.IMREAD_UNCHANGED).astype(float)
        gray = 255 * (pixels - pixels.min()) / np.ptp(pixels)
        rough = ndimage.gaussian_filter(gray, 2) > 4
        body = ndimage.binary_closing(np.pad(rough, 9), np.ones((9, 9)))[9:-9, 9:-9]
        bodies.append(gray[body].mean())
        shares.append(body.mean())
        dark.append(gray[~ndimage.binary_dilation(body, iterations=3)].mean())
        organs.append(gray[mask].mean())
        inside += np.histogram(gray[mask], 256, (0, 256))[0]
        outside += np.histogram(gray[body & ~mask], 256, (0, 256))[0]
    for low in range(0, 250, 4):  # the best band of gray values, told which pixels are body
        for high in range(low + 4, 254, 4):
            hit, wrong = inside[low:high].sum(), outside[low:high].sum()
            best = max(best, 2 * hit / (hit + wrong + inside.sum()))
    assert np.mean(dark) < 1
    assert 42 < np.mean(bodies) < 71
    assert 0.31 < np.mean(shares) < 0.46  # arms counted
    assert 25 < np.mean(organs) < 53
    assert np.mean(organs) < np.mean(bodies)
    assert best < 0.4
