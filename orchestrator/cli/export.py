"""Commands for what leaves the house: verify, export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gitract_core.errors import counted
from orchestrator.cli.app import app
from orchestrator.cli.options import Json, Plugins, use_plugins
from orchestrator.cli.terminal.screen import console, print_json, progress_bar


@app.command(
    epilog="Example: gitract-cv verify runs/paper; or "
    "gitract-cv verify runs/paper/ensembles/top3-equal/submission.csv --images uw-madison/test"
)
def verify(
    path: Annotated[Path, typer.Argument(help="A run, or a submission; its note lies beside it.")],
    images: Annotated[Path | None, typer.Option(help="The scans that it predicts.")] = None,
    scans: Annotated[
        int, typer.Option(min=0, help="Predict so many scans anew and compare; needs --images.")
    ] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    plugins: Plugins = None,
    as_json: Json = False,
) -> None:
    """Compare every file of a run with what was noted when it was written, or trace a submission.

    A submission is traced back to the weights that made it. Exit code 1 where something is damaged,
    missing or exchanged.
    """
    from gitract_core.errors import RunError
    from orchestrator.storage.remote_run import RemoteRun

    use_plugins(plugins)
    if path.is_dir() or RemoteRun.of(path):
        if images or scans:
            raise RunError("--images, --scans", "a submission", "a run", "leave them out")
        _verify_run(path, as_json=as_json)
        return
    if scans and images is None:
        raise RunError("--scans", "--images too", "none", "pass the folder of scans")
    _verify_submission(path, images, scans, device, as_json=as_json)


def _verify_run(path: Path, *, as_json: bool) -> None:
    from orchestrator.api.run import open_run
    from orchestrator.results.verification import verify_run

    run = open_run(path)
    with progress_bar("trials") as progress:
        found = verify_run(run.directory, progress)
    if as_json:
        print_json(found.to_json())
    else:
        out = console()
        for fault in found.faults:
            out.print(f"!! {fault}", style="bold red", soft_wrap=True)
        for old in found.unverified:
            out.print(f"unverified: {old}", style="dim", soft_wrap=True)
        of_those = f", {found.unverified_trials} of them unverified (of an earlier version)"
        trials = counted(found.trials, "finished trial")
        trials += of_those if found.unverified_trials else ""
        out.print(f"{path}: {trials}, {counted(len(found.faults), 'fault')}", soft_wrap=True)
    if not found.ok:
        raise typer.Exit(1)


def _verify_submission(
    submission: Path, images: Path | None, scans: int, device: str, *, as_json: bool
) -> None:
    from dataclasses import asdict

    from gitract_core.data.slices import SliceIndex
    from gitract_core.device import Runtime
    from gitract_core.prediction.members import Predictor
    from gitract_core.prediction.provenance import verify as follow
    from gitract_core.processors import usable_processors

    runtime = Runtime(device, usable_processors())
    links = follow(
        submission,
        images=SliceIndex.to_predict(images) if images else None,
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
        Path,
        typer.Argument(
            help="members.json, its directory, one trial's directory, or a run with ensembles."
        ),
    ],
    out: Annotated[Path, typer.Option(help="New folder.")] = Path("bundle"),
    images: Annotated[
        Path | None, typer.Option(help="Scans, one of which is predicted to measure the time.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    plugins: Plugins = None,
    as_json: Json = False,
) -> None:
    """Write all that `predict` needs on a machine without Ray and without a network."""
    from gitract_core.data.slices import SliceIndex
    from gitract_core.device import Runtime
    from gitract_core.prediction.members import Members
    from gitract_core.processors import usable_processors
    from orchestrator.ensembles.basis import find_members
    from orchestrator.ensembles.bundle import LIMIT_SECONDS, bundle_json, write_bundle

    use_plugins(plugins)
    manifest, index = find_members(members), None
    if images:
        known = Members.load(manifest)
        index = SliceIndex.to_predict(images, channels=known.channels, axis=known.axis)
    made = write_bundle(manifest, out, index, Runtime(device, usable_processors()))
    if as_json:
        print_json(bundle_json(made))
        return
    say = console()
    say.print(f"bundle       {made.directory} ({made.size_bytes / 2**20:.1f} MiB)")
    if made.seconds_per_scan:
        fit = int(LIMIT_SECONDS / made.seconds_per_scan)
        say.print(f"a scan       {made.seconds_per_scan:.1f} s on {made.device}", soft_wrap=True)
        say.print(f"nine hours   are enough for {counted(fit, 'scan')} there")
    say.print("next         attach it as a data set and run predict.ipynb", style="dim")
