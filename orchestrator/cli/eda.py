"""Commands that look at a data set before any training: eda."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli.app import app
from orchestrator.cli.screen import console, print_json


@app.command(epilog="Example: gitract-cv eda --data uw-madison --html eda.html --figures figures")
def eda(
    data: Annotated[Path, typer.Option(help="Contest folder with train.csv and train/.")],
    html: Annotated[
        Path | None, typer.Option(help="Write one page with all tables and figures.")
    ] = None,
    figures: Annotated[
        Path | None, typer.Option(help="Write figures 3, 4, 5, 6 and 12 as PNG into this folder.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Machine-readable output on stdout alone.")
    ] = False,
) -> None:
    """The seed paper's analysis of a data set: organs per slice, positions, overlaps.

    Tables 1 to 4 and figures 3, 4, 5, 6 and 12 of the paper, plus cases, scans, sizes, areas and
    gaps. Overlaps come from the run lengths of the masks; no mask is decoded for the counts.
    """
    from gitract_core.data.slices import SliceIndex
    from gitract_core.eda import Annotations, explore

    index = SliceIndex.from_directory(data)
    exploration = explore(Annotations.of_index(index))
    written: list[Path] = []
    if figures:
        from orchestrator.report.eda.slices import write_figures

        written += write_figures(figures, index, exploration)
    if html:
        from orchestrator.report.eda.html import write_eda_html

        written.append(write_eda_html(html, index, exploration))
    if as_json:
        print_json({"data": str(data), **exploration.to_json()})
    else:
        from orchestrator.report.eda.terminal import eda_view

        console().print(eda_view(exploration))
    for path in written:
        console(stderr=as_json).print(f"written  {path}", soft_wrap=True)
