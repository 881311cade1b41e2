"""Progress of a sweep: a live table of candidates by folds, or plain lines without a terminal."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from gitract_core.errors import RunError, counted
from gitract_core.results.trial_result import read_history
from gitract_core.spec import Candidate, TrialSpec
from orchestrator.results.scored_trials import ScoredTrials
from orchestrator.results.time_left import TrialPace, seconds_left
from orchestrator.sweeps.events import SweepEvent
from orchestrator.sweeps.labels import candidate_labels, fold_numbers
from orchestrator.sweeps.run_directory import SweepDirectory
from orchestrator.sweeps.trial_log import NAME, last_lines

MOST_ROWS = 50
"""Candidates shown while they train; drawing thousands of rows would keep a processor busy."""


@dataclass(slots=True)
class _Cell:
    """State of one trial in the table."""

    epochs: int = 0
    seconds: float = 0.0  # of these epochs
    dice: float = float("nan")
    score: float | None = None
    failed: str = ""  # why it failed for good, one word
    dropped: bool = False  # by racing
    micro_batch: int = 0
    validation_parts: int = 0
    alone: bool = False  # on a whole GPU, since memory ran out beside others

    def end_epoch(self, epoch: int, dice: float, seconds: float) -> None:
        """Take in an epoch; those before it that were not seen took as long as those that were."""
        if 0 < epoch <= self.epochs:  # another attempt, from an earlier state
            self.seconds *= (epoch - 1) / self.epochs
            self.epochs = epoch - 1
        seen = self.epochs + 1
        self.seconds = (self.seconds + seconds) * epoch / seen
        self.epochs, self.dice = epoch, dice


class SweepProgress:
    """Shows events as they come; a context manager around the executor's run.

    Args:
        console: where to draw; plain lines are printed if it is not a terminal.
        directory: for the scores of finished trials.
        specs: all trials of the request, finished ones included.
        to_come: trials that a search will add.
        at_once: trials that run at a time.
    """

    def __init__(
        self,
        console: Console,
        directory: SweepDirectory,
        specs: Sequence[TrialSpec],
        to_come: int = 0,
        *,
        at_once: int = 1,
    ) -> None:
        self.console, self.directory, self.specs = console, directory, specs
        self.scored = ScoredTrials(directory)
        self.by_key = {spec.key: spec for spec in specs}
        self.labels = candidate_labels(tuple(dict.fromkeys(s.candidate for s in specs)))
        self.folds = fold_numbers(specs)
        self.cells = {spec.key: _Cell() for spec in specs}
        self.total, self.at_once = len(specs) + to_come, at_once
        self.a_candidate = 1 + max(self.folds.values(), default=-1)  # trials of one
        for spec in specs:
            self._read_epochs(spec)
            self._read_score(spec)
            self.cells[spec.key].alone = directory.trial(spec).to_run_alone.is_file()
        self.start = time.monotonic()
        self._left, self._left_until = float("nan"), 0.0
        self.live = Live(get_renderable=self._table, console=console, refresh_per_second=4)

    def __enter__(self) -> SweepProgress:
        if can_redraw(self.console):
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if can_redraw(self.console):
            self.live.stop()

    def __call__(self, event: SweepEvent) -> None:
        """Update the table, or print a line, after an event."""
        if event.kind == "proposed":
            self._add(event.specs)
        elif event.kind == "dropped":
            self._drop(event)
        else:
            self._show_trial(event)

    def _show_trial(self, event: SweepEvent) -> None:
        spec, cell = self.by_key[event.trial], self.cells[event.trial]
        if event.epoch is not None:
            cell.end_epoch(event.epoch, event.metrics["dice"], event.metrics.get("seconds", 0.0))
        if event.kind == "finished":
            self._read_score(spec)
        cell.alone = cell.alone or event.fault == "memory_shared"
        if event.kind == "failed":
            cell.failed = "diverged" if event.fault == "diverged" else "failed"
        if event.kind in ("error", "failed") or not can_redraw(self.console):
            self._print_line(event, spec)
        if event.kind == "finished" and event.reason:
            self._print(spec, event.reason)
        if event.kind == "finished" and 0 < cell.micro_batch < _batch_size(spec):
            self._print(spec, f"memory ran out; {_split_batches(cell, spec)}")
        if event.kind == "finished" and cell.validation_parts:
            parts = f"validation went in parts of {counted(cell.validation_parts, 'slice')}"
            self._print(spec, f"memory ran out; {parts}, with the same result")

    def _add(self, specs: Sequence[TrialSpec]) -> None:
        """Show the trials of a candidate that a search proposes.

        The table is drawn in another thread: nothing that it reads is changed, only replaced.
        """
        every = (*self.specs, *specs)
        self.by_key = {spec.key: spec for spec in every}
        self.cells = {**{spec.key: _Cell() for spec in specs}, **self.cells}
        self.labels = candidate_labels(tuple(dict.fromkeys(s.candidate for s in every)))
        self.folds = fold_numbers(every)
        self.specs = every
        for spec in specs:
            self._read_score(spec)
        if not can_redraw(self.console):
            number, label = len(self.labels), self.labels[specs[0].candidate]
            self.console.print(Text(f"candidate {number} proposed: {label}"), soft_wrap=True)

    def _drop(self, event: SweepEvent) -> None:
        gone = {spec.candidate for spec in event.specs}
        for spec in self.specs:  # those of further fold plans too
            if spec.candidate in gone:
                self.cells[spec.key].dropped = True
        self.console.print(Text(f"{event.candidate}: {event.reason}"), soft_wrap=True)

    def _read_epochs(self, spec: TrialSpec) -> None:
        """What an earlier sweep has trained of a trial."""
        history = self.directory.trial(spec).history
        if history.is_file():
            with suppress(RunError):
                records = read_history(history)
                cell = self.cells[spec.key]
                cell.epochs, cell.seconds = len(records), sum(r.seconds for r in records)

    def _read_score(self, spec: TrialSpec) -> None:
        try:
            result = self.scored.result(spec)
        except RunError:
            return  # the report names damaged results
        if result:
            score, cell = result.scores["score"], self.cells[spec.key]
            cell.score = float("nan") if score is None else float(score)
            cell.epochs = int(result.history["epochs"])
            cell.seconds = float(result.cost["seconds"])
            cell.micro_batch = int(result.environment.get("micro_batch", 0))
            cell.validation_parts = int(result.environment.get("validation_parts", 0))

    def _print_line(self, event: SweepEvent, spec: TrialSpec) -> None:
        if event.kind == "finished":
            done = sum(_is_over(c) for c in self.cells.values())
            text = f"{_score_text(self.cells[spec.key])}, {self._remaining()}"
            self._print(spec, text, f"{done}/{self.total} ")
        elif event.kind == "error":
            self._print(spec, event.reason)
            for line in last_lines(self._log(spec)):
                self.console.print(Text(f"    {line}", style="dim"), soft_wrap=True)
        elif event.kind == "failed":
            log = self._log(spec)
            where = f"; its log: {log}" if log.is_file() else ""
            self._print(spec, f"{self.cells[spec.key].failed} for good{where}")

    def _log(self, spec: TrialSpec) -> Path:
        return self.directory.trial(spec).directory / NAME

    def _print(self, spec: TrialSpec, text: str, before: str = "") -> None:
        name = f"{self.labels[spec.candidate]}, fold {self.folds[spec.key]}"
        self.console.print(Text(f"{before}{name}: {text}"), soft_wrap=True)

    def _work_done(self) -> float:
        """Finished trials, running ones by their share of epochs."""
        return sum(
            1.0 if _is_over(c) else c.epochs / _epochs(self.by_key[k])
            for k, c in self.cells.items()
        )

    def _remaining(self) -> str:
        """Time left, in words, by the estimate of ``status``."""
        start = time.monotonic()
        if start >= self._left_until:  # a sweep of thousands is not to spend its time on this
            self._left = self.seconds_left()
            self._left_until = start + 20 * (time.monotonic() - start)
        return time_left(self._left)

    def seconds_left(self) -> float:
        """Estimated time to the end, see ``time_left.seconds_left``; NaN if unknown."""
        pace = [
            TrialPace(
                self.by_key[key],
                to_run=not _is_over(cell),
                finished=cell.score is not None,
                epoch=cell.epochs,
                seconds=cell.seconds,
            )
            for key, cell in self.cells.items()
        ]
        at_once = min(self.at_once, sum(trial.to_run for trial in pace) or 1)
        to_come = (self.total - len(self.specs)) // self.a_candidate
        return seconds_left(pace, at_once=at_once, to_come=to_come)

    def _table(self) -> RenderableType:
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("candidate")
        for fold in range(1 + max(self.folds.values(), default=-1)):
            table.add_column(f"fold {fold}", justify="right", min_width=8, no_wrap=True)
        rows: dict[Candidate, list[TrialSpec]] = {}
        for spec in self.specs:
            rows.setdefault(spec.candidate, []).append(spec)
        shown = list(rows)
        if len(rows) > MOST_ROWS:  # those that train, then the others in their order
            shown.sort(key=lambda c: not any(self._trains(spec) for spec in rows[c]))
            shown = shown[:MOST_ROWS]
        for candidate in shown:
            cells = [_text(self.cells[spec.key], spec) for spec in rows[candidate]]
            table.add_row(Text(self.labels[candidate]), *cells)
        more = [Text(f"and {counted(len(rows) - MOST_ROWS, 'more candidate')}", "dim")]
        return Group(table, *more * (len(rows) > MOST_ROWS), self._bar())

    def _trains(self, spec: TrialSpec) -> bool:
        cell = self.cells[spec.key]
        return cell.epochs > 0 and not _is_over(cell)

    def _bar(self) -> RenderableType:
        done = sum(_is_over(c) for c in self.cells.values())
        line = Table.grid(padding=(0, 1))
        bar = ProgressBar(total=max(self.total, 1), completed=self._work_done(), width=40)
        elapsed = format_seconds(time.monotonic() - self.start)
        line.add_row(bar, f"{done}/{counted(self.total, 'trial')}, {elapsed}, {self._remaining()}")
        return line


def _score_text(cell: _Cell) -> str:
    if cell.score is None:
        return "no readable result"
    return "nothing to score" if math.isnan(cell.score) else f"score {cell.score:.4f}"


def _is_over(cell: _Cell) -> bool:
    return cell.score is not None or bool(cell.failed) or cell.dropped


def _epochs(spec: TrialSpec) -> int:
    return spec.candidate.training.epochs


def _batch_size(spec: TrialSpec) -> int:
    return spec.candidate.optimizer.batch_size


def _split_batches(cell: _Cell, spec: TrialSpec) -> str:
    return f"batches of {_batch_size(spec)} went in parts of {counted(cell.micro_batch, 'slice')}"


def _text(cell: _Cell, spec: TrialSpec) -> Text:
    if cell.score is not None:
        return Text("nothing" if math.isnan(cell.score) else f"{cell.score:.4f}", style="green")
    if cell.failed:
        return Text(cell.failed, style="bold red")
    if cell.dropped:
        return Text("dropped", style="dim")
    alone = "alone " * cell.alone
    if cell.epochs:
        return Text(f"{alone}{cell.epochs}/{_epochs(spec)} {cell.dice:.2f}", style="yellow")
    return Text(alone or "-", style="dim")


def can_redraw(console: Console) -> bool:
    """Whether a drawing can be replaced: in a terminal, or in a notebook with ipywidgets."""
    if console.is_jupyter:
        return find_spec("ipywidgets") is not None
    return console.is_terminal


def time_left(seconds: float) -> str:
    """A time left in words.

    >>> time_left(200), time_left(float("nan"))
    ('about 3 min 20 s left', 'time left unknown')
    """
    return f"about {format_seconds(seconds)} left" if seconds == seconds else "time left unknown"


def format_seconds(seconds: float) -> str:
    """A duration in the two largest of hours, minutes and seconds.

    >>> format_seconds(42.4), format_seconds(200), format_seconds(7300)
    ('42 s', '3 min 20 s', '2 h 01 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
