"""What a sweep says before it trains, line by line."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from gitract_core.errors import counted
from orchestrator.api.options import SweepOptions

if TYPE_CHECKING:
    from gitract_core.spec import Candidate
    from orchestrator.capacity.trial_slots import Slots
    from orchestrator.sweeps.preparation import PreparedSweep


def asked_lines(prepared: PreparedSweep) -> Iterator[str]:
    """How much is asked for, and what of it is special."""
    from gitract_core.data.folds import folds_without_masks
    from gitract_core.metrics.score import CONTEST_SCORE

    to_come = prepared.record.to_come
    n_candidates = len(prepared.specs) // prepared.record.total_folds + to_come
    trials = counted(len(prepared.specs) + prepared.trials_to_come, "trial")
    folds = prepared.record.folds_in_words
    yield f"Fitting {folds} for {each_of(n_candidates)}, totalling {trials}"
    if prepared.record.score != CONTEST_SCORE:
        yield f"ranked by {prepared.record.measure.name}"
    yield from _plugin_lines(prepared)
    if to_come:
        yield f"candidates yet to be proposed, by the scores of the others: {to_come}"
    done = len(prepared.specs) - len(prepared.pending)
    if done:
        yield f"{done} of them {'is' if done == 1 else 'are'} finished already"
    unsettled = sum(_is_unsettled(c) for c in {spec.candidate for spec in prepared.specs})
    if unsettled:
        yield (
            f"candidates that keep the last epoch at a constant learning rate: {unsettled}; it may "
            "be a bad one (optimizer.schedule cosine or poly settles it)"
        )
    for number, plan in enumerate(prepared.plans):
        for fold in folds_without_masks(prepared.index, plan):
            text = "no slice has a mask; networks are scored there by their false positives alone"
            yield f"fold {number * plan.n_splits + fold}: {text}"
    yield from unseen_lines(prepared)


def unseen_lines(prepared: PreparedSweep) -> Iterator[str]:
    """How much of the annotation lies outside of what candidates see, a line for each view."""
    from gitract_core.data.windows import annotated_outside

    for view, share in annotated_outside(prepared.index, prepared.views).items():
        if share:
            seen = f"input.size {view.size} at input.spacing_mm {view.spacing_mm:g}"
            yield (
                f"{seen}: {100 * share:.2g} % of the annotated pixels lie outside of what the "
                "network sees, and count as missed"
            )


def _plugin_lines(prepared: PreparedSweep) -> Iterator[str]:
    """The plugins that are used, and candidates of other versions of them."""
    from gitract_core.plugin import digests_in, executed

    asked = {spec.candidate for spec in prepared.specs}
    used = {digest for candidate in asked for digest in digests_in(candidate.plugin)}
    for plugin in executed():
        if plugin.digest in used:
            of_it = sum(plugin.digest in digests_in(c.plugin) for c in asked)
            yield f"plugin {plugin.name} ({plugin.digest}): {counted(of_it, 'candidate')}"
    plain = {replace(candidate, plugin="") for candidate in asked}
    others = set(prepared.record.candidates) - asked
    older = sum(c.plugin != "" and replace(c, plugin="") in plain for c in others)
    if older:
        yield f"candidates of another version of a plugin, which stay beside the new ones: {older}"


def each_of(candidates: int) -> str:
    """Whom the folds are for.

    >>> each_of(1), each_of(3)
    ('1 candidate', 'each of 3 candidates')
    """
    return (
        counted(candidates, "candidate") if candidates == 1 else f"each of {candidates} candidates"
    )


def _is_unsettled(candidate: Candidate) -> bool:
    """Whether what is kept depends on where the weights happen to be at the end."""
    knobs, schedule = candidate.training, candidate.optimizer.schedule
    return knobs.keep == "last" and schedule == "constant" and knobs.ema == 0


def slots_line(slots: Slots, options: SweepOptions) -> str:
    """How many trials run at a time, and where."""
    where = "this machine" if options.local else "Ray"
    share = f"{slots.gpus:.2g} GPU and " if slots.gpus else ""
    return (
        f"{counted(slots.count, 'trial')} at a time on {where}, each with {share}{slots.cpus} CPU"
    )


def watch_line(name: str, prepared: PreparedSweep, options: SweepOptions) -> str:
    """The commands that watch the run of this name."""
    folder = shlex.quote(str(prepared.directory.path / "tensorboard"))
    board = f"; tensorboard --logdir {folder}" if options.tensorboard else ""
    return f"watch it from another terminal: gitract-cv status {shlex.quote(name)}{board}"
