"""Commands that predict: ensemble, predict."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from gitract_core.errors import counted
from orchestrator.cli import options
from orchestrator.cli.app import app
from orchestrator.cli.options import Json
from orchestrator.cli.terminal.ensembles import print_ensemble, print_ensemble_json
from orchestrator.cli.terminal.next_steps import export_of
from orchestrator.cli.terminal.screen import console, open_run, print_json, progress_bar

if TYPE_CHECKING:
    from gitract_core.clinic.file_kinds import Kind
    from gitract_core.data.slices import SliceIndex
    from gitract_core.device import Runtime
    from gitract_core.organs import Organs
    from gitract_core.prediction.clinical import PredictedScan
    from gitract_core.prediction.submission import Fault
    from gitract_core.results.trial_result import TrialResult
    from orchestrator.ensembles.basis import Basis

Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
FileFormat = Literal["nifti", "rtstruct"]


_MOST_DOUBTS = 20
_FEW_SCANS = 5  # whose files are listed


@app.command(epilog="Example: gitract-cv ensemble runs/paper --top 3 --images uw-madison/test")
def ensemble(
    run: Annotated[
        Path | None, typer.Argument(help="Run directory; the newest under runs/ if left out.")
    ] = None,
    top: Annotated[
        int, typer.Option(min=1, help="Candidates to average; with greedy weights the steps.")
    ] = 3,
    weights: Annotated[
        Literal["equal", "greedy"], typer.Option(help="Equal, or by greedy selection (Caruana).")
    ] = "equal",
    images: Annotated[
        Path | None, typer.Option(help="Scans to predict; DATA/test if left out.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Submission; RUN/ensembles/NAME/submission.csv.")
    ] = None,
    tune: Annotated[
        bool,
        typer.Option("--tune", help="Choose threshold and post-processing per organ, honestly."),
    ] = False,
    flip: Annotated[
        bool, typer.Option("--flip", help="Try averaging with mirrored slices; kept if it helps.")
    ] = False,
    device: Device = "auto",
    workers: options.Workers = None,
    address: options.PredictOn = None,
    plugins: options.Plugins = None,
    as_json: Json = False,
) -> None:
    """Average the best candidates, measure the average out of fold, and write a submission.

    Without scans to predict (the contest's test set is hidden) there is no submission:
    gitract-cv export makes a bundle that predicts where they are.
    """
    from gitract_core.data.layouts.to_predict import test_folder
    from gitract_core.prediction.submission import Fault
    from orchestrator.api.ensemble import announced_by_report

    _check_target(out or Path("submission.csv"), device)
    options.use_plugins(plugins)
    found = open_run(run)
    test_images = test_folder(found.board.record.data_directory)
    trained = next((r for line in found.board.trained for r in line.finished), None)
    index = _index(images, test_images, trained, asked=out is not None)
    with progress_bar("out-of-fold score") as progress:
        averaged = found.ensemble(top, weights=weights, tune=tune, flip=flip, progress=progress)
    made = averaged.made
    submission = (out or made.directory / "submission.csv") if index else None
    faults = list[Fault]()
    if submission:
        where = _Where(device, workers, address)
        faults = _predict(averaged.manifest, index, submission, where)
    patients = _patients(index) if index else len(found.board.ranked[0].per_case)
    in_report = announced_by_report(made, found.verdict) if len(made.chosen) == 1 else None
    if as_json:
        print_ensemble_json(made, submission, faults, patients, in_report)
        raise typer.Exit(1 if faults else 0)
    print_ensemble(made, patients, in_report)
    if submission:
        _print_submission(submission, index, made.members.organs, faults)
    else:
        said = f"submission  none, for want of scans in {test_images}: "
        following = export_of(made.directory, options.command_line())
        remedy = f"pass --images DIR, or take it to them: {following}"
        console().print(said + remedy, soft_wrap=True)
    if faults:
        raise typer.Exit(1)


@app.command(epilog="Example: gitract-cv predict runs/paper/ensembles/top3-equal --images scans")
def predict(
    members: Annotated[
        Path,
        typer.Argument(
            help="members.json, its directory, one trial's directory, or a run: its best ensemble."
        ),
    ],
    images: Annotated[
        Path,
        typer.Option(
            help="Contest scans; a NIfTI file or a folder of them; a DICOM series or a folder of "
            "series, each in a folder of its own."
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="submission.csv; for NIfTI and RTSTRUCT a folder, predictions."),
    ] = None,
    file_format: Annotated[
        Literal["csv", "nifti", "rtstruct"] | None,
        typer.Option("--format", help="If left out csv for contest scans, else as the images."),
    ] = None,
    allow_empty: Annotated[
        bool,
        typer.Option(
            "--allow-empty",
            help="Write the header alone where the folder holds no scans, as the contest's test "
            "folder before it is filled.",
        ),
    ] = False,
    device: Device = "auto",
    workers: options.Workers = None,
    address: options.PredictOn = None,
    plugins: options.Plugins = None,
    as_json: Json = False,
) -> None:
    """Segment new scans with an ensemble or a single trial; needs no Ray."""
    from gitract_core.clinic.file_kinds import format_of, is_empty, kind_of
    from gitract_core.data.layouts.to_predict import images_below
    from gitract_core.data.slices import SliceIndex
    from gitract_core.device import Runtime
    from gitract_core.prediction.members import Members
    from orchestrator.ensembles.basis import basis_of, find_members

    options.use_plugins(plugins)
    manifest, runtime = find_members(members), Runtime(device, _cores())
    model = Members.load(manifest)  # what is wrong with it is said before images are read
    if manifest.parent.parent == members / "ensembles":
        console(stderr=True).print(f"ensemble {manifest.parent}", soft_wrap=True)
    if allow_empty and file_format in (None, "csv") and images.is_dir() and is_empty(images):
        _write_header(out or Path("submission.csv"), images, as_json=as_json)
        return
    images = images_below(images) if images.is_dir() else images
    kind, basis = kind_of(images), basis_of(manifest, model)
    _print_origin(basis, images)
    wanted = format_of(images, kind, file_format)
    if wanted != "csv":
        folder, written_as = out or Path("predictions"), cast("FileFormat", wanted)
        made = _predict_files(
            manifest,
            runtime,
            images=images,
            kind=kind,
            folder=folder,
            file_format=written_as,
        )
        _print_files(folder, made, model.organs, basis, as_json=as_json)
        return
    out = out or Path("submission.csv")
    _check_target(out, device)
    index = SliceIndex.to_predict(images, channels=model.channels, axis=model.axis)
    faults = _predict(manifest, index, out, _Where(device, workers, address))
    if as_json:
        print_json({"submission": str(out), "faults": [str(f) for f in faults]})
    else:
        _print_submission(out, index, model.organs, faults)
    if faults:
        raise typer.Exit(1)


def _write_header(out: Path, images: Path, *, as_json: bool) -> None:
    """A submission for no scans."""
    from gitract_core.prediction.submission import check_name, write_submission

    check_name(out)
    write_submission(out, [])
    if as_json:
        print_json({"submission": str(out), "faults": []})
        return
    console(stderr=True).print(f"warning: no scans below {images}", soft_wrap=True)
    console().print(f"submission  {out} (header alone)", soft_wrap=True)


def _check_target(out: Path, device: str) -> None:
    """What is wrong with ``--out`` or ``--device`` is said before anything is measured."""
    from gitract_core.device import Runtime
    from gitract_core.prediction.submission import check_name

    check_name(out)
    Runtime(device)


def _index(
    images: Path | None, otherwise: Path, trained: TrialResult | None, *, asked: bool
) -> SliceIndex | None:
    """What to predict; None if there is nothing, and no submission was asked for."""
    from gitract_core.data.slices import SliceIndex
    from gitract_core.errors import RunError

    if images or (otherwise.is_dir() and any(otherwise.iterdir())):
        folder = images or otherwise
        if trained is None:
            return SliceIndex.to_predict(folder)
        return SliceIndex.to_predict(folder, channels=trained.channels, axis=trained.axis)
    if asked:
        raise RunError(otherwise, "scans to predict", "none", "pass --images DIR")
    return None


@dataclass(frozen=True)
class _Where:
    """Where scans are predicted: ``--device``, ``--workers``, ``--address``."""

    device: str
    workers: int | None
    address: str | None


def _predict(manifest: Path, index: Any, out: Path, where: _Where) -> list[Fault]:
    from orchestrator.api.ensemble import write_submission

    _print_doubts(index)
    with progress_bar("prediction") as progress:
        faults = write_submission(
            manifest,
            index,
            out,
            device=where.device,
            workers=where.workers,
            address=where.address,
            say=console(stderr=True),
            progress=progress,
        )
    return list(faults)


def _print_doubts(index: SliceIndex) -> None:
    """What makes masks of contest scans doubtful, to stderr."""
    from gitract_core.data.scan_table_faults import scan_doubts

    lines = [
        f"warning: {scan}: {doubt}"
        for scan in index.scans
        for doubt in scan_doubts(index.root, index.rows_of_scan(scan))
    ]
    more = len(lines) - _MOST_DOUBTS
    for line in lines[:_MOST_DOUBTS] + [f"warning: {more} more such lines"] * (more > 0):
        console(stderr=True).print(line, soft_wrap=True)


def _predict_files(
    manifest: Path,
    runtime: Runtime,
    *,
    images: Path,
    kind: Kind,
    folder: Path,
    file_format: FileFormat,
) -> list[PredictedScan]:
    """NIfTI or RTSTRUCT of scans; progress goes to stderr."""
    from gitract_core.optional_packages import require

    for package in ("nibabel", "pydicom", "contourpy"):
        require(package, "NIfTI and DICOM", "clinic")
    from gitract_core.data.gray import FIRST_GRAY
    from gitract_core.data.sources import find_sources
    from gitract_core.prediction.clinical import check_folder, check_sources, predict_sources
    from gitract_core.prediction.members import Members, Predictor

    check_folder(images, folder)
    members = Members.load(manifest)
    raw = members.gray != FIRST_GRAY
    sources = find_sources(images, kind, raw=raw, channels=members.channels)
    where = manifest if manifest.is_dir() else manifest.parent
    predictor = Predictor(members, where, runtime)
    with progress_bar("reading") as progress:
        checked = check_sources(sources, file_format, progress)
    for line in checked.left_aside:
        console(stderr=True).print(f"warning: {line}", soft_wrap=True)
    with progress_bar("prediction") as progress:
        return predict_sources(predictor, checked.sources, folder, file_format, progress)


def _print_origin(basis: Basis, images: Path) -> None:
    """That networks learned from a phantom, unless the images are one's too."""
    folders = (images, *images.absolute().parents[:3])
    if basis.synthetic and not any((folder / "phantom.json").is_file() for folder in folders):
        said = "warning: these networks learned from synthetic data (a phantom); "
        console(stderr=True).print(said + "their masks of patients mean nothing", soft_wrap=True)


def _print_files(
    folder: Path, made: list[PredictedScan], organs: Organs, basis: Basis, *, as_json: bool
) -> None:
    from dataclasses import asdict

    for scan in made:
        for doubt in scan.doubts:
            text = f"warning: {scan.scan}: {doubt}"
            console(stderr=True).print(text, soft_wrap=True)
    if as_json:
        scans, rests_on = [asdict(scan) for scan in made], basis.to_json()
        print_json({"folder": str(folder), "scans": scans, "rests_on": rests_on})
        return
    out = console()
    for scan in made:
        volumes = zip(organs, scan.volumes_ml, strict=True)
        text = ", ".join(f"{organ} {ml:.0f} ml{_beside(basis, organ)}" for organ, ml in volumes)
        out.print(f"{scan.scan}  {text}", soft_wrap=True)
        for name in scan.files if len(made) <= _FEW_SCANS else ():
            out.print(f"  {folder / name}", style="dim", soft_wrap=True)
    files = sum(len(scan.files) for scan in made)
    numbers = f"{counted(files, 'file')} of {counted(len(made), 'scan')}"
    out.print(f"predictions  {folder} ({numbers}, predictions.json)", soft_wrap=True)
    if any(value is not None for value in basis.dice.values()):
        said = "in brackets: mean Dice over slices of the organ, on patients held out in training"
        out.print(said, style="dim", soft_wrap=True)


def _beside(basis: Basis, organ: str) -> str:
    """An organ's out-of-fold Dice, to stand behind its volume."""
    dice = basis.dice.get(organ)
    return "" if dice is None else f" (Dice {dice:.2f})".replace("0.", ".", 1)


def _print_submission(path: Path, index: Any, organs: Organs, faults: list[Fault]) -> None:
    out = console()
    if not faults:
        n = len(index.table)
        size = f"{counted(n, 'slice')}, {counted(len(organs) * n, 'row')}"
        out.print(f"submission  {path} ({size}, checked: in order)")
        return
    out.print(f"submission  {path} has {counted(len(faults), 'fault')}:", style="bold red")
    for fault in faults[:20]:
        out.print(f"  {fault}")


def _patients(index: Any) -> int:
    from gitract_core.data.slices import case_of_scan

    return len(set(case_of_scan(index).values()))


def _cores() -> int:
    from gitract_core.processors import usable_processors

    return usable_processors()
