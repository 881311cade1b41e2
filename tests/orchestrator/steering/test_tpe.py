"""What TPE proposes, and what it earns."""

from __future__ import annotations

import itertools
import math
import statistics
from typing import Any

from gitract_core.spec import Candidate
from gitract_core.training.checking import check_candidate
from orchestrator.steering.tpe import Outcome, propose
from tests.support.searching_sweep import quality, search


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
