"""Who decides which epoch is kept (``training.keep``), and the average of weights (``ema``)."""

from __future__ import annotations

import copy
import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from gitract_core.data.slices import SliceIndex
from gitract_core.device import Runtime
from gitract_core.errors import SpaceError
from gitract_core.knobs import OptimizerKnobs, TrainingKnobs
from gitract_core.results.trial_result import TrialFiles, TrialResult
from gitract_core.spec import Candidate
from gitract_core.training.early_stopping import ending
from gitract_core.training.step import TrainingStep
from gitract_core.trial.deciding_cases import deciding_rows
from gitract_core.trial.run import run_trial
from orchestrator.api.sweep_lines import asked_lines
from orchestrator.sweeps.preparation import SweepRequest, check
from search_spaces import load_space
from tests.gitract_core.training.test_best_epoch import record
from tests.support.faulty_trials import same_but_for_cost
from tests.support.kept_epochs import plan_of, trial
from tests.support.killed_trainings import Killed, Steps, epochs_of
from tests.support.tiny_contest import write_tiny_contest
from tests.support.tiny_sweep import SPACE, prepare_tiny
from tests.support.tiny_training import made_up_training


def without_masks_of(data: Path, cases: list[str], copy_to: Path) -> Path:
    """The same images; some cases are annotated as empty."""
    shutil.copytree(data, copy_to)
    with (data / "train.csv").open() as file:
        rows = list(csv.DictReader(file))
    with (copy_to / "train.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        for row in rows:
            case = row["id"].split("_")[0].removeprefix("case")
            writer.writerow({**row, "segmentation": "" if case in cases else row["segmentation"]})
    return copy_to


@pytest.mark.parametrize("keep", ["inner", "last"])
def test_annotations_of_the_held_out_fold_change_no_bit_of_what_is_kept(
    keep: str, tiny: Path, tmp_path: Path
) -> None:
    plan = plan_of(tiny)
    other = without_masks_of(tiny, plan.cases(0), tmp_path / "other")
    found = []
    for place, data in enumerate((tiny, other)):
        spec, where = trial(data, plan, training__keep=keep)
        result = run_trial(spec, where, tmp_path / str(place))
        weights = TrialFiles(tmp_path / str(place)).best.read_bytes()
        found.append((result.history["best_epoch"], result.history["epochs"], weights))
        assert result.scores["dice"] is not None
    assert found[0] == found[1]


def test_held_out_annotations_do_change_what_is_kept_by_them(tiny: Path, tmp_path: Path) -> None:
    """Else the test before would test nothing."""
    plan = plan_of(tiny)
    other = without_masks_of(tiny, plan.cases(0), tmp_path / "other")
    found = []
    for place, data in enumerate((tiny, other)):
        result = run_trial(*trial(data, plan), tmp_path / str(place))
        found.append((result.history["best_epoch"], result.history["at_best"]["loss"]))
    assert found[0] != found[1]


def test_cases_that_decide_are_whole_training_cases_and_are_not_trained_on(
    tiny: Path, tmp_path: Path
) -> None:
    plan = plan_of(tiny)
    spec, data = trial(tiny, plan, training__keep="inner", training__epochs=1)
    result = run_trial(spec, data, tmp_path)
    index = SliceIndex.from_directory(tiny)
    cases = index.table["case"].to_numpy()
    training = plan.rows(cases, 0, held_out=False)
    rows = deciding_rows(index, training, seed=3, fold=0)
    deciding = set(cases[rows])
    assert deciding
    assert deciding < set(cases[training])
    assert set(rows) == {row for row in training if cases[row] in deciding}
    assert result.environment["deciding_cases"].split() == sorted(deciding)
    assert result.environment["training_slices"] == len(training) - len(rows)
    assert result.environment["validation_slices"] == len(rows)
    assert set(result.per_case) == set(plan.cases(0)), "the held-out fold alone is scored"


def test_the_part_that_decides_differs_by_seed_and_fold_and_by_nothing_else(tiny: Path) -> None:
    index = SliceIndex.from_directory(tiny)
    cases = np.unique(index.table["case"])
    rows = np.arange(len(index.table))
    draws = {
        (seed, fold): tuple(deciding_rows(index, rows, seed=seed, fold=fold))
        for seed in range(4)
        for fold in range(3)
    }
    assert len(set(draws.values())) > 1
    for (seed, fold), found in draws.items():
        assert tuple(deciding_rows(index, rows, seed=seed, fold=fold)) == found
        assert 1 <= len(set(index.table["case"].iloc[list(found)])) < len(cases)


def test_two_training_cases_are_enough_and_one_is_not(tiny: Path) -> None:
    index = SliceIndex.from_directory(tiny)
    cases = index.table["case"].to_numpy()
    two = np.flatnonzero(np.isin(cases, np.unique(cases)[:2]))
    for seed in range(5):
        assert len(set(cases[deciding_rows(index, two, seed=seed, fold=0)])) == 1
    one = np.flatnonzero(cases == cases[0])
    with pytest.raises(SpaceError, match=r"training\.keep: expected 2 training patients or more"):
        deciding_rows(index, one, seed=0, fold=0)


def test_folds_with_too_few_patients_are_refused_before_anything_starts(tmp_path: Path) -> None:
    data = write_tiny_contest(tmp_path / "data")
    index = SliceIndex.from_directory(data)
    keep = sorted(set(index.table["case"]))[:2]
    excluded = tuple(dict.fromkeys(index.table["scan"][~index.table["case"].isin(keep)]))
    space = load_space({"folds": 2, "training": {"keep": "inner"}, "input": {"size": 32}})
    with pytest.raises(SpaceError, match="1 beside fold 0; use more folds or patients"):
        check(SweepRequest(data, space, tmp_path / "run", exclude=excluded))


def test_the_last_epoch_is_kept_whatever_the_curves_say() -> None:
    knobs = TrainingKnobs(keep="last", epochs=6)
    worse = [record(epoch=n, loss=float(n)) for n in range(1, 7)]
    assert ending(worse, knobs) == (6, 6)
    assert ending(worse[:5], knobs) is None
    assert ending(worse, TrainingKnobs(epochs=6, patience=3)) == (4, 1)
    training = made_up_training({"training.keep": "last", "training.epochs": 3})
    while not training.finished:
        training.run_epoch()
        assert training.best_epoch == len(training.records)
    assert len(training.records) == 3


@pytest.mark.parametrize(
    "text",
    [
        SPACE + "training: {keep: last, patience: 5}\n",
        SPACE + "training: {keep: last, patience: 15}\n",
        SPACE + "training: {keep: [held_out, last], patience: 5}\n",
        SPACE + "training: {patience: 5}\nvariants: [{training: {keep: last}}]\n",
        SPACE.replace("loss:", "search: {method: tpe, samples: 2}\nloss:")
        + "training: {keep: last, patience: 5}\n",
    ],
)
def test_a_space_with_a_patience_beside_the_last_epoch_is_refused(
    text: str, tmp_path: Path
) -> None:
    file = tmp_path / "space.yaml"
    file.write_text(text)
    with pytest.raises(SpaceError, match=r"knob training\.patience: expected none, since"):
        load_space(file)


def test_a_patience_set_by_hand_beside_the_last_epoch_is_refused(
    tiny: Path, tmp_path: Path
) -> None:
    def asked(text: str, **overrides: object) -> SweepRequest:
        file = tmp_path / "space.yaml"
        file.write_text(SPACE + text)
        changes = tuple((n.replace("__", "."), v) for n, v in overrides.items())
        return SweepRequest(tiny, load_space(file), tmp_path / "run", overrides=changes)

    for request in (
        asked("", training__keep="last", training__patience=5),
        asked("training: {keep: last}", training__patience=15),
    ):
        with pytest.raises(SpaceError, match=r"knob training\.patience: expected none, since"):
            request.candidates()
    changed = asked("training: {patience: 3}", training__keep="last").candidates()
    assert {c.training for c in changed} == {TrainingKnobs(keep="last")}
    assert {c.training.patience for c in asked("training: {patience: 3}").candidates()} == {3}


def test_a_last_epoch_at_a_constant_rate_is_told_before_it_trains(
    tiny: Path, tmp_path: Path
) -> None:
    last: dict[str, object] = {"training.keep": "last"}
    settled = [{**last, "optimizer.schedule": "poly"}, {**last, "training.ema": 0.9}, {}]
    sweep = prepare_tiny(tiny, tmp_path / "run", last, *settled)
    (told,) = [line for line in asked_lines(sweep) if "constant learning rate" in line]
    assert told.startswith("candidates that keep the last epoch at a constant learning rate: 1;")
    assert not any("constant" in line for line in asked_lines(prepare_tiny(tiny, tmp_path / "b")))


def test_defaults_of_the_new_knobs_leave_keys_as_they_were() -> None:
    assert (
        Candidate().key
        == Candidate.from_knobs({"training.ema": 0, "training.keep": "held_out"}).key
    )
    assert not {"training.ema", "training.keep"} & Candidate().recorded().keys()
    others: list[dict[str, object]] = [
        {"training.ema": 0.9},
        {"training.keep": "inner"},
        {"training.keep": "last"},
    ]
    candidates = [Candidate.from_knobs(knobs) for knobs in ({}, *others)]
    assert len({c.key for c in candidates}) == len({c.trajectory for c in candidates}) == 4


def test_longer_under_a_schedule_is_another_trajectory() -> None:
    for schedule, alike in (("constant", True), ("cosine", False), ("poly", False)):
        short, long = (
            Candidate.from_knobs(
                {"optimizer.schedule": schedule, "training.keep": "last", "training.epochs": n}
            )
            for n in (10, 20)
        )
        assert (short.trajectory == long.trajectory) == alike


def test_schedules_fall_to_nearly_nothing_in_the_last_epoch() -> None:
    for schedule, most in (("cosine", 0.0025), ("poly", 0.037)):
        knobs = OptimizerKnobs(learning_rate=1.0, schedule=schedule)
        rates = [knobs.rate(epoch, 40) for epoch in range(40)]
        assert rates == sorted(rates, reverse=True)
        assert rates[0] == 1
        assert 0 < rates[-1] < most
    poly = OptimizerKnobs(learning_rate=0.01, schedule="poly")
    assert poly.rate(25, 100) == pytest.approx(0.01 * 0.75**0.9)


@pytest.mark.parametrize("decay", [0.5, 0.97])
def test_the_average_is_that_of_a_plain_recursion_with_buffers(
    decay: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = made_up_training({"training.ema": decay})
    expected = copy.deepcopy(training.network.state_dict())
    step = TrainingStep.__call__

    def noted(moved: TrainingStep, *batch: torch.Tensor) -> torch.Tensor:
        loss = step(moved, *batch)
        for name, value in training.network.state_dict().items():
            whole = not value.is_floating_point()
            expected[name] = value if whole else decay * expected[name] + (1 - decay) * value
        return loss

    monkeypatch.setattr(TrainingStep, "__call__", noted)
    found = [training.run_epoch() for _ in range(2)]
    state = training.judged.state_dict()
    assert any("running_var" in name for name in expected)
    for name, value in expected.items():
        torch.testing.assert_close(state[name], value, rtol=1e-5, atol=1e-6)
        if value.is_floating_point():
            assert not torch.equal(state[name], training.network.state_dict()[name]), name
    plain = made_up_training()
    plain_records = [plain.run_epoch() for _ in range(2)]
    assert [r.train_loss for r in found] == [r.train_loss for r in plain_records]
    assert [r.loss for r in found] != [r.loss for r in plain_records], "the average is validated"


@pytest.mark.parametrize("keep", ["held_out", "inner", "last"])
def test_killed_with_an_average_it_goes_on_and_ends_bit_identical(
    keep: str, tiny: Path, tmp_path: Path
) -> None:
    spec, data = trial(
        tiny, plan_of(tiny), training__keep=keep, training__ema=0.9, training__epochs=3,
        optimizer__batch_size=2, optimizer__schedule="poly",
    )  # fmt: skip
    with Steps().counted() as all_steps:
        expected = run_trial(spec, data, tmp_path / "whole")
    parts, runtime = TrialFiles(tmp_path / "parts"), Runtime("cpu", 1, checkpoint_minutes=1e-3)
    with Steps(all_steps.count // 3 + 2).counted(), pytest.raises(Killed):
        run_trial(spec, data, parts.directory, runtime=runtime)
    assert parts.checkpoint.is_file()
    found = run_trial(spec, data, parts.directory, runtime=runtime)
    assert same_but_for_cost(found, expected)
    assert parts.best.read_bytes() == TrialFiles(tmp_path / "whole").best.read_bytes()
    assert epochs_of(parts) == epochs_of(TrialFiles(tmp_path / "whole"))


def test_what_is_saved_is_the_average_of_the_last_epoch(tiny: Path, tmp_path: Path) -> None:
    spec, data = trial(tiny, plan_of(tiny), training__keep="last", training__ema=0.8)
    averages = []
    run_trial(spec, data, tmp_path, report=lambda r: averages.append(r.epoch))
    assert averages == [1, 2, 3, 4, 5]
    result = TrialResult.load(TrialFiles(tmp_path).result)
    assert result.history["best_epoch"] == 5
    weights = load_file(TrialFiles(tmp_path).best)
    plain, data = trial(tiny, plan_of(tiny), training__keep="last")
    run_trial(plain, data, tmp_path / "plain")
    others = load_file(TrialFiles(tmp_path / "plain").best)
    assert weights.keys() == others.keys()
    assert any(not torch.equal(weights[name], others[name]) for name in weights)


def test_more_epochs_go_on_with_the_average_and_the_last_epoch_kept(
    tiny: Path, tmp_path: Path
) -> None:
    kept: dict[str, object] = {"training.keep": "last", "training.ema": 0.9}
    sweep = prepare_tiny(tiny, tmp_path / "run", *({**kept, "training.epochs": n} for n in (2, 4)))
    short, long = (
        next(s for s in sweep.specs if s.fold == 0 and s.candidate.training.epochs == n)
        for n in (2, 4)
    )
    ran: list[int] = []
    for spec in (short, long):
        run_trial(
            spec, sweep.data, sweep.directory.trials / spec.key, lambda r: ran.append(r.epoch)
        )
    assert ran == [1, 2, 3, 4]
    expected = run_trial(long, sweep.data, tmp_path / "alone")
    found = sweep.directory.trial(long)
    assert same_but_for_cost(TrialResult.load(found.result), expected)
    assert found.best.read_bytes() == TrialFiles(tmp_path / "alone").best.read_bytes()
