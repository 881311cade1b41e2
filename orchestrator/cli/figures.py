"""Commands that draw the seed paper's tables and figures: eda of a data set, figures of a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.app import app
from orchestrator.cli.options import Json, Patients, Plugins, use_plugins
from orchestrator.cli.terminal.screen import console, open_run, print_json, progress_bar

if TYPE_CHECKING:
    from orchestrator.report.paper.figures import PaperFigures
    from orchestrator.report.table import Table


@app.command(epilog="Example: gitract-cv figures runs/paper --out figures")
def figures(
    run: Annotated[
        Path | None, typer.Argument(help="Run directory; the newest under runs/ if left out.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the files; RUN/report/figures.")
    ] = None,
    plugins: Plugins = None,
    as_json: Json = False,
) -> None:
    """The paper's figures 7 to 11 and tables 5 and 6 from a run, and what moves with its loss.

    An unfinished run is shown as far as its finished trials go.
    """
    use_plugins(plugins)
    directory = open_run(run).directory
    folder = out or directory.path / "report" / "figures"
    with progress_bar("figures") as progress:
        from orchestrator.report.paper.figures import write_paper_figures

        written = write_paper_figures(directory, folder, progress)
    if as_json:
        print_json({"run": str(directory.path), "out": str(folder), **written.to_json()})
        return
    _print(written, folder)


def _print(written: PaperFigures, folder: Path) -> None:
    from orchestrator.report.table import to_terminal

    out = console()
    for table, after in zip(written.tables, (*written.tables[1:], None), strict=True):
        same = after is not None and after.notes == table.notes  # shown once, after the last
        out.print(to_terminal(table, notes=not same))
        out.print()
    out.print(to_terminal(_relations(written)))
    out.print(
        "Spearman -1: rises whenever the loss falls. Jump: sd of one epoch's change.\n", style="dim"
    )
    for line in written.left_out:
        out.print(f"left out  {line}", style="yellow")
    out.print(f"written   {folder}")
    out.print(", ".join(file.name for file in written.files), style="dim")


def _relations(written: PaperFigures) -> Table:
    from orchestrator.report.paper.correlation import POOLED
    from orchestrator.report.table import Column, Table, is_missing
    from orchestrator.results.histories import METRICS

    signed = "{:+.2f}".format
    rows = []
    for row in written.relations:
        if row.candidate == POOLED:
            spearman = row.spearman
            interval = (
                None
                if is_missing(spearman.low)
                else f"{signed(spearman.low)} to {signed(spearman.high)}"
            )
            rows.append(
                (METRICS[row.metric], spearman.mean, interval, row.pearson.mean, row.jump.mean)
            )
    columns = (
        Column("metric", "left"),
        Column("Spearman", show=signed),
        Column("95 % interval"),
        Column("Pearson", show=signed),
        Column("jump", show="{:.4f}".format),
    )
    return Table(
        "Metrics and the validation loss over epochs, mean of all trials", columns, tuple(rows)
    )


@app.command(epilog="Example: gitract-cv eda --data uw-madison --html eda.html --figures figures")
def eda(
    data: Annotated[Path, typer.Option(help="Folder of a data set with masks.")],
    patients: Patients = None,
    html: Annotated[
        Path | None, typer.Option(help="Write one page with all tables and figures.")
    ] = None,
    figures: Annotated[
        Path | None, typer.Option(help="Write figures 3, 4, 5, 6 and 12 as PNG into this folder.")
    ] = None,
    as_json: Json = False,
) -> None:
    """The seed paper's analysis of a data set: organs per slice, positions, overlaps.

    Tables 1 to 4 and figures 3, 4, 5, 6 and 12 of the paper, plus cases, scans, sizes, areas and
    gaps. Overlaps come from the run lengths of the masks; no mask is decoded for the counts.
    """
    from gitract_core.data.slices import SliceIndex
    from gitract_core.eda import Annotations, explore

    index = SliceIndex.from_directory(data, patients=patients)
    exploration = explore(Annotations.of_index(index))
    written: list[Path] = []
    if figures:
        from orchestrator.report.eda.slices import write_figures

        written += write_figures(figures, index, exploration)
    if html:
        from orchestrator.report.eda.html import write_eda_html

        written.append(write_eda_html(html, index, exploration))
    if as_json:
        said = {"data": str(data), "layout": index.layout, "assumed": list(index.assumed)}
        print_json({**said, **exploration.to_json()})
    else:
        from orchestrator.report.eda.terminal import eda_view

        console().print(eda_view(exploration))
        for line in index.assumed:
            console().print(f"note: {line}", soft_wrap=True, style="dim")
    for path in written:
        console(stderr=as_json).print(f"written  {path}", soft_wrap=True)
