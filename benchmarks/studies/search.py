"""What TPE finds against random search with equal samples, and what running many at once costs.

A made-up score of four knobs, known exactly: regret is the best possible score less that of the
candidate that was chosen by noisy scores. ``in flight`` candidates run at any time, so that so many
scores are not known yet when the next one is proposed.
"""

from __future__ import annotations

import itertools
import math
import random
import statistics
from collections.abc import Callable

from benchmarks.measuring import parser
from gitract_core.spec import Candidate
from gitract_core.training.checking import check_candidate
from orchestrator.steering.tpe import Outcome, propose
from search_spaces.search import Search

SAMPLES, BEST = 30, 0.75
KNOBS = {
    "loss": ["bce", "dice", "bce + dice", "focal"],
    "optimizer.learning_rate": {"loguniform": [1e-5, 1e-1]},
    "augmentation.probability": {"uniform": [0, 1]},
    "optimizer.batch_size": {"randint": [4, 32]},
}
BONUS = {"bce": 0.0, "dice": -0.05, "bce + dice": 0.05, "focal": -0.1}
Score = Callable[[Candidate], float]


def truth(candidate: Candidate) -> float:
    """Best at a rate of 1e-3, a probability of .3 and batches of 12."""
    rate = math.log10(candidate.optimizer.learning_rate) + 3
    away = candidate.augmentation.probability - 0.3
    batch = abs(candidate.optimizer.batch_size - 12)
    return 0.7 + BONUS[candidate.loss] - 0.05 * rate**2 - 0.3 * away**2 - 0.002 * batch


def noisy(seed: int, sd: float) -> Score:
    """Scores as folds would give them: the same one whenever the same candidate is asked for."""
    return lambda c: truth(c) + random.Random(f"{seed} {c.key}").gauss(0, sd)


def searched(seed: int, in_flight: int, score: Score) -> list[Candidate]:
    """All candidates of a search whose last ``in_flight`` ones are always running."""
    search = Search.parse(KNOBS, SAMPLES, seed)
    order = list(itertools.islice(search.draws(), search.drawn_first))
    while len(order) < SAMPLES:
        ended = len(order) - in_flight + 1
        known = {
            c: Outcome("finished", score(c), 5) if place < ended else Outcome("running")
            for place, c in enumerate(order)
        }
        order.append(propose(search, known, check_candidate) or order[-1])
    return order


def main() -> None:
    options = parser(__doc__ or "", rounds=40).parse_args()
    lines = ["| noise sd | way | mean regret | better than random |", "|---:|---|---:|---:|"]
    for sd in (0.0, 0.005, 0.02):
        ways: dict[str, list[float]] = {"random": []}
        for seed in range(options.rounds):
            score = noisy(seed, sd)
            search = Search.parse(KNOBS, SAMPLES, seed)
            found = {"random": list(itertools.islice(search.draws(), SAMPLES))}
            for count in (1, 4, 10, 30):
                found[f"TPE, {count} in flight"] = searched(seed, count, score)
            for way, candidates in found.items():
                ways.setdefault(way, []).append(BEST - truth(max(candidates, key=score)))
        for way, regrets in ways.items():
            error = statistics.stdev(regrets) / math.sqrt(len(regrets))
            wins = sum(r < other for r, other in zip(regrets, ways["random"], strict=True))
            share = "" if way == "random" else f"{wins} of {len(regrets)}"
            mean = statistics.fmean(regrets)
            lines.append(f"| {sd:g} | {way} | {mean:.4f} ± {error:.4f} | {share} |")
    text = "\n".join(lines) + (
        f"\n\n{options.rounds} seeds, {SAMPLES} candidates each, the first ten of them the same "
        "for all ways; means and their standard errors. The score is made up.\n"
    )
    print(text)
    if options.out:
        options.out.write_text("# TPE beside random search\n\n" + text)


if __name__ == "__main__":
    main()
