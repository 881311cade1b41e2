"""Commands that judge: report, score, check-submission."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from gitract_core.errors import counted
from orchestrator.cli.app import app
from orchestrator.cli.options import Json, Margin, Score
from orchestrator.cli.terminal.screen import console, open_run, print_json, progress_bar

if TYPE_CHECKING:
    import pandas as pd

    from gitract_core.metrics.competition import CompetitionScore
    from gitract_core.metrics.table_score import TableScore
    from gitract_core.prediction.provenance import ExpectedScore


@app.command(
    epilog="Example: gitract-cv report runs/paper --csv table.csv; by another score: --score "
    "'0.4*dice + 0.6*hd95_mm'"
)
def report(
    run: Annotated[
        Path | None, typer.Argument(help="Run directory; the newest under runs/ if left out.")
    ] = None,
    csv: Annotated[Path | None, typer.Option(help="Write every figure and knob.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write the ranked table.")] = None,
    html: Annotated[
        Path | None, typer.Option(help="Write one page with everything; needs no network.")
    ] = None,
    space: Annotated[
        str | None, typer.Option(help="Only the candidates of this search space, or YAML file.")
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="All candidates, not those of the last sweep alone.")
    ] = False,
    margin: Margin = None,
    score: Score = None,
    as_json: Json = False,
) -> None:
    """Rank the candidates of a run: mean, standard deviation and every fold.

    Where several sweeps went into one run, for example with more epochs, these are the candidates
    that the last one asked for. With --score "0.4*dice + 0.6*hd95_mm", for example, finished trials
    are scored again from their out-of-fold probabilities; a trial without them is not ranked.
    """
    from orchestrator.report import leaderboard_view

    bulky = html is not None or score is not None
    found = open_run(run, bulky=bulky, margin=margin, score=score).showing(space, every=every)
    if score is not None:
        with progress_bar("scoring") as progress:
            found.score_trials(progress)
    with progress_bar("page") as progress:
        written = found.report(csv=csv, markdown=markdown, html=html, progress=progress)
    if as_json:
        print_json(found.to_json())
        return
    out = console()
    out.print(leaderboard_view(found.board, found.verdict))
    out.print(f"\nrun directory  {found.path}")
    for path in written:
        out.print(f"written        {path}")


@app.command(
    epilog="Example: gitract-cv score submission.csv truth.csv; by another score: --score "
    "'surface_dice@2mm' --images uw-madison/train"
)
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
        Path | None,
        typer.Option(help="Folder of scans, for sizes and spacings that TRUTH does not give."),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option("--score", help="Another score, such as '0.4*dice + 0.6*hd95_mm'."),
    ] = None,
    gaps: Annotated[
        Literal["close", "keep"],
        typer.Option(help="Slices that a scan lacks: stack what is there, or keep their places."),
    ] = "close",
    as_json: Json = False,
) -> None:
    """The competition score of any submission: 0.4 Dice + 0.6 Hausdorff score.

    --score takes another one: terms dice, hd95_mm and surface_dice@2mm, see report --score.
    """
    from gitract_core.errors import RleError, SubmissionError
    from gitract_core.metrics import competition_score
    from gitract_core.metrics.score_expression import parse_terms
    from gitract_core.metrics.table_score import score_tables
    from gitract_core.prediction.submission import read_submission

    terms = parse_terms(by) if by else ()
    if terms and (empty, hausdorff_norm) != ("skip", "diagonal"):
        remedy = "leave --empty and --hausdorff-norm out, they are the contest's"
        raise SubmissionError("--score", "no option of the contest's score", "one", remedy)
    in_mm = any(term.name != "dice" for term in terms)
    given = read_submission(prediction)
    expected = _truth_with_sizes(truth, images, spacings=in_mm)
    try:
        if by and terms:
            own = score_tables(given, expected, by, gaps=gaps)
        else:
            result = competition_score(
                given, expected, empty=empty, hausdorff_norm=hausdorff_norm, gaps=gaps
            )
    except (SubmissionError, RleError) as error:
        file = truth if str(error).startswith("truth") else prediction
        raise error.within(file) from None
    words = _gap_words(expected, gaps)
    if terms:
        _show_own(own, words, as_json=as_json)
    elif as_json:
        print_json(result.to_json() | ({"gaps": words} if words else {}))
    else:
        _print_score(result, empty, hausdorff_norm)
        for line in words:
            console().print(line, style="dim", soft_wrap=True)


def _gap_words(truth: pd.DataFrame, gaps: str) -> list[str]:
    """Which slices scans lack, and what that means; nothing if they lack none."""
    from gitract_core.metrics.mask_table import gaps_of

    found = gaps_of(truth)
    if not found:
        return []
    who = f"{found[0].scan} lacks {found[0]}"
    others = len(found) - 1
    who += f", {others} other scan{'s lack' if others > 1 else ' lacks'} some too" if others else ""
    if gaps == "keep":
        return [f"{who}: the places are kept"]
    said = "distances are those of the slices that are there, stacked without a gap"
    return [f"{who}: {said}; --gaps keep leaves their places"]


def _truth_with_sizes(truth: Path, images: Path | None, *, spacings: bool) -> pd.DataFrame:
    from gitract_core.data.slices import SliceIndex
    from gitract_core.errors import SubmissionError
    from gitract_core.prediction.submission import read_submission

    table = read_submission(truth)
    needed = ["height", "width", *["spacing_y_mm", "spacing_x_mm"] * spacings]
    stated = {"height", "width"} <= set(table.columns)
    if set(needed) <= set(table.columns) and images is None:
        return table
    if images is None:
        expected = f"columns {', '.join(needed[:-1])} and {needed[-1]}"
        raise SubmissionError(truth, expected, "none", "add them or pass --images DIR")
    if "id" not in table.columns:
        got = ", ".join(map(str, table.columns))
        raise SubmissionError(truth, "a column 'id'", got, "mend the header")
    given, index = table, SliceIndex.to_predict(images).table
    needed += [name for name in ("spacing_z_mm",) if spacings and name in index.columns]
    sizes = index[["id", *needed]]
    table = table.drop(columns=needed, errors="ignore")  # some of them are of no use
    joined = table.merge(sizes, on="id", how="left")
    lonely = joined["height"].isna()
    if lonely.any():
        where, got = f"{truth}, id {joined['id'][lonely].iloc[0]}", f"none below {images}"
        raise SubmissionError(where, "an image of this slice", got, "pass the right --images")
    if stated:
        _check_sizes(given, joined, truth)
    return joined.astype({"height": int, "width": int})


def _check_sizes(given: pd.DataFrame, found: pd.DataFrame, truth: Path) -> None:
    """Raise for the first size of a table of masks that is not its image's."""
    import pandas as pd

    from gitract_core.errors import SubmissionError

    columns = ["height", "width"]
    stated = given[columns].apply(pd.to_numeric, errors="coerce").to_numpy(float)
    differ = (stated != found[columns].to_numpy(float)).any(axis=1)
    if differ.any():
        row = int(differ.argmax())
        name, (height, width) = given["id"].iloc[row], given[columns].iloc[row]
        its = "height {} and width {}".format(*found[columns].astype(int).iloc[row])
        got, remedy = f"height {height} and width {width}", "correct it, or pass the right --images"
        raise SubmissionError(f"{truth}, id {name}", f"{its}, as its image has", got, remedy)


def _show_own(result: TableScore, gaps: list[str], *, as_json: bool) -> None:
    from orchestrator.report.organ_names import organ_name
    from orchestrator.report.table import Column, Table, decimal, to_terminal

    if as_json:
        print_json(result.to_json() | ({"gaps": gaps} if gaps else {}))
        return
    means = result.measure.means
    keys = [*(mean.key for mean in means), "score"]
    figures = (Column(name, show=decimal) for name in (*(m.header for m in means), "score"))
    found = {**{organ_name(o): one for o, one in result.per_class.items()}, "all": result.overall}
    rows = tuple((name, *(one[key] for key in keys)) for name, one in found.items())
    out = console()
    out.print(to_terminal(Table("", (Column("", "left"), *figures), rows)))
    notes = [
        f"{result.measure.name}; {counted(result.scans, 'scan')}",
        *(m.note for m in means if m.note),
    ]
    notes += gaps
    for note in notes:
        out.print(note, style="dim")


def _print_score(result: CompetitionScore, empty: str, norm: str) -> None:
    from orchestrator.report.organ_names import organ_name
    from orchestrator.report.table import Column, Table, decimal, to_terminal

    figures = (Column(name, show=decimal) for name in ("Dice", "Hausdorff score", "score"))
    rows = [
        (organ_name(organ), values["dice"], values["hausdorff"], values["score"])
        for organ, values in result.per_class.items()
    ]
    rows.append(("all", result.dice, result.hausdorff, result.score))
    out = console()
    out.print(to_terminal(Table("", (Column("", "left"), *figures), tuple(rows))))
    out.print(
        f"{counted(result.rows, '(slice, class) row')} and "
        f"{counted(result.volumes, '(scan, class) volume')} counted; "
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
    """Every fault of a submission, by row, and the score to expect; exit code 1 if faulty."""
    from gitract_core.data.slices import SliceIndex, case_of_scan
    from gitract_core.prediction.provenance import expected_score
    from gitract_core.prediction.submission import check_submission as check
    from gitract_core.prediction.submission import organs_of_submission, summarize_submission
    from orchestrator.ensembles.to_come import interval_to_come

    index = SliceIndex.to_predict(images)
    organs = organs_of_submission(file)
    faults = check(file, index.table[["id", "height", "width"]], organs=organs)
    expected, patients = expected_score(file), len(set(case_of_scan(index).values()))
    announced = expected.announced
    to_come = interval_to_come(announced, patients) if announced else (math.nan, math.nan)
    if as_json:
        values = {
            "rows": len(organs) * len(index.table),
            "faults": [str(fault) for fault in faults],
        }
        without_columns = any(fault.row == 1 for fault in faults)
        summary = {} if without_columns else summarize_submission(file, organs=organs)
        score = announced and {
            "score": announced["score"],
            "interval": to_come,
            "patients": patients,
            "out_of_fold_interval": announced["interval"],
        }
        why = {"expected": score, "why_no_score": expected.reason or None}
        print_json({**values, "summary": summary, **why})
    else:
        out = console()
        for fault in faults:
            out.print(str(fault))
        order = f"in order ({counted(len(index.table), 'slice')})"
        verdict = counted(len(faults), "fault") if faults else order
        out.print(f"{file}: {verdict}")
        if not faults:
            _print_summary(summarize_submission(file, organs=organs))
            _print_expected(expected, patients, to_come)
    if faults:
        raise typer.Exit(1)


def _print_summary(summary: dict[str, dict[str, float]]) -> None:
    out = console()
    for organ, figures in summary.items():
        share = 100 * figures["masks"] / max(figures["rows"], 1)
        area = "" if not figures["masks"] else f", median area {figures['median_area_px']:.0f} px"
        out.print(f"  {organ:<12} a mask in {share:.1f} % of slices{area}")


def _print_expected(expected: ExpectedScore, patients: int, to_come: tuple[float, float]) -> None:
    out = console()
    if expected.announced is None:
        text = f"  what score to expect is not known: {expected.reason}"
        out.print(text, style="dim", soft_wrap=True)
        return
    known, (low, high) = expected.announced, to_come
    by = f" ({known['measure']})" if "measure" in known else ""
    text = f"  expected score{by} {known['score']:.4f}, out of fold"
    who = counted(patients, "patient")
    if low == low:
        text += f"; 95 % interval {low:.4f} to {high:.4f} for {who} like those of training"
    out.print(text, soft_wrap=True)
    out.print("  (of scans unlike those of training nothing can be said)", style="dim")
