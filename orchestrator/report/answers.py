"""What people ask of a finished run, in a terminal: is it good enough, and which knob matters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from orchestrator.report.progress_table import format_seconds
from orchestrator.report.table import Column, Table, decimal, span
from orchestrator.statistics.plain_words import driven
from orchestrator.statistics.questions.cheapest import CERTAIN

if TYPE_CHECKING:
    from orchestrator.results.verdict import Verdict
    from orchestrator.statistics.questions.interaction import Interaction

_MOST_RANKS = 12


def margin_notes(verdict: Verdict) -> list[str]:
    """The signs of the ranking, and which candidates are no worse than the best by the margin."""
    margin, candidates = verdict.statistics.margin, verdict.statistics.candidates
    notes = ["= cannot be told from the first"]
    if verdict.statistics.cheapest is not None:
        notes[0] += (
            f"; $ the cheapest at most {margin:g} worse than it (probability {CERTAIN:.0%} or more)"
        )
    ranks = {
        answer: [one.rank for one in candidates if one.no_worse == answer]
        for answer in ("yes", "no", "cannot say")
    }
    if len(candidates) > 1 and verdict.statistics.too_few:
        notes.append("behind the first: too few patients to say")
    elif len(candidates) > 1:
        notes.append("behind the first: all intervals hold together in 95 % of sweeps")
    if len(candidates) > 1:
        said = "; ".join(f"{answer}: {_ranks(found)}" for answer, found in ranks.items() if found)
        notes.append(f"no worse than the best by more than {margin:g} (by rank): {said}")
        notes.append("    (the truly best, which need not be the first; 95 %, all at once)")
    if verdict.trainings.unsteady:
        notes.append("~ unsteady: some of its trainings failed and others did not")
    return notes


def _ranks(ranks: list[int]) -> str:
    """Ranks as text, runs of them joined.

    >>> _ranks([1, 2, 3, 5, 8, 9])
    '1-3, 5, 8, 9'
    """
    parts: list[str] = []
    place = 0
    while place < len(ranks):
        end = place
        while end + 1 < len(ranks) and ranks[end + 1] == ranks[end] + 1:
            end += 1
        run = ranks[place : end + 1]
        parts += [f"{run[0]}-{run[-1]}"] if len(run) > 2 else list(map(str, run))
        place = end + 1
    more = len(parts) - _MOST_RANKS
    return ", ".join(parts[:_MOST_RANKS]) + (f" and {more} more" if more > 0 else "")


def answer_tables(verdict: Verdict | None) -> list[Table]:
    """Knob by knob, and the two largest knobs crossed; none where nothing varies."""
    if verdict is None:
        return []
    table, crossed = knob_table(verdict), verdict.statistics.interaction
    found = [table] if table else []
    return [*found, interaction_table(crossed)] if crossed else found


def knob_table(verdict: Verdict) -> Table | None:
    """Every knob that varies, level by level, the best first; None without knobs."""
    rows: list[tuple[object, ...]] = []
    effects = verdict.statistics.effects
    names = short_knobs([effect.knob for effect in effects])
    for effect in effects:
        knob = names[effect.knob]
        if not effect.levels:
            rows.append((knob, "changes with other knobs", None, None, None, None, None))
        for place, level in enumerate(effect.levels):
            rows.append(
                (
                    "" if place else knob,
                    level.value,
                    level.candidates,
                    level.mean,
                    level.behind if place else None,
                    span(level.behind_low, level.behind_high) if place else None,
                    level.cost,
                )
            )
    if not rows:
        return None
    columns = (
        Column("knob", "left"),
        Column("level", "left"),
        Column("n", wrap=False),
        Column("mean", show=decimal, wrap=False),
        Column("behind", show=decimal, wrap=False),
        Column("95 % interval", wrap=False),
        Column("cost", show=format_seconds, wrap=False),
    )
    notes = (
        "n: candidates; mean and cost: averaged over all other knobs; behind: the knob's best "
        "level, with intervals that hold for all levels of all knobs at once",
        *driven(verdict.statistics).values(),
    )
    return Table("Knob by knob", columns, tuple(rows), notes)


def interaction_table(found: Interaction) -> Table:
    """Mean scores by two knobs, and where the gain of one depends most on the other."""
    names = short_knobs([found.rows, found.columns])
    down, across = names[found.rows], names[found.columns]
    heads = (Column(f"{across} {value}", show=decimal) for value in found.column_levels)
    lines = zip(found.row_levels, found.means, strict=True)
    rows = tuple((value, *means) for value, means in lines)
    notes: tuple[str, ...] = ()
    if found.largest:
        one = found.largest
        clear = one.low > 0
        said = f" (95 % interval {one.low:.4f} to {one.high:.4f})" if one.low == one.low else ""
        notes = (
            f"{one.gained} over {one.over} gains {one.size:.4f} more with {one.most} than with "
            f"{one.least}{said}{'' if clear or not said else ': chance alone may explain it'}",
        )
    title = f"{down} by {across}, mean score"
    return Table(title, (Column(down, "left"), *heads), rows, notes)


def short_knobs(knobs: Sequence[str]) -> dict[str, str]:
    """Knobs by their last names, where these tell them apart.

    >>> short_knobs(["network.depth", "loss"])
    {'network.depth': 'depth', 'loss': 'loss'}
    >>> short_knobs(["network.depth + optimizer.name", "other.name"])
    {'network.depth + optimizer.name': 'depth + name', 'other.name': 'name'}
    """
    short = {
        knob: " + ".join(name.rpartition(".")[2] for name in knob.split(" + ")) for knob in knobs
    }
    return short if len(set(short.values())) == len(short) else {knob: knob for knob in knobs}
