"""The command that hands folds to other tools: folds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from orchestrator.cli.app import app
from orchestrator.cli.options import Exclude, Patients
from orchestrator.cli.terminal.screen import console, open_run


@app.command(epilog="Example: gitract-cv folds runs/paper --format nnunet --out splits_final.json")
def folds(
    run: Annotated[
        Path | None,
        typer.Argument(help="Run directory; the newest under runs/ if left out, without --data."),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder of a data set: the folds that a sweep would make.")
    ] = None,
    form: Annotated[
        Literal["nnunet", "csv"],
        typer.Option("--format", help="splits_final.json, or a table scan,patient,fold."),
    ] = "nnunet",
    out: Annotated[Path | None, typer.Option(help="File to write; on stdout if left out.")] = None,
    patients: Patients = None,
    exclude: Exclude = None,
    n_folds: Annotated[
        int | None, typer.Option("--folds", min=2, help="With --data: number of folds; 5.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="With --data: of the folds; 0.")] = None,
    repeats: Annotated[
        int | None,
        typer.Option("--repeats", "--repeat", min=1, max=100, help="With --data: fold plans; 1."),
    ] = None,
) -> None:
    """The folds of a run, or of a sweep to come, for another tool: the same patients held out.

    Folds are numbered from 0. Other tools part scans at random: a patient with two scans is then
    trained on and judged.
    """
    from gitract_core.errors import RunError
    from gitract_core.files.atomic import write_bytes
    from orchestrator.api.options import excluded_scans
    from orchestrator.sweeps.fold_plans import NamedFolds

    of_data = {
        "--patients": patients,
        "--exclude": exclude,
        "--folds": n_folds,
        "--seed": seed,
        "--repeats": repeats,
    }
    if data is None:
        for name, value in of_data.items():
            if value is not None:
                remedy = "leave it out: a run has its folds"
                raise RunError("folds", f"{name} with --data alone", f"{name} {value}", remedy)
        found = open_run(run, bulky=False).named_folds()
    elif run is not None:
        raise RunError("folds", "RUN or --data", "both", "leave one out")
    else:
        found = NamedFolds.of_data(
            data,
            patients=patients,
            exclude=excluded_scans(data, exclude or ()),
            n_folds=n_folds or 5,
            seed=seed or 0,
            repeats=repeats or 1,
        )
    text = found.text(form)
    if out is None:
        print(text, end="")
        console(stderr=True).print(found.audit, soft_wrap=True)
    else:
        write_bytes(out, text.encode())
        console().print(found.audit, soft_wrap=True)
        console().print(f"written  {out}", soft_wrap=True)
