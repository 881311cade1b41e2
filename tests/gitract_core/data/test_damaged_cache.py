"""A damaged cache: named where it is opened, built anew where the data is there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gitract_core.data.cache import SliceCache, build_cache, cache_directory, open_cache
from gitract_core.data.slices import SliceIndex
from gitract_core.errors import RunError
from gitract_core.files.atomic import written_once

FILES = ("images.npy", "masks.npy", "states.npy", "index.parquet", "scans.parquet", "meta.json")


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[2 * len(content) // 3] ^= 1
    file.write_bytes(content)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "one byte": flip,
    "cut to nothing": lambda file: file.write_bytes(b""),
    "cut short": lambda file: file.write_bytes(file.read_bytes()[:-100]),
    "gone": lambda file: file.unlink(),
}


@pytest.fixture
def index(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SliceIndex:
    """A data set whose caches are the test's own, looked at for the first time."""
    monkeypatch.setenv("GITRACT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("gitract_core.data.cache._whole", set())
    return SliceIndex.from_directory(tiny)


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the next process would."""
    monkeypatch.setattr("gitract_core.data.cache._whole", set())


def content(directory: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in directory.iterdir()}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_cache_is_built_anew(
    index: SliceIndex, name: str, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = build_cache(index, 16).directory
    before = content(directory)
    DAMAGES[damage](directory / name)
    forget(monkeypatch)
    build_cache(index, 16)
    assert content(directory) == before
    DAMAGES[damage](directory / name)
    forget(monkeypatch)
    open_cache(index.root, index.fingerprint, 16, checked=True)
    assert content(directory) == before
    assert sorted(p.name for p in directory.parent.glob(".*")) == [f".{directory.name}.lock"]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", FILES)
def test_without_the_data_the_file_is_named(
    index: SliceIndex, name: str, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = build_cache(index, 16).directory
    DAMAGES[damage](directory / name)
    forget(monkeypatch)
    with pytest.raises(RunError, match=name.replace(".", r"\.")) as caught:
        open_cache(Path("/nowhere"), index.fingerprint, 16, checked=True)
    assert f"remove {directory} and run again" in str(caught.value)
    if damage == "one byte" and name in ("images.npy", "masks.npy"):
        return  # of mapped files workers compare the size alone
    cache = open_cache(Path("/nowhere"), index.fingerprint, 16)
    with pytest.raises(RunError, match=name.replace(".", r"\.")):
        _ = cache.images, cache.masks, cache.index


def test_files_of_another_cache_are_refused(index: SliceIndex, own_tiny: Path) -> None:
    shutil.copy(next(own_tiny.rglob("*.png")), own_tiny / "one.png")
    image = sorted(own_tiny.rglob("slice_0003*.png"))[0]
    image.write_bytes(sorted(own_tiny.rglob("slice_0004*.png"))[0].read_bytes())
    (own_tiny / "one.png").unlink()
    ours = build_cache(index, 16)
    theirs = build_cache(SliceIndex.from_directory(own_tiny), 16)
    assert ours.directory != theirs.directory
    assert ours.images.shape == theirs.images.shape
    for name in ("images.npy", "meta.json"):
        kept = (ours.directory / name).read_bytes()
        shutil.copyfile(theirs.directory / name, ours.directory / name)
        with pytest.raises(RunError, match=name):
            SliceCache(ours.directory, index.root, 16).check()
        (ours.directory / name).write_bytes(kept)
    SliceCache(ours.directory, index.root, 16).check()


def test_a_cache_of_an_earlier_version_is_taken_as_it_is(
    index: SliceIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = build_cache(index, 16)
    meta = json.loads((built.directory / "meta.json").read_text())
    for key in ("name", "files", "seal"):
        del meta[key]
    (built.directory / "meta.json").write_text(json.dumps(meta))
    forget(monkeypatch)
    found = open_cache(Path("/nowhere"), index.fingerprint, 16, checked=True)
    assert not found.stamps
    assert np.array_equal(found.masks, built.masks)
    masks = built.directory / "masks.npy"
    np.save(masks, np.load(masks)[:-1])
    with pytest.raises(RunError, match=r"masks\.npy"):
        _ = open_cache(Path("/nowhere"), index.fingerprint, 16).masks


def test_what_was_fetched_is_compared(index: SliceIndex) -> None:
    built = build_cache(index, 16)
    kept = built.directory.rename(built.directory.with_name("kept"))

    class Source:
        def fetch(self, name: str, part: Path) -> None:
            shutil.copytree(kept, part, dirs_exist_ok=True)

    found = open_cache(Path("/nowhere"), index.fingerprint, 16, source=Source())
    assert found.index.table.equals(index.table)
    shutil.rmtree(found.directory)
    flip(kept / "masks.npy")
    with pytest.raises(RunError, match=r"masks\.npy"):
        open_cache(Path("/nowhere"), index.fingerprint, 16, source=Source())
    assert not cache_directory(index.fingerprint, 16).exists()


def test_who_has_a_damaged_cache_open_keeps_it(tmp_path: Path) -> None:
    place = tmp_path / "c"
    written_once(place, lambda part: (part / "x").write_bytes(b"old"))
    with (place / "x").open() as held:
        written_once(place, lambda part: (part / "x").write_bytes(b"new"), is_whole=lambda: False)
        assert held.read() == "old"
    assert (place / "x").read_text() == "new"
    assert [p.name for p in tmp_path.iterdir() if p.is_dir()] == ["c"]
