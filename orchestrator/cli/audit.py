"""The command ``audit``: annotations that may be wrong."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gitract_core.errors import counted
from orchestrator.cli.app import app
from orchestrator.cli.options import Plugins, use_plugins
from orchestrator.cli.terminal.screen import console, open_run, print_json, progress_bar

if TYPE_CHECKING:
    from orchestrator.out_of_fold.annotation_audit import Audit
    from orchestrator.report.table import Table

_MOST_SCANS = 12


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
    plugins: Plugins = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Machine-readable output on stdout alone.")
    ] = False,
) -> None:
    """Find annotations that may be wrong: scans and slices that contradict predictions most.

    Predictions are out of fold, so no model has learned the annotation that it contradicts.
    """
    from orchestrator.out_of_fold.annotation_audit import write_audit
    from orchestrator.out_of_fold.masks import OofAverage

    use_plugins(plugins)
    opened = open_run(run)
    directory = opened.directory
    with progress_bar("scans") as progress:
        audited = opened.audit(top, progress)
    folder = out or directory.path / "report" / "audit"
    files = write_audit(audited, folder)
    if pictures:
        from orchestrator.report.suspects import write_gallery

        files += write_gallery(audited, OofAverage(directory, audited.candidates), folder, pictures)
    if as_json:
        print_json({**audited.to_json(), "files": [str(file) for file in files]})
        return
    _print(audited, folder, len(files))


def _print(audited: Audit, folder: Path, n_files: int) -> None:
    from rich.text import Text

    from orchestrator.report.organ_names import known_in_words
    from orchestrator.report.table import to_terminal

    out = console()
    for reason in audited.left_out:
        out.print(f"left out: {reason}", style="yellow", soft_wrap=True)
    out.print(to_terminal(_scan_table(audited)))
    out.print()
    out.print(to_terminal(_border_table(audited)))
    known = known_in_words(audited.known, 6)
    if known:
        out.print()
        out.print(Text(known.replace("not scored", "left out")))
    out.print(f"\n{counted(n_files, 'file')} in {folder}")


def _scan_table(audited: Audit) -> Table:
    from orchestrator.report.table import Column, Table

    three_decimals = "{:.3f}".format
    columns = (
        Column("#"),
        Column("scan", "left"),
        Column("suspicion", show=three_decimals),
        Column("Dice lacking", show=three_decimals),
        Column("reason", "left"),
    )
    rows = tuple(
        (rank, scan.scan, scan.suspicion, scan.deficit, scan.reason or None)
        for rank, scan in enumerate(audited.scans[:_MOST_SCANS], 1)
    )
    return Table("scans to look at first", columns, rows)


def _border_table(audited: Audit) -> Table:
    from orchestrator.report.organ_names import organ_name
    from orchestrator.report.table import Column, Table

    columns = (
        Column("organ", "left"),
        Column("border shift", show="{:+.2f} mm".format),
        Column("volume", show=lambda share: f"{100 * share:+.1f} %"),
        Column("missed parts"),
        Column("spurious parts"),
    )
    rows = tuple(
        (
            organ_name(organ),
            border.shift_mm if border.border_px else None,
            border.volume_error if border.truth_mm3 else None,
            f"{border.missed} of {border.truth_parts}",
            f"{border.spurious} of {border.prediction_parts}",
        )
        for organ, border in audited.borders.items()
    )
    return Table("predictions against annotation", columns, rows)
