"""A bundle for a notebook without a network: weights, manifest, a wheel of this package.

The wheel is made from the installed package itself, so that no build tools are needed, and asks for
no other package: the notebook's own serve, those that the bundle's README names. ``predict`` needs
neither Ray nor a network.
"""

from __future__ import annotations

import base64
import hashlib
import shutil
import time
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import distribution
from pathlib import Path

from gitract_core.data.slices import SliceIndex
from gitract_core.device import Runtime, device_name
from gitract_core.errors import RunError, counted
from gitract_core.files.atomic import read_json, write_json, written_once
from gitract_core.plugin import executed
from gitract_core.prediction.members import Members, Predictor, manifest_path
from orchestrator.ensembles.basis import BUNDLE, basis_of
from orchestrator.sweeps.plugin_copies import FOLDER, write_copies

PACKAGES = ("gitract_core", "search_spaces", "orchestrator")
LIMIT_SECONDS = 9 * 3600
_ENTRY = "[console_scripts]\ngitract-cv = orchestrator.cli:main\n"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # equal packages give equal wheels


@dataclass(frozen=True, slots=True)
class Bundle:
    """A written bundle.

    Attributes:
        directory: where it is.
        size_bytes: of all its files.
        seconds_per_scan: time of one scan with all members on ``device``; None if not measured.
        device: where that was measured.
    """

    directory: Path
    size_bytes: int
    seconds_per_scan: float | None
    device: str


def write_bundle(
    manifest: Path, directory: Path, images: SliceIndex | None, runtime: Runtime
) -> Bundle:
    """Write a bundle of an ensemble, or of one trial.

    Args:
        manifest: ``members.json``, its directory, or a trial's directory.
        directory: new; complete or not there.
        images: a scan of these is predicted to measure the time; None to leave that out.
        runtime: where.

    Raises:
        RunError: the directory exists, the manifest is damaged, or weights have changed.
    """
    if directory.exists():
        raise RunError(directory, "a new folder", "one that exists", "pass another --out")
    manifest = manifest_path(manifest)
    members = Members.load(manifest)
    if members.given:
        expected = "members with weights, which predict any scan"
        got = f"predictions of {members.given[0].name}, of some scans alone"
        raise RunError(manifest, expected, got, "export an ensemble without it")
    source = manifest if manifest.is_dir() else manifest.parent
    predictor = Predictor(members, source, runtime)  # checks every hash
    device = device_name(predictor.device)
    seconds = _seconds_per_scan(predictor, images) if images is not None else None

    rests_on = basis_of(manifest, members).to_json()

    def fill(part: Path) -> None:
        _copy_members(members, source, part)
        write_copies(part, executed(), (member.candidate for member in members.members))
        plugins = sorted(f"{FOLDER}/{file.name}" for file in (part / FOLDER).glob("*.py"))
        wheel = write_wheel(part)
        write_json(part / "predict.ipynb", _notebook(wheel.name, plugins))
        measured = {"seconds_per_scan": seconds, "device": device}
        scans = int(LIMIT_SECONDS / seconds) if seconds else None
        values = {**measured, "scans_in_nine_hours": scans, "rests_on": rests_on}
        write_json(part / BUNDLE, values)
        text = _readme(wheel.name, seconds, device, plugins)
        (part / "README.md").write_text(text, encoding="utf-8")

    written_once(directory, fill)
    size = sum(file.stat().st_size for file in directory.rglob("*") if file.is_file())
    return Bundle(directory, size, seconds, device)


def _copy_members(members: Members, source: Path, part: Path) -> None:
    (part / "weights").mkdir()
    moved = []
    for member in members.members:
        name = f"weights/{member.trial}.safetensors"
        shutil.copyfile(source / member.weights, part / name)
        moved.append(replace(member, weights=name))
    replace(members, members=tuple(moved)).save(part / "members.json")


def _seconds_per_scan(predictor: Predictor, images: SliceIndex) -> float:
    longest = images.table.groupby("scan").size().idxmax()
    start = time.perf_counter()
    predictor.masks(images, str(longest))
    return time.perf_counter() - start


def write_wheel(directory: Path) -> Path:
    """A wheel of the installed package, without requirements; equal packages, equal bytes."""
    metadata = distribution("gitract-cv").metadata
    name, number = "gitract_cv", metadata["Version"]
    info = f"{name}-{number}.dist-info"
    files = {path: content for package in PACKAGES for path, content in _package_files(package)}
    about = f"Metadata-Version: 2.1\nName: gitract-cv\nVersion: {number}\n"
    files[f"{info}/METADATA"] = about.encode()
    files[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    files[f"{info}/entry_points.txt"] = _ENTRY.encode()
    record = "".join(f"{path},sha256={_digest(c)},{len(c)}\n" for path, c in files.items())
    files[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    wheel = directory / f"{name}-{number}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in files.items():
            entry = zipfile.ZipInfo(path, _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    return wheel


def _package_files(package: str) -> list[tuple[str, bytes]]:
    root = Path(__file__).resolve().parents[2] / package
    paths = sorted(p for p in root.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    return [(str(p.relative_to(root.parent)), p.read_bytes()) for p in paths]


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def _notebook(wheel: str, plugins: Sequence[str]) -> dict[str, object]:
    lines = [
        "BUNDLE = '/kaggle/input/gitract-bundle'  # this folder, attached as a data set",
        "IMAGES = '/kaggle/input/uw-madison-gi-tract-image-segmentation/test'",
        "import subprocess, sys",
        "pip = [sys.executable, '-m', 'pip', 'install', '--no-deps', '--no-index']",
        f"subprocess.run([*pip, f'{{BUNDLE}}/{wheel}'], check=True)",
        "predict = ['gitract-cv', 'predict', BUNDLE, '--images', IMAGES]",
        *(f"predict += ['--plugin', f'{{BUNDLE}}/{plugin}']" for plugin in plugins),
        "# The public test folder is empty: then the submission is its header alone.",
        "out = ['--out', 'submission.csv', '--allow-empty']",
        "subprocess.run([*predict, *out], check=True)",
    ]
    code: dict[str, object] = {
        "cell_type": "code",
        "execution_count": None,
        "id": "predict",
        "metadata": {},
        "outputs": [],
        "source": [line + "\n" for line in lines],
    }
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return {
        "cells": [code],
        "metadata": {"kernelspec": kernel},
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def _readme(wheel: str, seconds: float | None, device: str, plugins: Sequence[str]) -> str:
    measured = "The time of a scan was not measured."
    if seconds:
        measured = (
            f"One scan took {seconds:.1f} s with all members on {device}: "
            f"{counted(int(LIMIT_SECONDS / seconds), 'scan')} fit into nine hours there."
        )
    words = "".join(f" --plugin {plugin}" for plugin in plugins)
    told = (
        "The networks are of a user's own: their code is in plugins/, and is executed only because "
        "the command names it.\n"
    )
    return (
        "# An exported ensemble\n\n"
        "Attach this folder as a data set and run `predict.ipynb`, or without a notebook:\n\n"
        f"    pip install --no-deps --no-index {wheel}\n"
        f"    gitract-cv predict . --images SCANS --out submission.csv{words}\n\n"
        "It needs torch, NumPy, pandas, SciPy, OpenCV, safetensors, typer and rich, no Ray and no "
        f"network. {measured}\n" + (told if plugins else "")
    )


def bundle_json(bundle: Bundle) -> dict[str, object]:
    """What ``export --json`` prints."""
    values = read_json(bundle.directory / BUNDLE)
    return {"bundle": str(bundle.directory), "size_bytes": bundle.size_bytes, **values}
