"""Commands that judge: report, score, check-submission."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from orchestrator.cli.app import app, console, print_json

if TYPE_CHECKING:
    import pandas as pd

    from gitract_core.metrics.competition import CompetitionScore

Json = Annotated[bool, typer.Option("--json", help="Machine-readable output on stdout alone.")]


@app.command(epilog="Example: gitract-cv report runs/paper --csv table.csv")
def report(
    run: Annotated[
        Path | None, typer.Argument(help="Run directory; the newest under runs/ if left out.")
    ] = None,
    csv: Annotated[Path | None, typer.Option(help="Write every figure and knob.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write the ranked table.")] = None,
    as_json: Json = False,
) -> None:
    """Rank the candidates of a run: mean, standard deviation and every fold."""
    from orchestrator.leaderboard import build_leaderboard
    from orchestrator.report import leaderboard_view, write_csv, write_markdown
    from orchestrator.sweep_directory import SweepDirectory

    directory = SweepDirectory.existing(run)
    board = build_leaderboard(directory)
    written = [path for path in (csv, markdown) if path]
    if csv:
        write_csv(board, csv)
    if markdown:
        write_markdown(board, markdown)
    if as_json:
        print_json({"run": str(directory.path), "leaderboard": board.to_rows()})
        return
    out = console()
    out.print(leaderboard_view(board))
    out.print(f"\nrun directory  {directory.path}")
    for path in written:
        out.print(f"written        {path}")


@app.command(epilog="Example: gitract-cv score submission.csv truth.csv")
def score(
    prediction: Annotated[Path, typer.Argument(help="Table id,class,predicted.")],
    truth: Annotated[
        Path, typer.Argument(help="Table id,class,segmentation; height,width or --images.")
    ],
    empty: Annotated[
        Literal["skip", "one", "zero"], typer.Option(help="Rows empty on both sides count so.")
    ] = "skip",
    hausdorff_norm: Annotated[
        Literal["diagonal", "diagonal_minus_one", "unit_cube"],
        typer.Option(help="What the distance is divided by."),
    ] = "diagonal",
    images: Annotated[
        Path | None, typer.Option(help="Folder of scans, for sizes that TRUTH does not give.")
    ] = None,
    as_json: Json = False,
) -> None:
    """The competition score of any submission: 0.4 Dice + 0.6 Hausdorff score."""
    from gitract_core.metrics import competition_score
    from gitract_core.submission import read_submission

    result = competition_score(
        read_submission(prediction),
        _truth_with_sizes(truth, images),
        empty=empty,
        hausdorff_norm=hausdorff_norm,
    )
    if as_json:
        print_json(result.to_json())
    else:
        _print_score(result, empty, hausdorff_norm)


def _truth_with_sizes(truth: Path, images: Path | None) -> pd.DataFrame:
    from gitract_core.errors import SubmissionError
    from gitract_core.slices import SliceIndex
    from gitract_core.submission import read_submission

    table = read_submission(truth)
    if {"height", "width"} <= set(table.columns):
        return table
    if images is None:
        expected = "columns height and width"
        raise SubmissionError(truth, expected, "none", "add them or pass --images DIR")
    sizes = SliceIndex.from_directory(images).table[["id", "height", "width"]]
    joined = table.merge(sizes, on="id", how="left")
    lonely = joined["height"].isna()
    if lonely.any():
        where, got = f"{truth}, id {joined['id'][lonely].iloc[0]}", f"none below {images}"
        raise SubmissionError(where, "an image of this slice", got, "pass the right --images")
    return joined.astype({"height": int, "width": int})


def _print_score(result: CompetitionScore, empty: str, norm: str) -> None:
    from rich.table import Table

    from orchestrator.report.terminal import decimal

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("", "Dice", "Hausdorff score", "score"):
        table.add_column(name, justify="right" if name else "left")
    for organ, values in result.per_class.items():
        cells = (decimal(values[k]) for k in ("dice", "hausdorff", "score"))
        table.add_row(organ.replace("_", " "), *cells)
    table.add_row("all", *(decimal(v) for v in (result.dice, result.hausdorff, result.score)))
    out = console()
    out.print(table)
    out.print(
        f"{result.rows} (slice, class) rows and {result.volumes} (scan, class) volumes counted; "
        f"both-empty: {empty}; Hausdorff normalized by {norm}",
        style="dim",
    )


@app.command(
    "check-submission",
    epilog="Example: gitract-cv check-submission submission.csv --images uw-madison/test",
)
def check_submission(
    file: Annotated[Path, typer.Argument(help="Submission to check.")],
    images: Annotated[Path, typer.Option(help="Folder of the scans it is for.")],
    as_json: Json = False,
) -> None:
    """Every fault of a submission, by row; exit code 1 if there is one."""
    from gitract_core.slices import SliceIndex
    from gitract_core.submission import check_submission as check

    index = SliceIndex.from_directory(images)
    faults = check(file, index.table[["id", "height", "width"]])
    if as_json:
        print_json({"rows": 3 * len(index.table), "faults": [str(fault) for fault in faults]})
    else:
        out = console()
        for fault in faults:
            out.print(str(fault), markup=False)
        verdict = f"{len(faults)} faults" if faults else f"in order ({len(index.table)} slices)"
        out.print(f"{file}: {verdict}", markup=False)
    if faults:
        raise typer.Exit(1)
