"""What plan foretells, against hand computation with invented costs; and that it writes nothing."""

from __future__ import annotations

import io
import itertools
import json
import re
import time
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from gitract_core.errors import GitractError
from gitract_core.knobs import NO_PATIENCE
from gitract_core.prediction.inference import BATCH_SLICES
from gitract_core.results.trial_result import TrialFiles
from gitract_core.spec import TrialSpec
from gitract_core.trial.cost import StepCost, shape_of
from gitract_core.trial.relative_cost import relative_cost
from gitract_core.trial.run import run_trial
from gitract_core.trial.scoring_cost import ScoringCost
from orchestrator.api import planning
from orchestrator.api.options import SweepOptions
from orchestrator.capacity.first_sight import at_first_sight
from orchestrator.capacity.fold_sizes import fold_sizes
from orchestrator.capacity.measuring import Measured
from orchestrator.capacity.sweep_plan import Outlook, fitting, make_plan, makespan
from orchestrator.capacity.time_budget import parse_budget, write_space
from orchestrator.capacity.trial_slots import Node, Slots, choose_slots
from orchestrator.cli.main import app
from orchestrator.sweeps.preparation import SweepRequest, check, prepare, start_order
from search_spaces import load_space
from tests.support.command_line import cli
from tests.support.tiny_sweep import SPACE, prepare_tiny, tiny_space

BATCH = 4  # of the tiny space
STEP = StepCost(
    setup_seconds=5.0,
    step_seconds=2.0,
    validation_seconds=64.0,
    save_seconds=0.5,
    predict_seconds=0.25,
    oof_seconds=0.125,
    oof_bytes=1000.0,
    weights_bytes=10_000,
    checkpoint_bytes=30_000,
    peak_memory_bytes=7_000_000,
)
SCORING_COST = ScoringCost(0.4e-3, 0.6e-3)
SCORING = 1e-3  # seconds a native pixel, once
TWO = Slots(2)
CHANGES = (
    {"loss": "bce"},
    {"loss": "bce + dice", "network.widths": "8,16"},
    {"loss": "dice", "training.epochs": 1},
    {"loss": "dice", "training.epochs": 1, "postprocess.threshold": 0.3},
)


def outlook(data: Path, out: Path, *changes: dict[str, object], slots: Slots = TWO) -> Outlook:
    """All shapes cost ``STEP``; the wide network takes twice the time a step."""
    checked = check(SweepRequest(data, tiny_space(*changes), out))
    candidates = {spec.candidate for spec in checked.specs}
    wide = replace(STEP, step_seconds=2 * STEP.step_seconds, peak_memory_bytes=9_000_000)
    steps = {shape_of(c): wide if c.network.widths == "8,16" else STEP for c in candidates}
    scoring = {(c.input.size, c.postprocess): SCORING_COST for c in candidates}
    return Outlook(checked, slots, Measured(steps, scoring, 0.0, 0.0))


def by_hand(view: Outlook, fold: int, *, epochs: int, step: float) -> float:
    table = view.checked.index.table
    held = [view.checked.plans[0].fold_of_case[c] == fold for c in table["case"]]
    n, rows = sum(held), table[held]
    epoch = (len(table) - n) / BATCH * step + n / BATCH_SLICES * 64.0 + 0.5
    pixels = sum(h * w for h, w in zip(rows["height"], rows["width"], strict=True))
    epoch += 0.0 if view.slots.gpus else pixels * 0.6e-3 / view.slots.cpus
    return 5.0 + epochs * epoch + n * 0.375 + pixels * SCORING


def longest_end(seconds: list[float], slots: int) -> float:
    """Slot by slot, second by second the dumb way: who is free first takes the next."""
    ends = [0.0] * slots
    for duration in seconds:
        free = min(range(slots), key=lambda i: ends[i])
        ends[free] += duration
    return max(ends)


@pytest.fixture(autouse=True)
def no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITRACT_CACHE", str(tmp_path / "no-cache"))


def test_time_is_that_of_the_packing_done_by_hand(tiny: Path, tmp_path: Path) -> None:
    view = outlook(tiny, tmp_path / "run", *CHANGES)
    trained = {
        (candidate, fold): by_hand(view, fold, epochs=epochs, step=step)
        for candidate, epochs, step in ((0, 3, 2.0), (1, 3, 4.0), (2, 1, 2.0))
        for fold in (0, 1)
    }
    pixels = [
        size.validation_pixels for size in fold_sizes(view.checked.index, view.checked.plans[0])
    ]
    order = [(1, 0), (1, 1), (0, 0), (0, 1), (2, 0), (2, 1)]  # wide first, one epoch last
    seconds = [trained[place] for place in order] + [p * SCORING for p in pixels]
    plan = make_plan(view)
    assert (plan.trials, plan.shared, plan.folds) == (8, 2, 2)
    assert plan.seconds == pytest.approx(longest_end(seconds, 2))
    assert plan.cpu_hours == pytest.approx(sum(seconds) / 3600)
    assert plan.gpu_hours == 0
    assert plan.memory_bytes == 9_000_000


def test_epochs_are_scored_where_the_scored_fold_chooses_them(tiny: Path, tmp_path: Path) -> None:
    last: dict[str, object] = {"training.keep": "last", "training.patience": NO_PATIENCE}
    view = outlook(tiny, tmp_path / "run", {}, last)
    (size, _), (chosen, _, kept, _) = (
        fold_sizes(view.checked.index, view.checked.plans[0]),
        view.checked.specs,
    )

    def seconds(spec: TrialSpec, slots: Slots) -> float:
        return replace(view, slots=slots).cost(spec, trains=True).seconds

    scoring = 3 * size.validation_pixels * 0.6e-3  # of three epochs
    without = seconds(kept, TWO)
    assert seconds(chosen, TWO) - without == pytest.approx(scoring)
    assert seconds(chosen, Slots(1, cpus=2)) - without == pytest.approx(scoring / 2)
    on_gpu = Slots(1, gpus=1.0, device="cuda")
    assert seconds(chosen, on_gpu) == pytest.approx(without), "its processor is free meanwhile"
    costly = {k: ScoringCost(0, 1.0) for k in view.measured.scorings}
    slow = replace(view, slots=on_gpu, measured=replace(view.measured, scorings=costly))
    ending = 5.0 + size.validation_slices * 0.375
    expected = ending + 4 * size.validation_pixels
    assert slow.cost(chosen, trains=True).seconds == pytest.approx(expected)


def test_options_that_change_no_plan_are_taken_and_not_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[SweepOptions] = []

    def stop(options: SweepOptions, *_: object, **__: object) -> None:
        told.append(options)
        raise GitractError("a", "test", "to end", "here")

    monkeypatch.setattr(planning, "plan_sweep", stop)
    CliRunner().invoke(app, ["plan", "--mlflow", "sqlite:///x", "--retries", "3", "--register"])
    (options,) = told
    assert (options.mlflow, options.retries, options.register) == ("sqlite:///x", 3, True)
    page = CliRunner().invoke(app, ["plan", "--help"], env={"COLUMNS": "200"}).stdout
    shown = set(re.findall(r"--[a-z][a-z-]+", page))
    assert {"--data", "--space", "--budget", "--race", "--keep-state", "--trials-per-gpu"} <= shown
    assert not shown & {"--mlflow", "--tensorboard", "--retries", "--grace", "--margin"}
    assert "--mlflow" in CliRunner().invoke(app, ["sweep", "--help"], env={"COLUMNS": "200"}).stdout


def test_packing_is_never_shorter_than_the_best_and_in_order(tmp_path: Path) -> None:
    seconds = [7.0, 5.0, 4.0, 3.0, 3.0]
    best = min(
        max(sum(s for s, slot in zip(seconds, where, strict=True) if slot == k) for k in (0, 1))
        for where in itertools.product((0, 1), repeat=5)
    )
    assert best <= makespan(seconds, 2) == longest_end(seconds, 2) <= 4 / 3 * best


def test_early_stopping_gives_a_range(tiny: Path, tmp_path: Path) -> None:
    change: dict[str, object] = {"training.epochs": 9, "training.patience": 2}
    view = outlook(tiny, tmp_path / "run", change, slots=Slots(1))
    plan = make_plan(view)
    for seconds, epochs in ((plan.seconds, 9), (plan.least_seconds, 3)):
        assert seconds == pytest.approx(
            sum(by_hand(view, fold, epochs=epochs, step=2.0) for fold in (0, 1))
        )


def test_disk_counts_each_training_once(tiny: Path, tmp_path: Path) -> None:
    alone = make_plan(outlook(tiny, tmp_path / "a", CHANGES[2])).disk
    shared = make_plan(outlook(tiny, tmp_path / "b", CHANGES[2], CHANGES[3])).disk
    # Two weights and last states; all slices are held out once.
    small_files = alone.trials_bytes - 2 * 10_000 - 2 * 30_000 - 29 * 1000
    assert 0 < small_files <= 200_000
    assert shared.trials_bytes - alone.trials_bytes == small_files
    assert alone.checkpoints_bytes == shared.checkpoints_bytes == 2 * 30_000
    assert alone.cache_bytes == 2 * 29 * 32 * 32  # images and masks of 29 slices
    thrifty = replace(outlook(tiny, tmp_path / "a", CHANGES[2]), keep_oof=False)
    assert make_plan(thrifty).disk.trials_bytes == alone.trials_bytes - 29 * 1000
    stateless = replace(thrifty, keep_oof=True, keep_state=False)
    assert make_plan(stateless).disk.trials_bytes == alone.trials_bytes - 2 * 30_000
    cosine: dict[str, object] = {**CHANGES[2], "optimizer.schedule": "cosine"}
    waning = make_plan(outlook(tiny, tmp_path / "c", cosine)).disk
    assert waning == make_plan(stateless).disk, "no epoch can be added to it"


def test_a_cache_that_is_there_and_finished_trials_cost_nothing(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITRACT_CACHE", str(tmp_path / "cache"))
    sweep = prepare_tiny(tiny, tmp_path / "run", CHANGES[2])
    run_trial(sweep.specs[0], sweep.data, sweep.directory.trials / sweep.specs[0].key)
    view = outlook(tiny, tmp_path / "run", CHANGES[2])
    plan = make_plan(view)
    assert (plan.trials, plan.finished, plan.disk.cache_bytes) == (2, 1, 0)
    fold = sweep.specs[1].fold
    assert plan.seconds == pytest.approx(by_hand(view, fold, epochs=1, step=2.0))
    TrialFiles(sweep.directory.trials / sweep.specs[0].key).result.unlink()


def test_epochs_that_are_there_cost_nothing(tiny: Path, tmp_path: Path) -> None:
    sweep = prepare_tiny(tiny, tmp_path / "run", CHANGES[2])
    for spec in sweep.specs:
        run_trial(spec, sweep.data, sweep.directory.trials / spec.key)
    change = {**CHANGES[2], "training.epochs": 6}
    view = outlook(tiny, tmp_path / "run", change, slots=Slots(1))
    seconds = sum(by_hand(view, fold, epochs=5, step=2.0) for fold in (0, 1))
    assert make_plan(view).seconds == pytest.approx(seconds)
    for spec in sweep.specs:
        sweep.directory.trial(spec).last.unlink()
    seconds = sum(by_hand(view, fold, epochs=6, step=2.0) for fold in (0, 1))
    assert make_plan(replace(view)).seconds == pytest.approx(seconds)


def test_budget_leaves_out_whole_candidates_the_longest_first(tiny: Path, tmp_path: Path) -> None:
    view = outlook(tiny, tmp_path / "run", *CHANGES)
    everything = make_plan(view)
    assert make_plan(view, everything.seconds).left_out == ()
    without_wide = make_plan(view, everything.seconds - 1)
    assert without_wide.left_out == tuple(x for x in everything.candidates if "8,16" in x)
    assert without_wide.trials == 6
    assert without_wide.seconds <= everything.seconds - 1
    cheapest = make_plan(view, make_plan(outlook(tiny, tmp_path / "b", CHANGES[2])).seconds)
    assert len(cheapest.candidates) == 1
    assert len(cheapest.left_out) == 3
    with pytest.raises(GitractError, match=r"--budget: expected at least \d+s"):
        fitting(view, 1.0)


def test_of_a_shared_training_the_one_that_stays_pays(tiny: Path, tmp_path: Path) -> None:
    view = outlook(tiny, tmp_path / "run", CHANGES[3])  # alone, it trains
    assert make_plan(view).shared == 0
    assert make_plan(view).seconds == make_plan(outlook(tiny, tmp_path, CHANGES[2])).seconds


def test_written_space_is_what_is_kept(tiny: Path, tmp_path: Path) -> None:
    space = tiny_space(*CHANGES, {"network.widths": "1e1,20", "optimizer.learning_rate": 1e-5})
    for kept in (space.candidates[1:], space.candidates[:1]):
        write_space(tmp_path / "rest.yaml", space, kept)
        again = load_space(str(tmp_path / "rest.yaml"))
        assert again.candidates == kept
        assert (again.folds, again.seed) == (space.folds, space.seed)
    with pytest.raises(GitractError, match=r"a name that ends in \.yaml"):
        write_space(tmp_path / "rest.txt", space, space.candidates)


@pytest.mark.parametrize("text", ["", "6", "h", "0h", "-3h", "6 weeks", "1e3s", "nan s"])
def test_bad_budgets_are_refused(text: str) -> None:
    with pytest.raises(GitractError, match="--budget: expected a time above 0 with its unit"):
        parse_budget(text)


@pytest.mark.parametrize(
    ("nodes", "count", "gpus"),
    [
        ([Node(4)], 4, 0.0),
        ([Node(8, 1, 16 * 2**30)], 2, 0.5),
        ([Node(8, 4, 16 * 2**30)], 8, 0.5),
        ([Node(8), Node(8, 2, 16 * 2**30)], 4, 0.5),  # a node without GPUs gets no trial
    ],
)
def test_gpu_hours_are_the_shares_that_trials_hold(
    nodes: list[Node], count: int, gpus: float, tiny: Path, tmp_path: Path
) -> None:
    slots = choose_slots(nodes, 20)
    assert (slots.count, slots.gpus) == (count, gpus)
    changes: list[dict[str, object]] = [{"optimizer.learning_rate": i / 100} for i in range(1, 11)]
    view = outlook(tiny, tmp_path / "run", *changes, slots=slots)
    plan = make_plan(view)
    total = 10 * sum(by_hand(view, fold, epochs=3, step=2.0) for fold in (0, 1))
    assert plan.gpu_hours == pytest.approx(total * gpus / 3600)
    assert plan.cpu_hours == pytest.approx(total * slots.cpus / 3600)
    assert total / count <= plan.seconds + 1e-6 <= total / count + total / 20


def test_check_writes_nothing_and_prepare_starts_long_trials_first(
    tiny: Path, tmp_path: Path
) -> None:
    request = SweepRequest(tiny, tiny_space(*CHANGES), tmp_path / "run")
    checked = check(request)
    assert not list(tmp_path.iterdir())
    pending = prepare(request).pending
    assert list(pending) == list(checked.pending)
    assert [s.candidate.loss for s in pending] == ["bce + dice"] * 2 + ["bce"] * 2 + ["dice"] * 4
    assert [s.candidate.postprocess.threshold for s in pending[-2:]] == [0.3, 0.3]
    assert start_order(checked.specs, checked.specs[1:]) == [checked.specs[0]]


@pytest.mark.slow
def test_the_command_measures_and_leaves_the_folder_as_it_was(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "space.yaml").write_text(SPACE + "training: {epochs: 2}\n")
    arguments = ("plan", "--local", "--data", tiny, "--space", "space.yaml", "--json")
    before = sorted(tmp_path.rglob("*"))
    told = json.loads(cli(tmp_path, *arguments).stdout)
    assert sorted(tmp_path.rglob("*")) == before
    assert {"trials", "slots", "hours", "gpu_hours", "memory_bytes", "disk"} <= set(told)
    assert told["trials"] == 4
    assert told["hours"] * 3600 == pytest.approx(told["seconds"])
    assert 0 < told["least_seconds"] <= told["seconds"] < 600
    assert told["memory_bytes"] > 50e6  # of a process with torch
    shown = cli(tmp_path, *arguments[:-1], "--budget", "9h", "--write-space", "rest.yaml").stdout
    assert "4: 2 folds for each of 2 candidates" in shown
    command = re.search(r"gitract-cv sweep .*", shown)
    assert command
    assert command[0].endswith("--space rest.yaml")
    assert "--budget" not in command[0]
    assert load_space(str(tmp_path / "rest.yaml")).folds == 2


def test_a_bad_budget_is_one_line(tmp_path: Path) -> None:
    done = cli(tmp_path, "plan", "--budget", "soon", expect=2)
    assert done.stderr.startswith("gitract-cv: --budget: expected")
    assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_planning_many_candidates_takes_time_in_proportion(tiny: Path, tmp_path: Path) -> None:
    """Four times the candidates take about four times the processor's time, not sixteen times."""
    taken = []
    for count in (400, 1600):
        changes: list[dict[str, object]] = [
            {"optimizer.learning_rate": 1e-5 * (n + 1)} for n in range(count)
        ]
        view = outlook(tiny, tmp_path / "run", *changes)
        start = time.process_time()
        plan = make_plan(view)
        fitting(view, 0.6 * plan.seconds)
        taken.append(time.process_time() - start)
        assert len(plan.candidates) == len(plan.candidate_seconds) == count
    assert taken[1] < 8 * taken[0]


def test_first_sight_scales_steps_by_operations(tiny: Path, tmp_path: Path) -> None:
    view = outlook(tiny, tmp_path / "run", {"network.widths": "4,8"}, {"network.widths": "8,16"})
    small, wide = view.candidates
    known = replace(view.measured, steps={shape_of(small): STEP})
    guess = at_first_sight(known, view.candidates)
    factor = relative_cost(wide) / relative_cost(small)
    assert 2 < factor < 4.5
    assert guess.step(small) == STEP
    assert guess.step(wide).step_seconds == pytest.approx(factor * STEP.step_seconds)
    assert guess.step(wide).setup_seconds == STEP.setup_seconds


def test_long_measuring_gives_a_first_answer_and_says_how_far_it_is(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = iter([0.0, *range(20, 1000, 20)])
    monkeypatch.setattr("orchestrator.api.planning.time.monotonic", lambda: next(now))
    changes: list[dict[str, object]] = [
        {"network.widths": widths} for widths in ("4,8", "8,16", "6,8", "4,6")
    ]
    view = outlook(tiny, tmp_path / "run", *changes)
    text = io.StringIO()
    say = Console(file=text, width=200)
    with planning._Watching(say, view.candidates, lambda m: replace(view, measured=m)) as watch:
        for done in range(1, 5):
            steps = {shape_of(c): STEP for c in view.candidates[:done]}
            watch(replace(view.measured, steps=steps))
    lines = text.getvalue().splitlines()
    assert re.fullmatch(
        r"at first sight, from one network: 8 trials take about .* on 2 slots", lines[0]
    )
    assert lines[1:] == [
        "1 of 4 networks measured, about 60 s to go",
        "2 of 4 networks measured, about 40 s to go",
        "3 of 4 networks measured, about 20 s to go",
    ]


def test_a_space_of_many_candidates_that_is_written_can_be_read(tmp_path: Path) -> None:
    values = [1e-5 * (n + 1) for n in range(5000)]
    space = load_space({"loss": "bce", "optimizer.learning_rate": values})
    write_space(tmp_path / "many.yaml", space, space.candidates)
    assert (tmp_path / "many.yaml").stat().st_size > 200_000
    assert load_space(tmp_path / "many.yaml").candidates == space.candidates
