"""Trials of a plugin's candidates: the seed decides, interrupted or not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from gitract_core.data.folds import FoldPlan
from gitract_core.data.slices import SliceIndex
from gitract_core.device import Runtime
from gitract_core.plugins import load_plugins
from gitract_core.results.trial_result import TrialFiles
from gitract_core.spec import Candidate, TrialSpec
from gitract_core.trial.data import TrialData
from gitract_core.trial.run import iterate_trial, run_trial
from tests.support.plugin_files import PLUGIN, no_plugins, write_plugin
from tests.support.tiny_sweep import KNOBS

CHANCE = PLUGIN.replace("return nn.Conv2d(", "return nn.Sequential(nn.Dropout(0.5), nn.Conv2d(")
CHANCE = CHANCE.replace("padding=1)", "padding=1))")
CPU = Runtime("cpu", 1)


@pytest.fixture(autouse=True)
def none_executed() -> Iterator[None]:
    with no_plugins():
        yield


def test_dropout_follows_the_trials_seed_interrupted_or_not(tiny: Path, tmp_path: Path) -> None:
    plugins = load_plugins([write_plugin(tmp_path, CHANCE)])
    index = SliceIndex.from_directory(tiny)
    plan = FoldPlan.make(index, 2, 0)
    knobs = {**KNOBS, "network.family": "one_layer", "plugin": plugins[0].digest}
    spec = TrialSpec(Candidate.from_knobs(knobs), 0, 2, 0, index.fingerprint, plan.fingerprint)
    data = TrialData(tiny, index.fingerprint, plan, gray=index.gray, plugins=plugins)
    weights = []
    for number in range(3):
        torch.manual_seed(number)  # whatever the process did before
        files = TrialFiles(tmp_path / f"{number}")
        if number == 2:
            epochs = iterate_trial(spec, data, files.directory, CPU)
            next(epochs)
            epochs.close()  # type: ignore[attr-defined]
            torch.manual_seed(3)
        run_trial(spec, data, files.directory, runtime=CPU)
        weights.append(files.best.read_bytes())
    assert weights[0] == weights[1] == weights[2]
