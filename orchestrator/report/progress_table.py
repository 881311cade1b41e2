"""Progress of a sweep: a live table of candidates by folds, or plain lines without a terminal."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from gitract_core.errors import RunError
from gitract_core.spec import Candidate, TrialSpec
from orchestrator.sweeps.events import SweepEvent
from orchestrator.sweeps.labels import candidate_labels, fold_numbers
from orchestrator.sweeps.run_directory import SweepDirectory
from orchestrator.sweeps.trial_log import NAME, last_lines


@dataclass(slots=True)
class _Cell:
    """State of one trial in the table."""

    epochs: int = 0
    dice: float = float("nan")
    score: float | None = None
    failed: str = ""  # why it failed for good, one word
    dropped: bool = False  # by racing
    micro_batch: int = 0
    validation_parts: int = 0
    alone: bool = False  # on a whole GPU, since memory ran out beside others


class SweepProgress:
    """Shows events as they come; a context manager around the executor's run.

    Args:
        console: where to draw; plain lines are printed if it is not a terminal.
        directory: for the scores of finished trials.
        specs: all trials of the request, finished ones included.
        to_come: trials that a search will add.
    """

    def __init__(
        self,
        console: Console,
        directory: SweepDirectory,
        specs: Sequence[TrialSpec],
        to_come: int = 0,
    ) -> None:
        self.console, self.directory, self.specs = console, directory, specs
        self.by_key = {spec.key: spec for spec in specs}
        self.labels = candidate_labels(tuple(dict.fromkeys(s.candidate for s in specs)))
        self.folds = fold_numbers(specs)
        self.cells = {spec.key: _Cell() for spec in specs}
        self.total = len(specs) + to_come
        for spec in specs:
            self._read_score(spec)
            self.cells[spec.key].alone = directory.trial(spec).to_run_alone.is_file()
        self.start, self.work_at_start = time.monotonic(), self._work_done()
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
            cell.epochs, cell.dice = event.epoch, event.metrics["dice"]
        if event.kind == "finished":
            self._read_score(spec)
        cell.alone = cell.alone or event.fault == "memory_shared"
        if event.kind == "failed":
            cell.failed = "diverged" if event.fault == "diverged" else "failed"
        if event.kind in ("error", "failed") or not can_redraw(self.console):
            self._print_line(event, spec)
        if event.kind == "finished" and 0 < cell.micro_batch < _batch_size(spec):
            self._print(spec, f"memory ran out; {_split_batches(cell, spec)}")
        if event.kind == "finished" and cell.validation_parts:
            parts = f"validation went in parts of {cell.validation_parts} slices"
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

    def _read_score(self, spec: TrialSpec) -> None:
        try:
            result = self.directory.result(spec)
        except RunError:
            return  # the report names damaged results
        if result:
            score, cell = result.scores["score"], self.cells[spec.key]
            cell.score = float("nan") if score is None else float(score)
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
        """Time left, in words, at the mean speed so far."""
        done = self._work_done()
        pace = (done - self.work_at_start) / max(time.monotonic() - self.start, 1e-3)
        if pace <= 0:
            return "time left unknown"
        return f"{format_seconds((self.total - done) / pace)} left"

    def _table(self) -> RenderableType:
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("candidate")
        for fold in range(1 + max(self.folds.values(), default=-1)):
            table.add_column(f"fold {fold}", justify="right", min_width=8, no_wrap=True)
        rows: dict[Candidate, list[Text]] = {}
        for spec in self.specs:
            rows.setdefault(spec.candidate, []).append(_text(self.cells[spec.key], spec))
        for candidate, cells in rows.items():
            table.add_row(Text(self.labels[candidate]), *cells)
        return Group(table, self._bar())

    def _bar(self) -> RenderableType:
        done = sum(_is_over(c) for c in self.cells.values())
        line = Table.grid(padding=(0, 1))
        bar = ProgressBar(total=max(self.total, 1), completed=self._work_done(), width=40)
        elapsed = format_seconds(time.monotonic() - self.start)
        line.add_row(bar, f"{done}/{self.total} trials, {elapsed}, {self._remaining()}")
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
    return f"batches of {_batch_size(spec)} went in parts of {cell.micro_batch} slices"


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
