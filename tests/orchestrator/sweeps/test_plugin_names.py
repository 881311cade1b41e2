"""A search whose values a plugin defines; copies of plugins in a run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gitract_core.errors import RunError
from gitract_core.plugins import load_plugins
from gitract_core.spec import Candidate
from orchestrator.steering.tpe import Outcome, propose
from orchestrator.sweeps.plugin_copies import copy_of
from orchestrator.sweeps.preparation import SweepRequest, prepare
from search_spaces import load_space
from tests.support.plugin_files import LATER, PLUGIN, digest, no_plugins, write_plugin
from tests.support.tiny_sweep import KNOBS, tiny_space


@pytest.fixture(autouse=True)
def none_executed() -> Iterator[None]:
    with no_plugins():
        yield


def request(folder: Path, text: str) -> SweepRequest:
    searched = {"loss": ["bce", "0.5*squared+bce"], "network.family": ["unet", "one_layer"]}
    search = {"method": "tpe", "samples": 4}
    space = load_space({**KNOBS, **searched, "search": search})
    plugins = load_plugins([write_plugin(folder, text)])
    return SweepRequest(folder, space, folder / "run", plugins=plugins)


def test_a_search_gives_candidates_the_plugin_that_their_values_need(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    asked = request(tmp_path, LATER)
    drawn, search = asked.candidates(), asked.search
    assert search
    known = dict.fromkeys(drawn, Outcome("finished", 0.5, 2))
    while found := propose(search, known, lambda candidate: None):
        known[found] = Outcome("finished", 0.5, 2)
    plugins = {(c.loss, c.network.family): c.plugin for c in known}
    assert len(known) == len(plugins) == 4
    assert plugins.pop(("bce", "unet")) == ""
    assert set(plugins.values()) == {digest(LATER)}
    assert search.inside(known) == list(known)
    assert asked.candidates(list(known)) == tuple(known)


def test_a_search_does_not_take_another_versions_candidates_for_its_own(tmp_path: Path) -> None:
    earlier, now = request(tmp_path, LATER), request(tmp_path, LATER + "\n")
    first, second = earlier.search, now.search
    assert first
    assert second
    theirs: list[Candidate] = list(first.corners())
    assert first.inside(theirs) == theirs
    assert [(c.loss, c.network.family) for c in second.inside(theirs)] == [("bce", "unet")]


@pytest.mark.parametrize("stranger", ["", "plugins/tool.py", "notes"])
def test_a_sweep_that_ended_after_its_copies_goes_on(
    tiny: Path, tmp_path: Path, stranger: str
) -> None:
    plugins = load_plugins([write_plugin(tmp_path)])
    asked = SweepRequest(tiny, tiny_space({"loss": "brier"}), tmp_path / "run", plugins=plugins)
    copy = copy_of(asked.out, digest())
    copy.parent.mkdir(parents=True)
    copy.write_text("cut off")
    if stranger:
        (asked.out / stranger).write_text("of somebody else")
        with pytest.raises(RunError, match="expected a new or empty directory, or a run's"):
            prepare(asked)
    else:
        prepare(asked)
        assert copy.read_text() == PLUGIN
