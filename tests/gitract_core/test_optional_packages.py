"""Without an optional package a command says in one line what to install, and begins nothing."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from gitract_core import optional_packages
from gitract_core.device import Runtime
from gitract_core.errors import GitractError
from gitract_core.knobs import NetworkKnobs
from gitract_core.networks import build_network
from gitract_core.optional_packages import require
from orchestrator.tracking import check_trackers
from tests.support.pages import ROOT
from tests.support.searching_sweep import prepared, search

Missing = Callable[[str], None]


@pytest.fixture
def missing(monkeypatch: pytest.MonkeyPatch) -> Missing:
    """Takes an installed package away."""
    find = optional_packages.find_spec

    def take(package: str) -> None:
        assert find(package), f"{package} is needed here"
        monkeypatch.setattr(
            optional_packages, "find_spec", lambda name: None if name == package else find(name)
        )

    return take


def test_a_package_that_is_there_is_not_missed() -> None:
    require("json", "here", "none")


def test_every_extra_that_is_named_is_one() -> None:
    files = [*ROOT.glob("gitract_core/**/*.py"), *ROOT.glob("orchestrator/**/*.py")]
    calls = [c for f in files for c in re.findall(r"\brequire\(([^()]*)\)", f.read_text())]
    named = {word for call in calls for word in re.findall(r', "([a-z]+)"', call)}
    assert named == {"clinic", "mlflow", "monai", "search"}
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert named <= set(extras["optional-dependencies"])


def test_a_search_is_not_begun(tiny: Path, tmp_path: Path, missing: Missing) -> None:
    missing("optuna")
    with pytest.raises(GitractError, match=r"optuna, got none; pip install 'gitract-cv\[search\]'"):
        prepared(tiny, tmp_path / "run", search(9))
    assert not (tmp_path / "run").exists()


def test_a_tracker_is_refused(missing: Missing) -> None:
    missing("mlflow")
    check_trackers(None)
    with pytest.raises(GitractError, match=r"pip install 'gitract-cv\[mlflow\]'"):
        check_trackers("http://127.0.0.1:1")


def test_a_network_is_refused(missing: Missing) -> None:
    missing("monai")
    knobs = NetworkKnobs(family="monai:UNet", widths="8,16,32,64,128")
    with pytest.raises(GitractError, match=r"monai:UNet.*pip install 'gitract-cv\[monai\]'"):
        build_network(knobs, 3, 3)


@pytest.mark.parametrize("package", ["nibabel", "pydicom", "contourpy"])
def test_scans_of_a_clinic_are_not_read(package: str, missing: Missing) -> None:
    from orchestrator.cli.predict import _predict_files

    missing(package)
    with pytest.raises(GitractError, match=rf"{package}, got none.*'gitract-cv\[clinic\]'"):
        _predict_files(
            Path(),
            Runtime("cpu"),
            images=Path(),
            kind="nifti",
            folder=Path(),
            file_format="nifti",
        )
