"""Commands that draw: figures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.app import app
from orchestrator.cli.screen import console, open_run, print_json, progress_bar

if TYPE_CHECKING:
    from rich.table import Table

    from orchestrator.report.paper.figures import PaperFigures

Json = Annotated[bool, typer.Option("--json", help="Machine-readable output on stdout alone.")]


@app.command(epilog="Example: gitract-cv figures runs/paper --out figures")
def figures(
    run: Annotated[
        Path | None, typer.Argument(help="Run directory; the newest under runs/ if left out.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the files; RUN/report/figures.")
    ] = None,
    as_json: Json = False,
) -> None:
    """The paper's figures 7 to 11 and tables 5 and 6 from a run, and what moves with its loss.

    An unfinished run is shown as far as its finished trials go.
    """
    directory = open_run(run).directory
    folder = out or directory.path / "report" / "figures"
    with progress_bar("figures") as progress:
        from orchestrator.report.paper.figures import write_paper_figures

        made = write_paper_figures(directory, folder, progress)
    if as_json:
        print_json({"run": str(directory.path), "out": str(folder), **made.to_json()})
        return
    _print(made, folder)


def _print(made: PaperFigures, folder: Path) -> None:
    from orchestrator.report.paper.text import terminal_view

    out = console()
    for table, after in zip(made.tables, (*made.tables[1:], None), strict=True):
        same = after is not None and after.notes == table.notes  # told once, after the last
        out.print(terminal_view(table, notes=not same))
    out.print("Metrics and the validation loss over epochs, mean of all trials", style="bold")
    out.print(_relations(made))
    out.print(
        "Spearman -1: rises whenever the loss falls. Jump: sd of one epoch's change.\n", style="dim"
    )
    for line in made.left_out:
        out.print(f"left out  {line}", style="yellow")
    out.print(f"written   {folder}")
    out.print(", ".join(file.name for file in made.files), style="dim")


def _relations(made: PaperFigures) -> Table:
    from rich.table import Table

    from orchestrator.report.paper.correlation import POOLED
    from orchestrator.results.histories import METRICS

    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, name in enumerate(("metric", "Spearman", "95 % interval", "Pearson", "jump")):
        table.add_column(name, justify="right" if number else "left")
    for row in made.relations:
        if row.candidate == POOLED:
            spearman = row.spearman
            interval = f"{spearman.low:+.2f} to {spearman.high:+.2f}"
            cells = [f"{spearman.mean:+.2f}", interval]
            cells += [f"{row.pearson.mean:+.2f}", f"{row.jump.mean:.4f}"]
            shown = (cell if "nan" not in cell else "-" for cell in cells)
            table.add_row(METRICS[row.metric], *shown)
    return table
