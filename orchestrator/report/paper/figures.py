"""The seed paper's figures and tables about training, written from a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gitract_core.errors import GitractError
from gitract_core.files.atomic import write_bytes
from gitract_core.progress import Progress, silent
from orchestrator.report.paper.augmentation import draw_augmentation
from orchestrator.report.paper.correlation import MetricRelation, draw_relations, relations
from orchestrator.report.paper.curves import CURVE_FIGURES, CurveFigure, draw_curves
from orchestrator.report.paper.predictions import draw_predictions
from orchestrator.report.paper.tables import (
    HONEST_METRICS,
    PAPER_METRICS,
    PAPER_TABLE_6,
    CandidateBest,
    FieldLevel,
    best_epochs,
    field_levels,
    table_5,
    table_6,
)
from orchestrator.report.run_slices import run_index
from orchestrator.report.style import save_figure
from orchestrator.report.table import Table, to_csv, to_markdown
from orchestrator.results.histories import RunHistories, read_histories
from orchestrator.sweeps.run_directory import SweepDirectory

Step = Callable[[Path], Path]


@dataclass(frozen=True)
class PaperFigures:
    """The files written, and their numbers.

    Attributes:
        files: in the order of writing.
        left_out: trials and figures that are missing, with the reason, one line each.
        fields: table 5.
        best: table 6.
        relations: metrics and the validation loss.
        tables: tables 5 and 6, ready to be rendered.
    """

    files: tuple[Path, ...]
    left_out: tuple[str, ...]
    fields: tuple[FieldLevel, ...]
    best: tuple[CandidateBest, ...]
    relations: tuple[MetricRelation, ...]
    tables: tuple[Table, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "files": [str(file) for file in self.files],
            "left_out": list(self.left_out),
            "table_5": [_field_row(level) for level in self.fields],
            "table_6": [line.to_json() for line in self.best],
            "correlation": [row.to_row() for row in self.relations],
        }


def write_paper_figures(
    directory: SweepDirectory, out: Path, progress: Progress = silent
) -> PaperFigures:
    """Write figures 7 to 11, tables 5 and 6 and the correlations of a run's finished trials.

    A figure that cannot be drawn, since the data set is gone for example, is left out and named.

    Args:
        directory: the run.
        out: folder for the files, made if need be.
        progress: called with (steps done, all steps).

    Raises:
        RunError: no trial is finished, or the run's record or a result is damaged.
    """
    histories = read_histories(directory)
    candidates = [line.scores.candidate for line in histories.candidates]
    fields, best = field_levels(candidates), best_epochs(histories.candidates)
    related = relations(histories.candidates)
    tables = (
        table_5(fields, candidates),
        table_6(best, PAPER_METRICS, "the paper's metrics (their likely definitions)"),
        table_6(best, HONEST_METRICS, "honest metrics (pooled over pixels, by class)"),
    )
    steps = {
        **_pictures(directory, histories),
        "figure_correlation.png": lambda path: save_figure(draw_relations(related), path),
        "correlation.csv": _csv([r.to_row() for r in related]),
        "table_5.md": _markdown(tables[:1]),
        "table_5.csv": _csv([_field_row(level) for level in fields]),
        "table_6.md": _markdown([*tables[1:], PAPER_TABLE_6]),
        "table_6.csv": _csv([line.to_row() for line in best]),
    }
    files, failed = _written(steps, out, progress)
    left_out = (*histories.left_out, *failed)
    return PaperFigures(files, left_out, tuple(fields), tuple(best), tuple(related), tables)


def _csv(records: Sequence[Mapping[str, Any]]) -> Step:
    return _text(to_csv(Table.of_records(records)))


def _markdown(tables: Sequence[Table]) -> Step:
    return _text("\n".join(map(to_markdown, tables)))


def _text(text: str) -> Step:
    def write(path: Path) -> Path:
        write_bytes(path, text.encode())
        return path

    return write


def _pictures(directory: SweepDirectory, histories: RunHistories) -> dict[str, Step]:
    """Figures 7 to 11 by the names of their files."""
    best, record = histories.best.scores, histories.record
    used = {kind for c in record.candidates for kind in c.augmentation.names()}

    def augmentation(path: Path) -> Path:
        return save_figure(draw_augmentation(run_index(record), best.candidate, used), path)

    def predictions(path: Path) -> Path:
        return save_figure(draw_predictions(directory, best, run_index(record)), path)

    def curves(what: CurveFigure) -> Step:
        return lambda path: save_figure(draw_curves(what, histories.candidates), path)

    return {
        "figure_8.png": augmentation,
        **{what.file: curves(what) for what in CURVE_FIGURES},
        "figure_11.png": predictions,
    }


def _written(
    steps: Mapping[str, Step], out: Path, progress: Progress
) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """The files of the steps that succeeded, and the errors of the others."""
    files: list[Path] = []
    failed: list[str] = []
    for done, (name, step) in enumerate(steps.items(), 1):
        try:
            files.append(step(out / name))
        except GitractError as error:
            failed.append(f"{name}: {error}")
        progress(done, len(steps))
    return tuple(files), tuple(failed)


def _field_row(level: FieldLevel) -> dict[str, Any]:
    row = {"poolings": level.poolings, "paper": level.paper, "exact": level.exact}
    return {**row, **{f"measured: {name}": side for name, side in level.measured.items()}}
