from __future__ import annotations

import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

from gitract_core.data.cache import build_cache, cache_directory, mask_bits, open_cache
from gitract_core.data.images import read_image, resize_mask, scan_to_bytes
from gitract_core.data.slices import SliceIndex
from gitract_core.data.validation import data_faults
from gitract_core.data.volumes import load_scan
from gitract_core.errors import DataError
from gitract_core.files.atomic import read_json, replacing, write_json, written_once
from tests.support.tiny_contest import disc


def test_cache_holds_every_slice_as_a_plain_loop_makes_it(tiny: Path) -> None:
    index = SliceIndex.from_directory(tiny)
    cache = build_cache(index, 32)
    assert cache.images.shape == cache.masks.shape == (len(index.table), 1, 32, 32)
    for scan in index.scans:
        volume = load_scan(index, scan)
        assert volume.masks is not None
        rows = index.rows_of_scan(scan).index
        small = [cv2.resize(i, (32, 32), interpolation=cv2.INTER_AREA) for i in volume.images]
        bright = np.quantile(np.stack(small), 0.995, method="inverted_cdf")
        expected = np.minimum(np.stack(small) * (255.0 / bright) + 0.5, 255).astype(np.uint8)
        assert np.abs(cache.images[rows, 0].astype(int) - expected).max() <= 1
        for channel in range(3):
            for place, row in enumerate(rows):
                covered = resize_mask(volume.masks[channel, place], 32)
                assert np.array_equal(cache.masks[row, 0] >> channel & 1, covered)
    assert set(np.unique(cache.masks)) == {0, 1, 2, 4, 6}  # the second and third organ overlap


def test_masks_of_a_scan_are_those_of_its_texts_one_by_one(tiny: Path) -> None:
    index = SliceIndex.from_directory(tiny)
    for scan in index.scans:
        rows = index.rows_of_scan(scan)
        volume = load_scan(index, scan)
        assert volume.masks is not None
        expected = np.zeros((len(rows), 24, 24), np.uint8)
        for channel in range(3):
            for place, native in enumerate(volume.masks[channel]):
                gray = cv2.resize(
                    native.astype(np.uint8) * 255, (24, 24), interpolation=cv2.INTER_AREA
                )
                expected[place] += (gray > 127).astype(np.uint8) * 2**channel
        assert np.array_equal(mask_bits(rows, 24, organs=index.organs)[:, 0], expected)


def test_masks_survive_the_way_to_the_cache(tiny: Path) -> None:
    index = SliceIndex.from_directory(tiny)
    volume = load_scan(index, "case1_day0")
    assert volume.masks is not None
    assert volume.spacing_mm == (3.0, 1.5, 1.5)
    assert np.array_equal(volume.masks[2, 1], disc(40, 48, 2))
    assert not volume.masks[:, 0].any()


def test_cache_is_found_by_fingerprint_alone(own_tiny: Path) -> None:
    index = SliceIndex.from_directory(own_tiny)
    built = build_cache(index, 16)
    found = open_cache(Path("/nowhere"), index.fingerprint, 16)
    assert np.array_equal(found.images, built.images)
    assert found.index.table.equals(index.table)
    with pytest.raises(DataError, match="the data set"):
        open_cache(own_tiny, "0" * 16, 16)


def test_a_failed_build_leaves_nothing(own_tiny: Path) -> None:
    table = own_tiny / "train.csv"
    table.write_text(table.read_text().replace("stomach,\n", "stomach,1900 50\n", 1))
    index = SliceIndex.from_directory(own_tiny)
    with pytest.raises(DataError, match="case1_day0_slice_0001, stomach"):
        build_cache(index, 32)
    directory = cache_directory(index.fingerprint, 32)
    assert not directory.exists()
    assert not list(directory.parent.glob(f".{directory.name}.part*"))
    assert any("case1_day0_slice_0001, stomach" in fault for fault in data_faults(index))


def test_validation_finds_damaged_pixels(own_tiny: Path) -> None:
    assert data_faults(SliceIndex.from_directory(own_tiny)) == []
    image = own_tiny / "train/case7/case7_day0/scans/slice_0003_36_36_1.50_1.50.png"
    content = bytearray(image.read_bytes())
    content[60:-30] = bytes(len(content) - 90)
    image.write_bytes(content)
    faults = data_faults(SliceIndex.from_directory(own_tiny))
    assert len(faults) == 1
    assert "slice_0003_36_36" in faults[0]


def test_scaling_ignores_units_of_the_scanner() -> None:
    random = np.random.default_rng(0)
    scan = random.integers(0, 200, (3, 20, 20)).astype(np.uint16)
    scaled = scan_to_bytes(scan)
    assert scaled.max() == 255
    assert np.abs(scan_to_bytes(scan * 17).astype(int) - scaled).max() <= 1
    assert not scan_to_bytes(np.zeros((2, 4, 4), np.uint16)).any()


def test_color_and_missing_images_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "color.png"
    cv2.imwrite(str(file), np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(DataError, match="gray of height 4"):
        read_image(file, 4, 4)
    with pytest.raises(DataError, match="a readable PNG"):
        read_image(tmp_path / "none.png", 4, 4)


def test_files_are_whole_or_not_there(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "x.json"
    write_json(file, {"a": float("nan"), "b": [1.5, float("inf")]})
    assert read_json(file) == {"a": None, "b": [1.5, None]}
    with pytest.raises(UnicodeEncodeError), replacing(file) as part:
        part.write_text("half \udcff")
    assert read_json(file)["b"] == [1.5, None]
    assert [p.name for p in file.parent.iterdir()] == ["x.json"]


def test_concurrent_builders_build_once(tmp_path: Path) -> None:
    calls: list[Path] = []

    def build(part: Path) -> None:
        calls.append(part)
        (part / "x").write_text("x")

    threads = [
        threading.Thread(target=written_once, args=(tmp_path / "c", build)) for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1
    assert (tmp_path / "c" / "x").read_text() == "x"
