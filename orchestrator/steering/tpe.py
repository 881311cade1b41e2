"""Optuna's tree-structured Parzen estimator proposes the next candidate from the scores so far.

TPE fits one density to the values of the best candidates, one to those of the others, and proposes
where their ratio is largest (Bergstra and others, 2011; Watanabe, arXiv 2304.11127). A study is
made anew for each proposal, which so depends on what is known and on nothing else, in a resumed
sweep too. Optuna is an optional package, imported here alone.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from gitract_core.errors import SpaceError
from gitract_core.spec import Candidate

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial, Study  # type: ignore[attr-defined]

    from search_spaces.dimensions import Dimension
    from search_spaces.search import Search

_ASKED_AT_MOST = 20


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is known of a candidate.

    Attributes:
        state: ``finished``: its score is known; ``running``: it is not yet; ``dropped``: one of the
            worst, by racing or since it cannot be trained; ``failed``: nothing can be said.
        score: mean over the finished folds, NaN where it is not known.
        folds: how many these are.
    """

    state: Literal["finished", "running", "dropped", "failed"]
    score: float = float("nan")
    folds: int = 0


def propose(
    search: Search, known: Mapping[Candidate, Outcome], check: Callable[[Candidate], None]
) -> Candidate | None:
    """A candidate that is not known yet; None if hardly any is left.

    While fewer are known to the end than are drawn at first, it is drawn at random as well.

    Args:
        search: what may be tried.
        known: the search's candidates so far, in the order in which they were proposed.
        check: raises ``SpaceError`` for a candidate that cannot be built.
    """
    study = _study(search, known)
    distributions = {d.name: _distribution(d) for d in search.dimensions}
    for _ in range(_ASKED_AT_MOST):
        # What was asked for counts as running, so that the next answer is another one.
        values = study.ask(fixed_distributions=distributions).params
        candidate = _possible(search, values, check)
        if candidate and candidate not in known:
            return candidate
    left = search.draws(without=known, number=len(known))
    return next((c for c in left if _possible(search, search.values(c), check)), None)


def _possible(
    search: Search, values: Mapping[str, Any], check: Callable[[Candidate], None]
) -> Candidate | None:
    try:
        candidate = search.candidate(values)
        check(candidate)
    except SpaceError:
        return None
    return candidate


def _study(search: Search, known: Mapping[Candidate, Outcome]) -> Study:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    seed = random.Random(f"{search.seed} {len(known)}").randrange(2**32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # in Optuna 4 these two were experimental
        sampler = optuna.samplers.TPESampler(
            n_startup_trials=search.drawn_first, seed=seed, multivariate=True, constant_liar=True
        )
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for candidate, outcome in known.items():
        study.add_trial(_told(search, candidate, outcome))
    return study


def _told(search: Search, candidate: Candidate, outcome: Outcome) -> FrozenTrial:
    """A candidate in Optuna's words: dropped is pruned, after as many steps as folds."""
    from optuna.trial import TrialState, create_trial

    states = {
        "finished": TrialState.COMPLETE,
        "running": TrialState.RUNNING,
        "dropped": TrialState.PRUNED,
        "failed": TrialState.FAIL,
    }
    is_pruned = outcome.state == "dropped" and outcome.folds > 0
    return create_trial(
        state=states[outcome.state],
        value=outcome.score if outcome.state == "finished" else None,
        params=search.values(candidate),
        distributions={d.name: _distribution(d) for d in search.dimensions},
        intermediate_values={outcome.folds: outcome.score} if is_pruned else {},
    )


def _distribution(dimension: Dimension) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if dimension.kind == "choice":
        return CategoricalDistribution(dimension.ends)
    low, high = dimension.arguments
    if dimension.kind == "randint":
        return IntDistribution(low, high)
    return FloatDistribution(low, high, log=dimension.kind == "loguniform")
