"""The command that doubts the annotation: audit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.app import app
from orchestrator.cli.screen import console, open_run, print_json, progress_bar

if TYPE_CHECKING:
    from orchestrator.out_of_fold.annotation_audit import Audit


@app.command(epilog="Example: gitract-cv audit runs/paper --pictures 20")
def audit(
    run: Annotated[
        Path | None, typer.Argument(help="Run directory; the newest under runs/ if left out.")
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="How many candidates to average.")] = 1,
    out: Annotated[Path | None, typer.Option(help="Folder; RUN/report/audit if left out.")] = None,
    pictures: Annotated[
        int, typer.Option(min=0, help="Overlays of so many scans and so many slices.")
    ] = 10,
    as_json: Annotated[
        bool, typer.Option("--json", help="Machine-readable output on stdout alone.")
    ] = False,
) -> None:
    """Find annotations that may be wrong: scans and slices that contradict predictions most.

    Predictions are out of fold, so no model has learned the annotation that it contradicts.
    """
    from orchestrator.out_of_fold.annotation_audit import write_audit
    from orchestrator.out_of_fold.masks import OofAverage

    opened = open_run(run)
    directory = opened.directory
    with progress_bar("scans") as progress:
        found = opened.audit(top, progress)
    folder = out or directory.path / "report" / "audit"
    files = write_audit(found, folder)
    if pictures:
        from orchestrator.report.suspects import write_gallery

        files += write_gallery(found, OofAverage(directory, found.candidates), folder, pictures)
    if as_json:
        print_json({**found.to_json(), "files": [str(file) for file in files]})
        return
    _print(found, folder, len(files))


def _print(found: Audit, folder: Path, n_files: int) -> None:
    from rich.table import Table
    from rich.text import Text

    from orchestrator.report.organ_names import known_in_words, organ_name

    out = console()
    table = Table(title="scans to look at first", title_justify="left", box=None)
    table.add_column("#", justify="right")
    for name in ("scan", "suspicion", "Dice lacking", "reason"):
        table.add_column(name, justify="right" if name in ("suspicion", "Dice lacking") else "left")
    for rank, s in enumerate(found.scans[:12], 1):
        cells = (s.scan, f"{s.suspicion:.3f}", f"{s.deficit:.3f}", s.reason or "-")
        table.add_row(str(rank), *cells)
    out.print(table)
    borders = Table(title="predictions against annotation", title_justify="left", box=None)
    for name in ("organ", "border shift", "volume", "missed parts", "spurious parts"):
        borders.add_column(name, justify="left" if name == "organ" else "right")
    for organ, b in found.borders.items():
        borders.add_row(
            Text(organ_name(organ)),
            f"{b.shift_mm:+.2f} mm" if b.border_px else "-",
            f"{100 * b.volume_error:+.1f} %" if b.truth_mm3 else "-",
            f"{b.missed} of {b.truth_parts}",
            f"{b.spurious} of {b.prediction_parts}",
        )
    out.print()
    out.print(borders)
    known = known_in_words(found.known, 6)
    if known:
        out.print()
        out.print(Text(known.replace("not scored", "left out")))
    out.print(f"\n{n_files} files in {folder}")
