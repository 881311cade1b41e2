"""Search spaces that propose candidates: their grammar, what TPE earns, what a resume keeps."""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import json
import math
import statistics
from pathlib import Path
from typing import Any

import pytest

from gitract_core.errors import SpaceError
from gitract_core.spec import Candidate, TrialSpec
from gitract_core.training import check_candidate
from orchestrator.leaderboard import build_leaderboard
from orchestrator.race import Race
from orchestrator.racing import RacingRule, decide, dropped
from orchestrator.searching import Searching, foreseen, starters
from orchestrator.statistics import CaseSums
from orchestrator.status import read_status
from orchestrator.sweep import PreparedSweep, SweepRequest, check, prepare
from orchestrator.tpe import Outcome, propose
from search_spaces import SearchSpace, load_space
from search_spaces.search import Search
from tests.stub_results import Quality, StubExecutor, write_result
from tests.tiny_sweep import KNOBS

OPEN: dict[str, Any] = {
    "loss": ["bce", "dice", "bce + dice", "focal"],
    "optimizer.learning_rate": {"loguniform": [1e-5, 1e-1]},
    "augmentation.probability": {"uniform": [0, 1]},
}
BONUS = {"bce": 0.0, "dice": -0.05, "bce + dice": 0.05, "focal": -0.1}


def quality(candidate: Candidate) -> float:
    """Best at a rate of 1e-3 and a probability of .3: .75."""
    rate = math.log10(candidate.optimizer.learning_rate) + 3
    probability = candidate.augmentation.probability - 0.3
    return 0.7 + BONUS[candidate.loss] - 0.05 * rate**2 - 0.3 * probability**2


def search(samples: int, seed: int = 0, **knobs: Any) -> Search:
    return Search.parse({**KNOBS, **(knobs or OPEN)}, samples, seed)


def space(found: Search) -> SearchSpace:
    first = tuple(itertools.islice(found.draws(), found.drawn_first))
    return SearchSpace("tiny", "", first, 2, found.seed, found)


def prepared(data: Path, out: Path, found: Search, **overrides: Any) -> PreparedSweep:
    return prepare(SweepRequest(data, space(found), out, (), tuple(overrides.items())))


def run(sweep: PreparedSweep, of: Quality = quality, **how: Any) -> StubExecutor:
    """The rest of a sweep."""
    executor = StubExecutor(sweep, of, **how)
    course = Searching(sweep, None, lambda specs: None)
    with contextlib.suppress(KeyboardInterrupt):
        executor.run(sweep.pending, course, course)
    return executor


def tried(sweep: PreparedSweep) -> list[Candidate]:
    return list(sweep.directory.record().candidates)


# --- what it earns


def test_tpe_finds_better_candidates_than_chance() -> None:
    """Twenty-four seeds, 30 candidates each; what TPE gains is five standard errors."""
    gains = []
    for seed in range(24):
        of = search(30, seed)
        chance = max(quality(c) for c in itertools.islice(of.draws(), 30))
        known = {c: done(c) for c in itertools.islice(of.draws(), of.drawn_first)}
        while len(known) < 30:
            candidate = propose(of, known, check_candidate)
            assert candidate is not None
            assert candidate not in known
            known[candidate] = done(candidate)
        gains.append(max(map(quality, known)) - chance)
    standard_error = statistics.stdev(gains) / math.sqrt(len(gains))
    assert statistics.fmean(gains) > 2 * standard_error


def done(candidate: Candidate) -> Outcome:
    return Outcome("finished", quality(candidate), 2)


def test_candidates_that_cannot_be_trained_are_avoided() -> None:
    """Rates above 1e-3 diverge; a model that were not told would go on proposing them."""
    of = search(40, **{"optimizer.learning_rate": {"loguniform": [1e-5, 1e-1]}})
    shares = []
    for told in ("dropped", "failed"):
        known: dict[Candidate, Outcome] = {}
        for candidate in itertools.islice(of.draws(), of.drawn_first):
            known[candidate] = rising(candidate, told)
        while len(known) < 40:
            candidate = propose(of, known, check_candidate) or Candidate()
            known[candidate] = rising(candidate, told)
        later = list(known.values())[of.drawn_first :]
        shares.append(sum(o.state != "finished" for o in later) / len(later))
    assert shares[0] < shares[1]


def rising(candidate: Candidate, told: Any) -> Outcome:
    rate = candidate.optimizer.learning_rate
    return Outcome(told) if rate > 1e-3 else Outcome("finished", 0.1 * math.log10(rate), 2)


def test_a_proposal_follows_from_what_is_known_alone() -> None:
    of = search(30)
    known = {c: done(c) for c in itertools.islice(of.draws(), 12)}
    first = propose(of, known, check_candidate)
    assert first == propose(of, dict(known), check_candidate)
    running = {**known, first or Candidate(): Outcome("running")}
    assert propose(of, running, check_candidate) not in running


def test_small_spaces_are_used_up_and_nothing_is_tried_twice() -> None:
    of = search(50, loss=["bce", "dice", "focal"], **{"optimizer.batch_size": {"randint": [4, 7]}})
    assert of.total == 12
    known = {c: Outcome("finished", 0.5, 2) for c in itertools.islice(of.draws(), of.drawn_first)}
    while len(known) < 12:
        candidate = propose(of, known, check_candidate)
        assert candidate is not None
        assert candidate not in known
        known[candidate] = Outcome("finished", 0.5, 2)
    assert propose(of, known, check_candidate) is None


# --- a sweep


def test_as_many_candidates_as_asked_for_are_trained_on_every_fold(
    tiny: Path, tmp_path: Path
) -> None:
    sweep = prepared(tiny, tmp_path / "run", search(9))
    assert (len(tried(sweep)), sweep.record.to_come, sweep.trials_to_come) == (3, 6, 12)
    executor = run(sweep, slots=3)
    assert len(executor.started) == len({s.key for s in executor.started}) == 18
    board = build_leaderboard(sweep.directory)
    assert len(board.ranked) == 9
    assert sweep.directory.record().to_come == 0


def test_an_interrupted_search_goes_on_as_if_it_had_not_been(tiny: Path, tmp_path: Path) -> None:
    whole = prepared(tiny, tmp_path / "whole", search(8))
    run(whole)
    for most in (1, 7, 2, 1, 0, 100):
        sweep = prepared(tiny, tmp_path / "parts", search(8))
        run(sweep, most=most)
    assert tried(sweep) == tried(whole)
    results = list((tmp_path / "parts" / "trials").glob("*/result.json"))
    assert len(results) == 16


def test_what_was_proposed_before_a_kill_is_trained_after_it(tiny: Path, tmp_path: Path) -> None:
    sweep = prepared(tiny, tmp_path / "run", search(5))
    run(sweep, most=4)
    course = Searching(prepared(tiny, tmp_path / "run", search(5)), None, lambda specs: None)
    before = set(tried(sweep))
    specs = course.more()  # and here the process is killed
    (new,) = set(tried(sweep)) - before
    assert [s.candidate for s in specs] == [new, new]
    again = prepared(tiny, tmp_path / "run", search(5))
    assert set(specs) <= set(again.pending)
    executor = run(again)
    assert len(tried(again)) == 5
    assert set(specs) <= set(executor.started)


def test_more_samples_go_on_from_what_is_there(tiny: Path, tmp_path: Path) -> None:
    run(prepared(tiny, tmp_path / "run", search(4)))
    sweep = prepared(tiny, tmp_path / "run", search(9))
    assert not set(tried(sweep)[:4]) & {s.candidate for s in sweep.pending}
    executor = run(sweep)
    assert len(tried(sweep)) == 9
    assert len(executor.started) == 10
    fewer = prepared(tiny, tmp_path / "run", search(3))
    assert not fewer.pending
    assert fewer.record.to_come == 0


def test_what_others_tried_inside_the_space_counts_and_what_lies_outside_does_not(
    tiny: Path, tmp_path: Path
) -> None:
    inside = Candidate.from_knobs({**KNOBS, "loss": "bce", "augmentation.probability": 0.25})
    outside = Candidate.from_knobs(
        {**inside.knobs(), "network.depth": 2, "network.widths": "4,8,8"}
    )
    prepare(SweepRequest(tiny, SearchSpace("grid", "", (inside, outside), 2, 0), tmp_path / "run"))
    sweep = prepared(tiny, tmp_path / "run", search(6))
    assert inside in {s.candidate for s in sweep.specs}
    assert outside not in {s.candidate for s in sweep.specs}
    run(sweep)
    assert len(tried(sweep)) == 7


def test_knobs_that_are_set_are_not_searched(tiny: Path, tmp_path: Path) -> None:
    sweep = prepared(tiny, tmp_path / "run", search(6), loss="dice")
    run(sweep)
    assert {c.loss for c in tried(sweep)} == {"dice"}
    assert len({c.optimizer.learning_rate for c in tried(sweep)}) == 6


def test_what_optuna_is_told(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A value only of all folds; running, failed and impossible ones by their names."""
    seen: list[dict[Candidate, Outcome]] = []

    def spy(of: Search, known: dict[Candidate, Outcome], check: Any) -> Candidate | None:
        seen.append(dict(known))
        return propose(of, known, check)

    monkeypatch.setattr("orchestrator.searching.propose", spy)
    sweep = prepared(tiny, tmp_path / "run", search(13))
    course = Searching(sweep, None, lambda specs: None)
    whole, half, failed, diverged, waiting = list(course.trials.values())
    for spec in (*whole, half[0]):
        write_result(sweep, spec, 0.5 + 0.1 * spec.fold)
        course(event(spec, "finished"))
    course(event(failed[1], "failed", "disk"))
    course(event(diverged[0], "failed", "diverged"))
    course.more()
    states = [seen[0][specs[0].candidate] for specs in (whole, half, failed, diverged, waiting)]
    assert [o.state for o in states] == ["finished", "running", "failed", "dropped", "running"]
    assert states[0].score == pytest.approx(0.55)


def event(spec: TrialSpec, kind: Any, fault: Any = "") -> Any:
    from orchestrator.executor import TrialEvent

    return TrialEvent(spec.key, kind, fault=fault)


def test_a_plan_counts_what_is_to_come(tiny: Path, tmp_path: Path) -> None:
    found = search(9, loss=["bce", "dice", "focal"], **{"input.size": [32, 48, 64, 80, 96]})
    checked = check(SweepRequest(tiny, space(found), tmp_path / "run"))
    assert len(checked.specs) == 6
    assert checked.sizes == [32, 48, 64, 80, 96], "caches of what may be proposed are built before"
    plan = foreseen(checked)
    assert len({s.key for s in plan.pending}) == 18
    assert len(plan.record.candidates) == 9
    assert foreseen(plan).pending[:18] == plan.pending[:18]


def test_status_tells_how_many_are_to_come(tiny: Path, tmp_path: Path) -> None:
    sweep = prepared(tiny, tmp_path / "run", search(9))
    assert read_status(sweep.directory).to_come == 6
    run(sweep)
    status = read_status(sweep.directory)
    assert (status.to_come, len(status.trials)) == (0, 18)


def test_records_without_a_search_are_read(tiny: Path, tmp_path: Path) -> None:
    sweep = prepared(tiny, tmp_path / "run", search(9))
    values = json.loads(sweep.directory.record_file.read_text())
    del values["to_come"]
    sweep.directory.record_file.write_text(json.dumps(values))
    assert sweep.directory.record().to_come == 0


def test_without_optuna_nothing_is_begun(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name, *_: None if name == "optuna" else find(name)
    )
    with pytest.raises(SpaceError, match=r"optuna, got none; pip install 'gitract-cv\[search\]'"):
        prepared(tiny, tmp_path / "run", search(9))
    assert not (tmp_path / "run").exists()


# --- with racing


def raced(sweep: PreparedSweep, of: Quality = quality, **how: Any) -> tuple[StubExecutor, Race]:
    from orchestrator.labels import candidate_labels

    first = starters(sweep)
    labels = candidate_labels(sweep.record.candidates)
    race = Race(sweep.directory, first, RacingRule(keep=2), labels)
    race.add([s for s in sweep.specs if s not in first])
    executor = StubExecutor(sweep, of, **how)
    course = Searching(sweep, race, lambda specs: None)
    with contextlib.suppress(KeyboardInterrupt):
        executor.run(race.order(sweep.pending), course, course)
    return executor, race


def test_latecomers_race_on_the_folds_that_others_have_finished(tiny: Path, tmp_path: Path) -> None:
    sweep = prepared(tiny, tmp_path / "run", search(20))
    executor, _ = raced(sweep)
    assert sweep.search
    late = tried(sweep)[sweep.search.drawn_first :]
    gone = dropped(sweep.directory)
    best = sorted(tried(sweep), key=quality)[-2:]
    assert not {c.key for c in best} & gone.keys()
    of_late = [c for c in late if c.key in gone]
    assert of_late, "some of them were dropped"
    started = {(s.candidate, s.fold) for s in executor.started}
    for candidate in of_late:
        assert (candidate, 1) not in started
        beaten = [c for c in tried(sweep) if quality(c) > quality(candidate)]
        assert len(beaten) >= 2
    assert len(executor.started) < 40


def test_starters_race_among_themselves_and_a_latecomer_against_all_who_are_that_far(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables: list[tuple[str, ...]] = []

    def spy(sums: CaseSums, rule: RacingRule, n_folds: int) -> Any:
        tables.append(sums.names)
        return decide(sums, rule, n_folds)

    monkeypatch.setattr("orchestrator.race.decide", spy)
    sweep = prepared(tiny, tmp_path / "run", search(20))
    first = {spec.candidate.key for spec in sweep.specs}
    _, race = raced(sweep, slots=24)  # more than the starters need
    assert set(tables[0]) == first
    judged = [d.key for d in race.decisions]
    assert len(judged) == len(set(judged)), "once each: there are two folds"
    for names in tables[1:]:
        assert first < set(names), "also those that are dropped by now"
    assert any(decision.dropped and decision.key in first for decision in race.decisions)


def test_who_was_dropped_stays_dropped_in_a_resumed_race(tiny: Path, tmp_path: Path) -> None:
    gone: set[str] = set()
    for most in (13, 5, 4, 100, 0):
        sweep = prepared(tiny, tmp_path / "run", search(15))
        raced(sweep, most=most)
        now = dropped(sweep.directory).keys()
        assert gone <= now
        gone = set(now)
    assert len(tried(sweep)) == 15
    assert gone


def test_dropped_candidates_are_told_as_pruned(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[Candidate, Outcome]] = []

    def spy(of: Search, known: dict[Candidate, Outcome], check: Any) -> Candidate | None:
        seen.append(dict(known))
        return propose(of, known, check)

    monkeypatch.setattr("orchestrator.searching.propose", spy)
    sweep = prepared(tiny, tmp_path / "run", search(20))
    raced(sweep)
    gone = dropped(sweep.directory)
    told = {c.key: o for c, o in seen[-1].items() if o.state == "dropped"}
    assert told.keys() == gone.keys() & {c.key for c in seen[-1]}
    assert all(o.folds == 1 and o.score == o.score for o in told.values())


# --- the grammar


def write(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "space.yaml"
    file.write_text(text)
    return file


def test_lists_and_distributions_are_searched(tmp_path: Path) -> None:
    text = """
search: {method: tpe, samples: 30}
loss: [bce, dice]
optimizer: {learning_rate: {loguniform: [1e-4, 1e-2]}, batch_size: {randint: [8, 16]}}
network: {depth: {choice: [3, 4]}}
"""
    found = load_space(write(tmp_path, text))
    assert found.search
    assert found.search.total == 30
    assert len(found.candidates) == 10
    kinds = {d.name: d.kind for d in found.search.dimensions}
    assert kinds == {
        "loss": "choice",
        "optimizer.learning_rate": "loguniform",
        "optimizer.batch_size": "randint",
        "network.depth": "choice",
    }
    assert set(found.search.inside(found.candidates)) == set(found.candidates)


def test_random_search_draws_lists_as_well(tmp_path: Path) -> None:
    text = "search: {method: random, samples: 7}\nloss: [bce, dice]\nnetwork: {depth: [2, 3, 4]}"
    found = load_space(write(tmp_path, text))
    assert found.search is None
    assert len(found.candidates) == 6, "all that there are"


RATE = "optimizer: {learning_rate: {loguniform: [1e-4, 1e-2]}}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"search: {{method: tpo, samples: 3}}\n{RATE}", "did you mean 'tpe'"),
        (f"search: {{method: tpe, sample: 3}}\n{RATE}", "did you mean 'samples'"),
        (f"search: {{method: tpe}}\n{RATE}", "method and samples, got no samples"),
        (f"search: {{samples: 3}}\n{RATE}", "method and samples, got no method"),
        (f"search: tpe\n{RATE}", "method and samples, got 'tpe'"),
        (f"search:\n{RATE}", "method and samples, got None"),
        (f"search: {{method: [tpe], samples: 3}}\n{RATE}", "a known method"),
        (f"search: {{method: tpe, samples: 0}}\n{RATE}", "samples: expected a whole number"),
        (f"search: {{method: tpe, samples: many}}\n{RATE}", "samples: expected a whole number"),
        (f"serch: {{method: tpe, samples: 3}}\n{RATE}", "did you mean 'search'"),
        (f"samples: 3\nsearch: {{method: tpe, samples: 3}}\n{RATE}", "no samples beside it"),
        (f"search: {{method: tpe, samples: 3}}\nvariants: [{{loss: bce}}]\n{RATE}", "no variants"),
        ("search: {method: tpe, samples: 3}\nloss: bce", "a knob to search"),
        ("search: {method: tpe, samples: 3}\ninput: {size: {randint: [32, 64]}}", "list of sizes"),
        ("search: {method: tpe, samples: 3}\nnetwork: {depth: [3, 12]}", "expected 1 to 7, got 12"),
        (
            "search: {method: tpe, samples: 3}\noptimizer.learning_rate: {uniform: [0, 1]}",
            "above 0",
        ),
        ("search: {method: tpe, samples: 3}\nnetwork: {depth: {uniform: [1, 3]}}", "depth.*whole"),
        ("search: {method: tpe, samples: 3}\nloss: {choice: bce}", "a list of values, got 'bce'"),
        (
            "search: {method: tpe, samples: 3}\noptimizer.batch_size: {randint: [9, 3]}",
            "low, high. in whole numbers",
        ),
    ],
)
def test_faulty_searches_are_explained(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SpaceError, match=rf"space\.yaml.*{message}"):
        load_space(write(tmp_path, text))


def test_losses_and_networks_of_a_search_are_checked_before_anything_runs(
    tiny: Path, tmp_path: Path
) -> None:
    with pytest.raises(SpaceError, match="dice"):
        check(SweepRequest(tiny, space(search(9, loss=["bce", "dicee"])), tmp_path / "run"))


def test_a_proposal_that_is_trained_already_does_not_end_the_search(
    tiny: Path, tmp_path: Path
) -> None:
    """A record that was put back to an older one: results are there that it does not name."""
    sweep = prepared(tiny, tmp_path / "run", search(5))
    older = sweep.directory.record()
    run(sweep)
    sweep.directory.write(older)
    again = run(prepared(tiny, tmp_path / "run", search(5)))
    assert not again.started
    assert len(tried(sweep)) == 5


def test_every_plan_of_a_repeated_cross_validation_counts(tiny: Path, tmp_path: Path) -> None:
    """A score is the mean over the folds of all plans; the first plan's folds decide a race."""
    request = SweepRequest(tiny, space(search(8)), tmp_path / "run", repeats=2)
    sweep = prepare(request)
    assert sweep.trials_to_come == 4 * (8 - 3)
    executor, _ = raced(sweep)
    assert len(tried(sweep)) == 8
    gone = dropped(sweep.directory)
    for candidate in tried(sweep):
        started = {s.key for s in executor.started if s.candidate == candidate}
        assert candidate.key in gone or len(started) == 4
    board = build_leaderboard(sweep.directory)
    assert {line.candidate.key for line in board.unranked} == gone.keys()
