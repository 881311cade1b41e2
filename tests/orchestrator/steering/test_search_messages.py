"""What a search tells Optuna of each candidate and of each open knob, and times of a budget."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest

from gitract_core.errors import GitractError, SpaceError
from gitract_core.spec import Candidate
from orchestrator.capacity.time_budget import parse_budget
from orchestrator.steering.tpe import Outcome, propose
from search_spaces.search import Search

optuna = pytest.importorskip("optuna")

OPEN: dict[str, Any] = {
    "loss": ["bce", "dice", "focal"],
    "optimizer.learning_rate": {"loguniform": [1e-5, 1e-1]},
    "augmentation.probability": {"uniform": [0, 1]},
    "optimizer.batch_size": {"randint": [4, 9]},
}
OUTCOMES = (
    Outcome("finished", 0.7, 5),
    Outcome("running", 0.6, 2),
    Outcome("dropped", 0.4, 2),
    Outcome("dropped"),
    Outcome("failed"),
)


def anything(candidate: Candidate) -> None:
    """Every candidate can be built."""


def test_each_state_has_its_own_name_value_and_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    monkeypatch.setattr(
        optuna.study.Study, "add_trial", lambda study, trial: told.append((study, trial))
    )
    search = Search.parse(OPEN, 30, 0)
    known = dict(zip(search.draws(), OUTCOMES, strict=False))
    assert propose(search, known, anything)
    trials = [trial for _, trial in told]
    assert [t.state.name for t in trials] == ["COMPLETE", "RUNNING", "PRUNED", "PRUNED", "FAIL"]
    assert trials[0].value == 0.7
    assert [t.intermediate_values for t in trials] == [{}, {}, {2: 0.4}, {}, {}]
    for candidate, trial in zip(known, trials, strict=True):
        assert trial.params == search.values(candidate)
    assert told[0][0].direction == optuna.study.StudyDirection.MAXIMIZE
    by_name = trials[0].distributions
    assert by_name["loss"].choices == ("bce", "dice", "focal")
    rate, share = by_name["optimizer.learning_rate"], by_name["augmentation.probability"]
    assert (rate.low, rate.high, rate.log) == (1e-5, 1e-1, True)
    assert (share.low, share.high, share.log) == (0, 1, False)
    batch = by_name["optimizer.batch_size"]
    assert (batch.low, batch.high, type(batch).__name__) == (4, 9, "IntDistribution")


def test_a_proposal_is_one_that_can_be_built_and_is_not_known() -> None:
    search = Search.parse({"loss": ["bce", "dice", "focal"]}, 3, 0)
    known = {c: Outcome("finished", 0.5, 2) for c in itertools.islice(search.draws(), 1)}
    refused = {next(c for c in search.draws() if c not in known)}

    def check(candidate: Candidate) -> None:
        if candidate in refused:
            raise SpaceError("candidate", "another", "this", "none")

    (left,) = {c.loss for c in search.draws()} - {c.loss for c in (*known, *refused)}
    found = propose(search, known, check)
    assert found
    assert found.loss == left
    assert propose(search, {**known, found: Outcome("running")}, check) is None


def test_each_number_known_has_a_seed_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[int] = []
    sampler = optuna.samplers.TPESampler

    def spy(**given: Any) -> Any:
        seeds.append(given["seed"])
        assert given["n_startup_trials"] == 10
        assert given["multivariate"]
        assert given["constant_liar"]
        return sampler(**given)

    monkeypatch.setattr(optuna.samplers, "TPESampler", spy)
    for seed, known in itertools.product((0, 1), (0, 1, 2)):
        search = Search.parse(OPEN, 30, seed)
        some = itertools.islice(search.draws(), known)
        propose(search, {c: Outcome("failed") for c in some}, anything)
    assert len(set(seeds)) == 6


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("3600s", 3600),
        ("90 min", 5400),
        ("90m", 5400),
        ("1.5h", 5400),
        ("2 D", 172800),
        (" 0.5s ", 0.5),
    ],
)
def test_times_of_a_budget(text: str, seconds: float) -> None:
    assert math.isclose(parse_budget(text), seconds)


@pytest.mark.parametrize("text", ["0s", "0.0h", "6", "h", "6 hours", "-1h", "1h30m", ""])
def test_no_times_of_a_budget(text: str) -> None:
    with pytest.raises(GitractError, match="--budget"):
        parse_budget(text)
