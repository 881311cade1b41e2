"""Commands about data and machine: phantom, validate, doctor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from gitract_core.errors import counted
from orchestrator.cli.app import app
from orchestrator.cli.options import Json, Patients
from orchestrator.cli.terminal.screen import console, print_json, progress_bar


@app.command(epilog="Example: gitract-cv phantom data/phantom --cases 20 --seed 1")
def phantom(
    directory: Annotated[Path, typer.Argument(help="New folder, or one to be continued.")],
    cases: Annotated[int, typer.Option(min=1, help="Patients of the training folder.")] = 10,
    seed: Annotated[int, typer.Option(min=0, help="Equal seeds give equal files.")] = 0,
    slices: Annotated[
        int | None,
        typer.Option(min=16, max=144, help="Slices of a scan in place of 144 or 80."),
    ] = None,
    like: Annotated[
        str | None, typer.Option(help="'paper': 85 cases, 274 scans, 38,496 slices.")
    ] = None,
    faults: Annotated[
        float, typer.Option(min=0, max=1, help="Share of scans with a planted annotation fault.")
    ] = 0.0,
    layout: Annotated[
        Literal["contest", "nnunet", "nifti", "dicom"],
        typer.Option("--format", help="Layout of the folder; others hold the same scans."),
    ] = "contest",
) -> None:
    """Write a synthetic data set in any layout, hidden truth of its test scans too."""
    from gitract_core.errors import DataError
    from gitract_core.phantom import PhantomSpec, write_phantom_as

    if like not in (None, "paper"):
        raise DataError("--like", "'paper'", repr(like), "leave it out or write paper")
    spec = PhantomSpec.like_paper(seed) if like else PhantomSpec.small(cases, seed, slices)
    with progress_bar("phantom") as progress:
        planted = write_phantom_as(directory, spec, layout, faults=faults, progress=progress)
    out = console()
    out.print(f"phantom data set  {directory}")
    if planted:
        out.print(f"planted faults    {len(planted)}, listed in {directory / 'faults.csv'}")


@app.command(epilog="Example: gitract-cv validate --data uw-madison")
def validate(
    data: Annotated[Path, typer.Option(help="Folder of a data set, or of scans.")],
    patients: Patients = None,
    as_json: Json = False,
) -> None:
    """Every fault of a data set, a line each; exit code 1 if there is any.

    Names, sizes, spacings, gaps, images that cannot be read or differ in depth, rows of tables,
    masks.
    """
    from gitract_core.data.validation import find_faults

    with progress_bar("images and masks") as progress:
        found = find_faults(data, patients, progress)
    slices = 0 if found.index is None else len(found.index.table)
    scans = 0 if found.index is None else len(found.index.scans)
    faults = found.faults
    if as_json:
        notes = {"notes": list(found.notes)} if found.notes else {}
        print_json({"slices": slices, "scans": scans, "faults": list(faults), **notes})
    else:
        out = console()
        for fault in faults:
            out.print(fault, soft_wrap=True)
        for note in found.notes:
            out.print(f"note: {note}", soft_wrap=True, style="dim")
        n = f"{counted(slices, 'slice')} in {counted(scans, 'scan')}"
        out.print(f"{data}: {n}, {counted(len(faults), 'fault')}", soft_wrap=True)
    if faults:
        raise typer.Exit(1)


@app.command(epilog="Example: gitract-cv doctor")
def doctor(as_json: Json = False) -> None:
    """Versions, processors, GPUs, memory, disk; and what to do about what is missing."""
    from orchestrator.capacity.doctor import examine

    findings = examine()
    if as_json:
        print_json([vars_of(f) for f in findings])
        return
    from rich.text import Text

    out = console()
    for finding in findings:
        mark = Text("ok ", "green") if finding.ok else Text("!! ", "bold red")
        out.print(mark, f"{finding.what:<12} {finding.found}", soft_wrap=True)
        if finding.remedy:
            out.print(f"    {finding.remedy}", soft_wrap=True)


def vars_of(finding: Any) -> dict[str, Any]:
    """A frozen dataclass as a dictionary."""
    import dataclasses

    return dataclasses.asdict(finding)
