"""The statistics in one paragraph that a reader without statistics can act on."""

from __future__ import annotations

import math

from gitract_core.errors import counted
from orchestrator.statistics.findings import CandidateStatistics, Statistics
from orchestrator.statistics.intervals.simultaneous import FEWEST_CASES
from orchestrator.statistics.questions.cheapest import CERTAIN

_MANY_REPEATS, _MANY_CASES = 50, 5000


def describe(statistics: Statistics) -> str:
    """One paragraph; what cannot be said is said to be so, and no figure is NaN."""
    parts = [_verdict(statistics)]
    if not statistics.too_few:  # no other figure would mean more than those that are not given
        parts += [_tie_group(statistics), _winner(statistics)]
        parts += [_settling(statistics), _knobs(statistics)]
    return " ".join(part for part in parts if part)


def _basis(s: Statistics) -> str:
    times = f"{s.n_plans} times " if s.n_plans > 1 else ""
    return f"{counted(s.n_cases, 'case')} in {times}{counted(s.n_folds, 'fold')}"


def _verdict(s: Statistics) -> str:
    first = s.candidates[0]
    if len(s.candidates) == 1:
        head = (
            f"{first.name} scores {first.score:.4f}{_range(first.low, first.high)} on {_basis(s)}"
        )
        alone = "it is the only candidate, so there is nothing to compare it with"
        return f"{head}; {alone}.{_luck(s)}"
    head, second = f"{first.name} ranks first on {_basis(s)}", s.candidates[1]
    if second.behind <= 1e-12:
        return f"{head}, and {second.name} scores exactly the same."
    lead = f"{head}, {second.behind:.4f} ahead of {second.name}"
    lead += _range(second.behind_low, second.behind_high, _for_all(s))
    if s.smallest_fold < 2:
        why = "with a single case in a fold it cannot be said whether that is more than chance"
        return f"{lead}; {why}."
    if s.too_few:
        why = f"with fewer than {FEWEST_CASES} cases there are too few to say whether that is more"
        return f"{lead}; {why} than chance."
    if second.tied:
        return f"{lead}; that is not enough to call it better: chance alone may explain it."
    return f"{lead}; that is more than chance explains, so it is really better."


def _for_all(s: Statistics) -> str:
    """The intervals of differences hold together, which one alone need not say."""
    return "all differences at once, " if len(s.candidates) > 2 else ""


def _luck(s: Statistics) -> str:
    """What a single candidate's interval rests on."""
    if math.isnan(s.candidates[0].low):
        return ""
    return (
        " How much luck a training has cannot be told from one candidate: the interval takes it "
        f"from how much the {counted(s.n_folds, 'fold')} differ, and is wide for that."
    )


def _tie_group(s: Statistics) -> str:
    tied = s.tie_group
    if len(s.candidates) == 1:
        return ""
    if len(tied) == 1:
        return "No other candidate comes near enough to be mistaken for it."
    if len(tied) == len(s.candidates):
        text = f"None of the {len(tied)} candidates can be told from the first"
    else:
        text = f"{len(tied)} of {len(s.candidates)} candidates cannot be told from the first, "
        text += f"itself included: {_names(tied)}"
    if s.cheapest is None:
        return text + "."
    return f"{text}. {_cheapest(s, s.cheapest)}"


def _cheapest(s: Statistics, name: str) -> str:
    """The one to take for its cost; costs are steps times the usual time of such a step."""
    within = f"shown to be at most {s.margin:g} worse than the first "
    within += f"(with a probability of {100 * CERTAIN:.0f} % or more)"
    if name == s.candidates[0].name:
        return f"No cheaper candidate is {within}."
    cost = {c.name: c.cost for c in s.candidates}
    text = f"The cheapest that is {within} is {name}"
    first = cost[s.candidates[0].name]
    return f"{text}, at {100 * cost[name] / first:.0f} % of its cost." if first > 0 else f"{text}."


def _winner(s: Statistics) -> str:
    if len(s.candidates) == 1:
        return ""
    if math.isnan(s.winner.corrected):
        return "There are too few cases to correct the first's score for having been chosen."
    score = f"{s.winner.corrected:.4f}{_range(s.winner.low, s.winner.high)}"
    if s.winner.optimism < 0.00005:  # 0.0000 in words
        return f"Announce {score} for the first: choosing it as the best has not raised its score."
    return (
        f"Announce {score} for the first: its score in the table is {s.winner.optimism:.4f} higher "
        f"because it was chosen as the best of {len(s.candidates)}."
    )


def _settling(s: Statistics) -> str:
    plan = s.settling
    if plan is None or not s.candidates[1].tied:
        return ""
    if math.isnan(plan.cases):
        return "How many more cases or repeats would settle the first two cannot be said from this."
    if plan.difference <= 1e-12:
        return "No number of repeats or cases can part two candidates that score the same."
    certain = f"(a difference of {plan.difference:.4f}, found with a chance of {plan.power:.0%})"
    more = plan.repeats - s.n_plans
    if more <= 0:
        return (
            "The lead is as large as these cases and trainings would find four times in five if it "
            "is real; a repeat with new seeds is the way to check it."
        )
    if plan.repeats <= _MANY_REPEATS:
        return (
            f"{counted(int(more), 'more repeat')} of each training would settle the two {certain}."
        )
    if plan.cases > _MANY_CASES or plan.repeats_with_cases > _MANY_REPEATS:
        return (
            f"To settle the two would take more than {_MANY_CASES} cases or more than "
            f"{_MANY_REPEATS} repeats {certain}: take either of the two."
        )
    return f"{_cases_needed(s)} {certain}."


def _cases_needed(s: Statistics) -> str:
    plan = s.settling
    assert plan is not None
    text = "No practical number of repeats on these cases would settle the two: it takes about "
    text += counted(max(int(plan.cases) - s.n_cases, 1), "more case")
    more = int(plan.repeats_with_cases) - s.n_plans
    return f"{text} and {counted(more, 'more repeat')} of each training" if more > 0 else text


def _knobs(s: Statistics) -> str:
    told = [effect for effect in s.effects if effect.levels]
    if not told:
        return "Which knob matters cannot be told: they change together." if s.effects else ""
    top = told[0]
    best, worst = top.levels[0], top.levels[-1]
    text = f"{best.value} over {worst.value} gains {top.span:.4f}"
    text += _range(top.low, top.high, "all knobs at once, ")
    text += " averaged over all other knobs"
    if math.isnan(top.low):
        return f"The knob with the largest effect is {top.knob}: {text}."
    if top.low > 0:
        why = [sentence for knob, sentence in driven(s).items() if knob == top.knob]
        return " ".join([f"The knob that matters most is {top.knob}: {text}.", *why])
    return f"No knob matters beyond chance; the largest effect is that of {top.knob}: {text}."


def driven(s: Statistics) -> dict[str, str]:
    """By knob, a sentence on an effect that comes from failing levels."""
    sentences = {}
    for one in s.drivers:
        which = " and ".join(one.failing)
        it = "it" if len(one.failing) == 1 else "them"
        text = f"The effect of {one.knob} comes from {which}, far below the rest: without {it}, "
        if one.of_knob == one.knob:
            text += f"all values lie within {one.left:.4f}, with {it} within {one.span:.4f}."
        else:
            gains = f"{'gains' if one.left >= 0 else 'loses'} {abs(one.left):.4f}"
            text += f"{one.best} over {one.worst} {gains}, with {it} it gains {one.span:.4f}."
        sentences[one.knob] = text
    return sentences


def _names(candidates: tuple[CandidateStatistics, ...]) -> str:
    names = [c.name for c in candidates]  # "dice, depth 4": commas are part of them
    shown = names if len(names) <= 5 else names[:4]
    more = len(names) - len(shown)
    return "; ".join(shown) + (f"; and {more} more" if more else "")


def _range(low: float, high: float, for_what: str = "") -> str:
    return "" if math.isnan(low) else f" ({for_what}95 % interval {low:.4f} to {high:.4f})"
