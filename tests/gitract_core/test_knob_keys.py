"""A later knob leaves keys and files as they are until it is used."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gitract_core import spec
from gitract_core.errors import RunError
from gitract_core.prediction import members
from gitract_core.prediction.members import Members
from gitract_core.results.trial_result import TrialFiles, TrialResult
from gitract_core.spec import Candidate, TrialSpec, knob_defaults
from gitract_core.trial.reuse import epochs_ready
from orchestrator.sweeps import run_directory as sweep_directory
from orchestrator.sweeps.run_directory import SweepDirectory
from search_spaces import load_space, loader, search

MADE = Path(__file__).resolve().parent.parent / "old_runs"
GROUPS = ("network", "input", "augmentation", "optimizer", "training", "postprocess")
LATER = {"whole": (0, 3), "number": (0.0, 0.5), "text": ("off", "on")}
SETTINGS: tuple[dict[str, Any], ...] = (
    {},
    {"loss": "bce", "network.depth": 2, "input.size": 64},
    {"optimizer.weight_decay": 1, "training.epochs": 3, "postprocess.parts": "largest"},
)


@contextmanager
def version_with(group: str, **knobs: str | int | float) -> Iterator[type[Candidate]]:
    """A later version, whose group has more knobs with these defaults; its candidates."""
    known = type(getattr(Candidate(), group))
    more = [(n, type(v), dataclasses.field(default=v)) for n, v in knobs.items()]
    wider = dataclasses.make_dataclass("Wider", more, bases=(known,), frozen=True)
    field = (group, known, dataclasses.field(default_factory=wider))
    later = dataclasses.make_dataclass("Later", [field], bases=(Candidate,), frozen=True)
    caches = (spec._dotted, spec._defaults, spec._group_types)
    with pytest.MonkeyPatch.context() as patch:
        for module in (spec, members, sweep_directory, loader, search):
            patch.setattr(module, "Candidate", later)
        for cache in caches:
            cache.cache_clear()
        yield later
    for cache in caches:
        cache.cache_clear()


def trial(candidate: Candidate) -> TrialSpec:
    return TrialSpec(candidate, 1, 5, 7, "data", "folds")


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("kind", LATER)
def test_a_later_knob_is_part_of_the_key_when_it_is_used(group: str, kind: str) -> None:
    default, other = LATER[kind]
    before = [Candidate.from_knobs(setting) for setting in SETTINGS]
    keys = [(c.key, trial(c).key, trial(c).to_json()) for c in before]
    with version_with(group, later=default) as later:
        name = f"{group}.later"
        assert knob_defaults()[name] == default
        for setting, known in zip(SETTINGS, keys, strict=True):
            unused = later.from_knobs(setting)
            said = later.from_knobs({**setting, name: default})
            assert unused == said
            for same in (unused, said):
                assert (same.key, trial(same).key, trial(same).to_json()) == known
            used = later.from_knobs({**setting, name: other})
            assert used.key != known[0]
            assert trial(used).key != known[1]
            assert used.recorded()[name] == other
            assert TrialSpec.from_json(trial(used).to_json()) == trial(used)
            assert TrialSpec.from_json(known[2]) == trial(unused)


def test_two_later_knobs_do_not_depend_on_each_other() -> None:
    with version_with("optimizer", warmup=0) as later:
        one = later.from_knobs({"optimizer.warmup": 2}).key
    with version_with("optimizer", clip=0.0, warmup=0) as later:
        assert later.from_knobs({"optimizer.warmup": 2}).key == one
        assert later.from_knobs({"optimizer.warmup": 2, "optimizer.clip": 1.0}).key != one


def test_a_whole_number_for_a_float_makes_no_other_key() -> None:
    with version_with("training", swa=0.5) as later:
        keys = {later.from_knobs({"training.swa": value}).key for value in (1, 1.0)}
        assert len(keys) == 1
        assert keys != {later().key}


def test_a_later_version_reads_the_files_of_then() -> None:
    run = SweepDirectory(MADE / "finished")
    with version_with("optimizer", warmup=0) as later:
        record = run.record()
        assert {c.knobs()["optimizer.warmup"] for c in record.candidates} == {0}
        assert record.candidates == load_space(MADE / "finished.yaml").candidates
        for one in record.specs():
            result = run.result(one)
            assert result
            assert result.spec == one == TrialResult.load(run.trial(one).result).spec
        ensemble = Members.load(MADE / "finished/ensembles/top2-equal")
        assert {m.candidate for m in ensemble.members} == set(record.candidates)
        assert all(isinstance(m.candidate, later) for m in ensemble.members)


def test_a_training_of_then_is_found_by_trials_that_train_alike() -> None:
    run = SweepDirectory(MADE / "finished")
    with version_with("optimizer", warmup=0) as later:
        one = run.record().specs()[0]
        for warmup, ready in ((0, one.candidate.training.epochs), (1, 0)):
            knobs = {**one.candidate.knobs(), "postprocess.z_sigma": 1.0}
            candidate = later.from_knobs({**knobs, "optimizer.warmup": warmup})
            alike = dataclasses.replace(one, candidate=candidate)
            assert epochs_ready(alike, run.trial(alike)) == ready


def test_a_search_knows_the_candidates_of_then(tmp_path: Path) -> None:
    space = (MADE / "finished.yaml").read_text()
    (tmp_path / "s.yaml").write_text(space + "search: {method: tpe, samples: 2}\n")
    with version_with("optimizer", warmup=0):
        found = load_space(tmp_path / "s.yaml").search
        before = SweepDirectory(MADE / "finished").record().candidates
        assert found
        assert found.inside(before) == list(before)
        assert not list(found.draws(without=before))


@pytest.mark.parametrize("name", ["sweep.json", "result.json", "members.json", "a rule"])
def test_a_knob_of_a_newer_version_is_refused_by_name(tmp_path: Path, name: str) -> None:
    run = SweepDirectory(MADE / "finished")
    source = {
        "sweep.json": run.record_file,
        "result.json": run.trial(run.record().specs()[0]).result,
    }.get(name, MADE / "bundle/members.json")
    values = json.loads(source.read_text())
    knobs = {
        "sweep.json": lambda: values["candidates"][1],
        "result.json": lambda: values["spec"]["candidate"],
        "members.json": lambda: values["members"][3]["candidate"],
        "a rule": lambda: values["postprocess"]["stomach"],
    }[name]()
    knobs["optimizer.warmup"] = 1
    (tmp_path / source.name).write_text(json.dumps(values))
    read = {
        "sweep.json": lambda: SweepDirectory(tmp_path).record(),
        "result.json": lambda: TrialResult.load(TrialFiles(tmp_path).result),
    }.get(name, lambda: Members.load(tmp_path / "members.json"))
    with pytest.raises(RunError) as refused:
        read()
    assert "got knob optimizer.warmup; update gitract-cv" in str(refused.value)
    assert "\n" not in str(refused.value)
