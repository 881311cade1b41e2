"""Submissions can be traced to their weights; bundles predict without Ray and without a network."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import distribution, packages_distributions
from pathlib import Path
from typing import Any

import pytest

from gitract_core.data.slices import SliceIndex
from gitract_core.device import Runtime
from gitract_core.errors import RunError
from gitract_core.prediction.members import Members, Predictor
from gitract_core.prediction.provenance import Link, note_of, verify
from gitract_core.trial.run import run_trial
from orchestrator.capacity.trial_slots import Slots
from orchestrator.ensembles.bundle import write_bundle, write_wheel
from orchestrator.ensembles.making import make_ensemble
from orchestrator.ensembles.prediction import ScanRows, write_predictions
from orchestrator.ensembles.selection import Method
from orchestrator.execution.local.executor import LocalExecutor
from orchestrator.results.leaderboard import build_leaderboard
from tests.support.command_line import cli
from tests.support.tiny_sweep import prepare_tiny

CPU = Runtime("cpu", 1)


@pytest.fixture(scope="module")
def made(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ensemble's directory with a submission for the tiny contest's own scans."""
    sweep = prepare_tiny(tiny, tmp_path_factory.mktemp("handing") / "run", {"loss": "bce + dice"})
    for spec in sweep.specs:
        run_trial(spec, sweep.data, sweep.directory.trials / spec.key)
    ensemble = make_ensemble(sweep.directory, build_leaderboard(sweep.directory), Method(1))
    submission = ensemble.directory / "submission.csv"
    images = SliceIndex.from_directory(tiny / "train")
    work = ScanRows(ensemble.directory / "members.json", images, CPU)
    assert not write_predictions(work, submission, LocalExecutor(), Slots(1))
    return ensemble.directory


def check(directory: Path, images: SliceIndex, scans: int = 0) -> list[Link]:
    return verify(
        directory / "submission.csv",
        images=images,
        predictor=lambda members, place: Predictor(members, place, CPU),
        scans=scans,
    )


def broken(links: list[Link]) -> list[str]:
    return [link.what for link in links if not link.ok]


def test_an_untouched_submission_holds_down_to_its_rows(made: Path, tiny: Path) -> None:
    images = SliceIndex.from_directory(tiny / "train")
    links = check(made, images, scans=2)
    assert broken(links) == []
    named = [link.what.split()[0] for link in links]
    assert named == ["submission", "members", "weights", "weights", "images", "scan", "scan"]


def changed(path: Path) -> bytes:
    before = path.read_bytes()
    path.write_bytes(
        before.replace(b"case7", b"case8", 1) if path.suffix == ".csv" else before + b" "
    )
    return before


@pytest.mark.parametrize("what", ["submission", "members", "weights"])
def test_any_change_is_found_where_it_is(made: Path, tiny: Path, what: str) -> None:
    members = Members.load(made)
    path = {
        "submission": made / "submission.csv",
        "members": made / "members.json",
        "weights": made / members.members[0].weights,
    }[what]
    before = changed(path)
    try:
        found = broken(check(made, SliceIndex.from_directory(tiny / "train")))
    finally:
        path.write_bytes(before)
    assert [name.split()[0] for name in found] == [what]


def test_other_images_and_a_missing_note_are_told(made: Path, own_tiny: Path) -> None:
    victim = next((own_tiny / "train" / "case7").rglob("*.png"))
    victim.unlink()
    assert broken(check(made, SliceIndex.from_directory(own_tiny / "train"))) == ["images"]
    lone = own_tiny / "submission.csv"
    lone.write_bytes((made / "submission.csv").read_bytes())
    with pytest.raises(RunError, match=r"submission\.provenance\.json"):
        verify(lone)
    note_of(lone).write_text('{"format": 1}')
    with pytest.raises(RunError, match="a whole record"):
        verify(lone)


def test_a_forged_row_is_found_by_predicting_anew(made: Path, tiny: Path, tmp_path: Path) -> None:
    """Even where someone writes a note that fits the forged file."""
    text = (made / "submission.csv").read_text().splitlines()
    place = next(i for i, line in enumerate(text) if i and line.split(",")[2])
    text[place] = ",".join([*text[place].split(",")[:2], "1 5"])
    forged = made / "forged.csv"
    forged.write_text("\n".join(text) + "\n")
    note: dict[str, Any] = json.loads(note_of(made / "submission.csv").read_text())
    del note["seal"]
    from gitract_core.files.digests import file_sha256

    note_of(forged).write_text(json.dumps({**note, "submission_sha256": file_sha256(forged)}))
    images = SliceIndex.from_directory(tiny / "train")
    links = verify(forged, images=images, predictor=lambda m, d: Predictor(m, d, CPU), scans=99)
    assert [name.split()[0] for name in broken(links)] == ["scan"]


def not_named(readme: str) -> list[str]:
    """Modules of the packages that ours can need and that a bundle's README does not name."""
    named = re.search(r"It needs ([^.]*), no Ray", readme.replace("\n", " "))
    assert named
    wanted = {re.split(r"[^\w-]", text)[0] for text in distribution("gitract-cv").requires or ()}
    without = {name for name in wanted if name.partition("-")[0] not in named[1].lower()}
    modules = packages_distributions().items()
    return [module for module, owners in modules if without & {name.lower() for name in owners}]


def test_a_bundle_predicts_from_its_own_wheel_with_the_packages_that_it_names_alone(
    made: Path, tiny: Path, tmp_path: Path
) -> None:
    images = SliceIndex.from_directory(tiny / "train")
    bundle = write_bundle(made, tmp_path / "bundle", images, CPU)
    assert bundle.seconds_per_scan
    names = sorted(p.name for p in bundle.directory.iterdir())
    assert names[:3] == ["README.md", "bundle.json", "gitract_cv-0.1.0-py3-none-any.whl"]
    site = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--target", site, bundle.directory / names[2]], check=True)
    absent = not_named((bundle.directory / "README.md").read_text())
    assert {"ray", "msgspec", "matplotlib", "yaml", "pyarrow"} <= set(absent)
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({absent}))\n"
        "import gitract_core; print(gitract_core.__file__)\n"
        "from orchestrator.cli import main; main()"
    )
    arguments = ["predict", bundle.directory, "--images", tiny / "train", "--out", "out.csv"]
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments), "--device", "cpu"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert str(site) in done.stdout
    assert (tmp_path / "out.csv").read_bytes() == (made / "submission.csv").read_bytes()


def test_equal_packages_give_equal_wheels_with_every_module(tmp_path: Path) -> None:
    wheels = []
    for name in "ab":
        (tmp_path / name).mkdir()
        wheels.append(write_wheel(tmp_path / name))
    assert wheels[0].read_bytes() == wheels[1].read_bytes()
    inside = zipfile.ZipFile(wheels[0]).namelist()
    root = Path(__file__).parent.parent.parent.parent
    for package in ("gitract_core", "orchestrator", "search_spaces"):
        modules = {str(p.relative_to(root)) for p in (root / package).rglob("*.py")}
        assert modules <= set(inside)
    assert "search_spaces/paper.yaml" in inside
    assert not [name for name in inside if "__pycache__" in name]


def test_a_bundle_is_not_written_over_something(made: Path, tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    with pytest.raises(RunError, match="a new folder"):
        write_bundle(made, tmp_path / "bundle", None, CPU)


def test_the_notebook_is_valid_and_its_code_compiles(made: Path, tmp_path: Path) -> None:
    bundle = write_bundle(made, tmp_path / "bundle", None, CPU)
    notebook = json.loads((bundle.directory / "predict.ipynb").read_text())
    assert (notebook["nbformat"], len(notebook["cells"])) == (4, 1)
    source = "".join(notebook["cells"][0]["source"])
    compile(source, "predict.ipynb", "exec")
    assert len(source.splitlines()) <= 10


@pytest.mark.parametrize("scans", ["none", "one"])
def test_the_notebook_predicts_the_contests_test_folder_empty_or_filled(
    made: Path, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scans: str
) -> None:
    bundle = write_bundle(made, tmp_path / "bundle", None, CPU)
    images = tmp_path / "contest/test"
    images.mkdir(parents=True)
    (images.parent / "sample_submission.csv").write_text("id,class,predicted\n")
    if scans == "one":
        shutil.copytree(tiny / "train/case7", images / "case7")
    notebook = json.loads((bundle.directory / "predict.ipynb").read_text())
    lines = "".join(notebook["cells"][0]["source"]).splitlines()
    at = {"BUNDLE": bundle.directory, "IMAGES": images}
    moved = [f"{n} = {str(at[n])!r}" if (n := line.split(" ")[0]) in at else line for line in lines]
    commands: list[list[str]] = []
    monkeypatch.setattr(subprocess, "run", lambda command, check: commands.append(command))
    exec("\n".join(moved), {})
    install, predict = commands
    monkeypatch.undo()
    assert install[1:3] == ["-m", "pip"]
    assert predict[0] == "gitract-cv"
    cli(tmp_path, *predict[1:])
    rows = (tmp_path / "submission.csv").read_text().splitlines()
    assert rows[0] == "id,class,predicted"
    assert len(rows) == {"none": 1, "one": 1 + 3 * 6}[scans]
    cli(tmp_path, *predict[1:-1], expect=2 if scans == "none" else 0)
