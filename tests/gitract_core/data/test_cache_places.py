"""Where caches lie, for users without a home and in folders that can only be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from gitract_core.data.cache import build_cache, cache_root
from gitract_core.data.slices import SliceIndex
from gitract_core.errors import RunError
from gitract_core.files.atomic import read_json, write_json
from orchestrator.capacity.doctor import examine


def test_without_a_home_the_named_folder_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", nobody)
    monkeypatch.setenv("GITRACT_CACHE", "/somewhere")
    assert cache_root() == Path("/somewhere")
    monkeypatch.delenv("GITRACT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert cache_root() == Path("/caches/gitract-cv")
    monkeypatch.delenv("XDG_CACHE_HOME")
    with pytest.raises(RunError, match="GITRACT_CACHE: expected a folder for caches, got none"):
        cache_root()
    (cache,) = (finding for finding in examine() if finding.what == "cache")
    assert not cache.ok
    assert "GITRACT_CACHE" in cache.remedy


def test_a_whole_cache_is_used_as_it_is(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be one that can only be read: nothing is written, in it or beside it."""
    monkeypatch.setenv("GITRACT_CACHE", str(tmp_path / "cache"))
    index = SliceIndex.from_directory(tiny)
    made = build_cache(index, 32)
    (tmp_path / "cache" / f".{made.directory.name}.lock").unlink()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*")}
    again = build_cache(index, 32)
    assert again.images.shape == made.images.shape
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*")} == before
    assert (tmp_path / "cache").stat().st_mtime_ns <= max(before.values()) + 10**9


def test_json_of_names_that_are_not_utf8_is_json(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"commands": ["sweep --out b\udcff", "😀 é"]})
    assert read_json(tmp_path / "a.json") == {"commands": ["sweep --out b?", "😀 é"]}
