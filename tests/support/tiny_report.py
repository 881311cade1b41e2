"""A run for the HTML report, and the report's page taken apart."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from gitract_core.trial.run import run_trial
from orchestrator.report.page import page_values
from orchestrator.results.leaderboard import build_leaderboard
from orchestrator.results.verdict import judge
from orchestrator.sweeps.run_directory import SweepDirectory
from tests.support.tiny_sweep import prepare_tiny

HOSTILE = '</script><img src=x onerror="window.broken=1"> <!-- & \' \u2028 é 漢字'
RUN_NAME = "a<b>&'é"


def sweep_three(tiny: Path, folder: Path) -> SweepDirectory:
    """A finished run of three losses, two folds, four epochs, under a name with markup in it."""
    out = folder / RUN_NAME
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GITRACT_CACHE", str(folder.parent / "gitract-cache"))
        losses = ("bce", "bce + dice", "dice")
        changes = ({"loss": loss, "training.epochs": 4} for loss in losses)
        sweep = prepare_tiny(tiny, out, *changes)
        for spec in sweep.pending:  # in this process: workers would take longer to start
            run_trial(spec, sweep.data, sweep.directory.trial(spec).directory)
    return SweepDirectory(out)


def values_of(run: SweepDirectory) -> dict[str, Any]:
    board = build_leaderboard(run)
    return page_values(run, board, judge(board))


class Page(HTMLParser):
    """The elements of a page, the text of its scripts, and what it refers to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.references: list[str] = []
        self.attributes: list[dict[str, str | None]] = []
        self.texts: dict[str, list[str]] = {"script": [], "style": [], "title": [], "h1": []}
        self.open = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.open = tag
        if tag in self.texts:
            self.texts[tag].append("")
        self.attributes.append(dict(attrs))
        self.references += [v or "" for k, v in attrs if k in ("src", "href", "srcset", "action")]

    def handle_data(self, data: str) -> None:
        if self.open in self.texts:
            self.texts[self.open][-1] += data

    def handle_endtag(self, tag: str) -> None:
        self.open = ""

    @property
    def data(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.texts["script"][0])
        return found
