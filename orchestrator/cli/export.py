"""Commands for what leaves the house: verify, export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli.app import app
from orchestrator.cli.screen import console, print_json

Json = Annotated[bool, typer.Option("--json", help="Machine-readable output on stdout alone.")]


@app.command(
    epilog="Example: gitract-cv verify runs/paper/ensembles/top3-equal/submission.csv "
    "--images uw-madison/test --scans 2"
)
def verify(
    submission: Annotated[Path, typer.Argument(help="Its note lies beside it.")],
    images: Annotated[Path | None, typer.Option(help="The scans that it predicts.")] = None,
    scans: Annotated[
        int, typer.Option(min=0, help="Predict so many scans anew and compare; needs --images.")
    ] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    as_json: Json = False,
) -> None:
    """Trace a submission back to the weights that made it; exit code 1 where the chain breaks."""
    from dataclasses import asdict

    from gitract_core.data.slices import SliceIndex
    from gitract_core.device import Runtime
    from gitract_core.errors import RunError
    from gitract_core.prediction.members import Predictor
    from gitract_core.prediction.provenance import verify as follow
    from gitract_core.processors import usable_processors

    if scans and images is None:
        raise RunError("--scans", "--images too", "none", "pass the folder of scans")
    runtime = Runtime(device, usable_processors())
    links = follow(
        submission,
        images=SliceIndex.from_directory(images) if images else None,
        predictor=lambda members, directory: Predictor(members, directory, runtime),
        scans=scans,
    )
    if as_json:
        print_json([asdict(link) for link in links])
    else:
        from rich.text import Text

        out = console()
        for link in links:
            mark = Text("ok ", "green") if link.ok else Text("!! ", "bold red")
            out.print(mark, f"{link.what:<32} {link.found}", soft_wrap=True)
    if not all(link.ok for link in links):
        raise typer.Exit(1)


@app.command(epilog="Example: gitract-cv export runs/paper/ensembles/top3-equal --out bundle")
def export(
    members: Annotated[
        Path, typer.Argument(help="members.json, its directory, or one trial's directory.")
    ],
    out: Annotated[Path, typer.Option(help="New folder.")] = Path("bundle"),
    images: Annotated[
        Path | None, typer.Option(help="Scans, one of which is predicted to measure the time.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    as_json: Json = False,
) -> None:
    """Write all that `predict` needs on a machine without Ray and without a network."""
    from gitract_core.data.slices import SliceIndex
    from gitract_core.device import Runtime
    from gitract_core.processors import usable_processors
    from orchestrator.ensembles.bundle import LIMIT_SECONDS, bundle_json, write_bundle
    from orchestrator.storage.stored_members import local_members

    index = SliceIndex.from_directory(images) if images else None
    made = write_bundle(local_members(members), out, index, Runtime(device, usable_processors()))
    if as_json:
        print_json(bundle_json(made))
        return
    say = console()
    say.print(f"bundle       {made.directory} ({made.size_bytes / 2**20:.1f} MiB)")
    if made.seconds_per_scan:
        fit = int(LIMIT_SECONDS / made.seconds_per_scan)
        say.print(f"a scan       {made.seconds_per_scan:.1f} s on {made.device}", soft_wrap=True)
        say.print(f"nine hours   are enough for {fit} scans there")
    say.print("next         attach it as a data set and run predict.ipynb", style="dim")
