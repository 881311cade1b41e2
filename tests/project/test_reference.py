"""The pages of reference are those of the code, the dependencies those of the project."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from importlib.metadata import metadata
from types import ModuleType

from search_spaces import dimensions
from tests.support.pages import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_reference", ROOT / "docs/make_reference.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_reference_is_that_of_the_code() -> None:
    for path, text in reference().pages().items():
        assert path.read_text() == text, f"run python docs/make_reference.py for {path.name}"


def test_every_knob_and_distribution_is_explained() -> None:
    for name, _, meaning in reference().knob_rows():
        assert len(meaning) > 5, name
    assert set(dimensions.DISTRIBUTIONS) == set(dimensions._DRAWS)


def test_dependencies_are_those_of_the_project() -> None:
    page = (ROOT / "docs/dependencies.md").read_text()
    told = re.findall(r"^\| ([\w\[\]-]+) \| ([\d.]+) \|", page, re.MULTILINE)
    assert [f"{name}>={least}" for name, least in told] == PROJECT["dependencies"]


def test_every_extra_is_named() -> None:
    page = (ROOT / "docs/dependencies.md").read_text()
    named = re.findall(r"`([a-z]+)`", page.partition("\nExtras: ")[2].partition("\n\n")[0])
    assert sorted(named) == sorted(PROJECT["optional-dependencies"])


def test_the_installed_licences_allow_redistribution() -> None:
    """Of what is always installed: permissive ones, by the packages' own words."""
    for requirement in PROJECT["dependencies"]:
        about = metadata(re.split(r"[\[>]", requirement)[0])
        classified = [c for c in about.get_all("Classifier") or [] if "License" in c]
        words = " ".join(
            [about.get("License-Expression") or about.get("License") or "", *classified]
        )
        assert re.search(r"Apache|BSD|MIT|Python Software Foundation|matplotlib", words), (
            requirement
        )
