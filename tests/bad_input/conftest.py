"""One small finished run, copied for every test that is going to damage it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.refusing import run_cli
from tests.support.tiny_contest import write_tiny_contest
from tests.support.tiny_sweep import SPACE


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder: ``tiny`` (data), ``space.yaml`` and ``run``, a sweep with the ensemble ``one``."""
    home = tmp_path_factory.mktemp("finished")
    write_tiny_contest(home / "tiny")
    (home / "space.yaml").write_text(SPACE + "training: {epochs: 1}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        patch.setenv("GITRACT_CACHE", str(tmp_path_factory.getbasetemp() / "gitract-cache"))
        sweep = ("sweep", "--local", "--data", "tiny", "--space", "space.yaml", "--out", "run")
        sweep += ("--cpus-per-trial", "1")  # as many threads when it is resumed
        assert run_cli(*sweep).code == 0
        assert run_cli("ensemble", "run", "--top", "1", "--images", "tiny/train").code == 0
    (home / "run/ensembles/top1-equal").rename(home / "run/ensembles/one")
    return home


@pytest.fixture
def home(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, which is also the working directory."""
    place = tmp_path / "home"
    shutil.copytree(finished, place)
    monkeypatch.chdir(place)
    return place
