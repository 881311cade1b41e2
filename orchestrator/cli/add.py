"""The command that takes another tool's predictions into a run: add."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gitract_core.errors import counted
from orchestrator.cli.app import app
from orchestrator.cli.options import Json
from orchestrator.cli.terminal.screen import console, open_run, print_json, progress_bar


@app.command(
    epilog="Example: gitract-cv add runs/paper --name rival --predictions oof.csv --declared"
)
def add(
    run: Annotated[Path, typer.Argument(help="Run directory.")],
    name: Annotated[str, typer.Option(help="What the candidate is called.")],
    predictions: Annotated[
        Path,
        typer.Option(
            help="nnU-Net's results (fold_0/validation/...), a table id,class,predicted, a folder "
            "of NIfTI label maps or masks, or npz probabilities."
        ),
    ],
    folds_table: Annotated[
        Path | None,
        typer.Option(help="What it trained on: splits_final.json, or CSV scan (or patient),fold."),
    ] = None,
    declared: Annotated[
        bool,
        typer.Option("--declared", help="It was trained on the run's own folds; not for trees."),
    ] = False,
    epoch_rule: Annotated[
        str,
        typer.Option(
            help="Whose patients chose its epochs: held_out, inner or last as of training.keep, "
            "or other words."
        ),
    ] = "not said",
    replace: Annotated[
        bool, typer.Option("--replace", help="Take the place of what was added by this name.")
    ] = False,
    test_predictions: Annotated[
        Path | None,
        typer.Option(help="Its predictions of test scans: ensembles with it can predict those."),
    ] = None,
    test_images: Annotated[
        Path | None, typer.Option(help="Those scans; DATA/test if left out.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Rank another tool's out-of-fold predictions beside the run's candidates.

    Each scan must be predicted by a training that did not see its patient: train on the folds that
    `gitract-cv folds RUN` writes. nnU-Net's own splits are checked; of other forms folds are
    declared. Scores, intervals and ties are those of any candidate; cost and knobs are not known.
    """
    opened = open_run(run, bulky=False)
    with progress_bar("scoring") as progress:
        added = opened.add(
            name,
            predictions,
            folds_table=folds_table,
            declared=declared,
            epoch_rule=epoch_rule,
            replace=replace,
            test_predictions=test_predictions,
            test_images=test_images,
            progress=progress,
        )
    line = next(one for one in opened.board.added if one.candidate == added.candidate)
    if as_json:
        values = {
            "name": name,
            "origin": added.candidate.origin,
            "epoch_rule": added.candidate.epoch_rule,
            "folds": added.folds,
            "not_scored": {str(fold): why for fold, why in added.lacking.items()},
            "score": line.mean(),
            "scores": line.folds(),
        }
        print_json(values)
        return
    out = console()
    ranks = {one.label: rank for rank, one in enumerate(opened.board.ranked, 1)}
    if line.label in ranks:
        n = len(opened.board.ranked)
        out.print(f"added {name}: score {line.mean():.4f}, rank {ranks[line.label]} of {n}")
    else:
        done = added.folds - len(added.lacking)
        reasons = "; ".join(line.reasons) or "no score"
        out.print(f"added {name}: {done} of {counted(added.folds, 'fold')}, not ranked ({reasons})")
    out.print(f"{added.candidate.origin}; choice of its epochs: {added.candidate.epoch_rule}")
