"""What the documentation says is so: its commands run, its links lead somewhere.

Commands of README.md, docs/tutorial.md and every ``--help`` are run in the order of the page: on
the tiny data set in place of the contest's, a small space in place of ``paper``, local workers.
"""

from __future__ import annotations

import importlib.util
import re
import shlex
import shutil
import tomllib
from importlib.metadata import metadata
from pathlib import Path
from types import ModuleType

import nibabel
import numpy as np
import pytest
from typer.core import TyperGroup
from typer.main import get_command

from orchestrator.cli.app import app, fill
from search_spaces import dimensions
from tests.clinic_files import axial_series, block, write_series
from tests.test_command_line import cli
from tests.tiny_contest import write_tiny_contest

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(
    page.relative_to(ROOT)
    for page in ROOT.rglob("*.md")
    if not {".venv", "build"} & {part.partition("-")[0] for part in page.relative_to(ROOT).parts}
)
SPACE = """
folds: 2
loss: [bce, bce + dice, dice]
network: {widths: "4,8", depth: 1}
input: {size: 32, channels: 1}
optimizer: {learning_rate: 0.01, batch_size: 4}
training: {epochs: 2}
"""
SMALLER = {  # of the tutorial's space
    "folds: 5": "folds: 2",
    "epochs: 30}": "epochs: 3}\ninput: {size: 32, channels: 1}",
    "[3e-4, 1e-3]": "[1e-2, 2e-2], batch_size: 4",
    "widths: standard, depth: [4, 5]": 'widths: "4,8", depth: 1',
}
ELSEWHERE = {  # commands that are not run here, and where they are
    "make": "by CI, before the tests",
    "pip install": "by make install; extras by the tests that need them",
    "docker": "not here: tests/test_deploy.py checks the file",
    "ray get-auth-token": "tests/ray_cluster",
    "ray start": "tests/ray_cluster",
    "chmod": "tests/ray_cluster",
    "export": "tests/ray_cluster and tests/test_remote_run.py",
    "sbatch": "tests/test_deploy_slurm.py",
    "python -m tests.fuzz": "its corpus by tests/fuzz",
    "python -m tests.soak": "its short form by tests/test_soak.py",
    "kubectl": "not here: tests/test_deploy.py checks the file",
    "gitract-cv": "tests/ray_cluster and tests/test_remote_run.py",  # docs/clusters.md
}


def commands_of(page: Path) -> list[str]:
    """The lines after ``$`` of all console blocks, without comments."""
    found = []
    for part in re.findall(r"```console\n(.*?)```", (ROOT / page).read_text(), re.DOTALL):
        joined = part.replace("\\\n", " ")
        lines = [line[2:] for line in joined.splitlines() if line.startswith("$ ")]
        found += [re.sub(r"\s+#.*$", "", line).strip() for line in lines]
    return found


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with all that the pages speak of: data set, scans of a clinic, spaces."""
    home = tmp_path
    data = write_tiny_contest(home / "uw-madison", ((30, 0, 36, 36, 6), (31, 0, 36, 36, 6)))
    shutil.copytree(data / "train" / "case7", data / "test" / "case7")
    shutil.copytree(data / "train", home / "scans")
    (home / "paper.yaml").write_text(SPACE)
    (question,) = re.findall(
        r"```yaml\n(.*?)```", (ROOT / "docs/tutorial.md").read_text(), re.DOTALL
    )
    for what, smaller in SMALLER.items():
        assert question.count(what) == 1, what
        question = question.replace(what, smaller)
    (home / "question.yaml").write_text(question)
    (home / "lab").mkdir()
    affine = np.diag([1.5, 1.5, 3.0, 1.0])
    nibabel.save(nibabel.Nifti1Image(block(), affine), home / "lab" / "scan.nii.gz")
    write_series(home / "lab" / "series", axial_series(block()))
    return home


def run(home: Path, command: str) -> None:
    words = shlex.split(command)
    assert words.pop(0) == "gitract-cv"
    if words[0] == "sweep":
        words += ["--local"]
    words = ["paper.yaml" if word == "paper" else word for word in words]
    cli(home, *words)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITRACT_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("page", ["README.md", "docs/tutorial.md"])
def test_commands_of_a_page_run_in_its_order(page: str, home: Path) -> None:
    ours = [c for c in commands_of(Path(page)) if c.startswith("gitract-cv ")]
    assert len(ours) >= 8
    for command in ours:
        run(home, command)


def test_the_example_of_every_command_runs(home: Path) -> None:
    """After README's commands, whose run they refer to."""
    for command in commands_of(Path("README.md"))[2:5]:
        run(home, command)
    made = home / "runs/paper/ensembles/top3-equal"
    shutil.copy(made / "submission.csv", home / "submission.csv")
    shutil.copy(home / "uw-madison/train.csv", home / "truth.csv")
    fill()
    group = get_command(app)
    assert isinstance(group, TyperGroup)
    for name, command in group.commands.items():
        example = (command.epilog or "").removeprefix("Example: ").partition(";")[0]
        assert example.startswith(f"gitract-cv {name}"), name
        if name == "phantom":
            example += " --slices 16"
        if name == "score":  # of the test's scans; the truth is the training's
            example += " --images uw-madison/test"
            rows = (home / "truth.csv").read_text().splitlines()
            kept = [row for row in rows if row.startswith(("id", "case7_"))]
            (home / "truth.csv").write_text("\n".join(kept) + "\n")
        run(home, example)


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_no_command_of_a_page_goes_unmentioned(page: Path) -> None:
    for command in commands_of(page):
        run_here = command.startswith("gitract-cv ") and str(page) in (
            "README.md",
            "docs/tutorial.md",
        )
        assert run_here or page == Path("docs/commands.md") or command.startswith(tuple(ELSEWHERE))


def options() -> dict[str, set[str]]:
    fill()
    group = get_command(app)
    assert isinstance(group, TyperGroup)
    return {
        name: {o for p in command.params for o in (*p.opts, *p.secondary_opts)} | {"--debug"}
        for name, command in group.commands.items()
    }


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_options_that_a_page_names_exist(page: Path) -> None:
    """In code that names a command, its options; in other code, some command's."""
    known = options()
    text = (ROOT / page).read_text()
    for code in (*re.findall(r"(?<!`)`([^`\n]+)`(?!`)", text), *commands_of(page)):
        words = code.split()
        names = [w.rstrip(",.;:") for w in words if re.match(r"--[a-z]", w)]
        if words[:1] == ["gitract-cv"] and words[1:2] and words[1] in known:
            for name in names:
                assert name.partition("=")[0] in known[words[1]], code
        elif words[:1] == ["gitract-cv"]:
            assert len(words) == 1 or words[1] == "[OPTIONS]" or words[1].isupper(), code


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", (ROOT / page).read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (ROOT / page).parent / path if path else ROOT / page
        assert file.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)
            assert anchor in {_anchor(heading) for heading in headings}, target


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_reference", ROOT / "docs/make_reference.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_reference_is_that_of_the_code() -> None:
    for path, text in reference().pages().items():
        assert path.read_text() == text, f"run python docs/make_reference.py for {path.name}"


def test_every_knob_and_distribution_is_explained() -> None:
    for name, _, meaning in reference().knob_rows():
        assert len(meaning) > 5, name
    assert set(dimensions.DISTRIBUTIONS) == set(dimensions._DRAWS)


def test_readme_names_every_command_and_no_other() -> None:
    table = (ROOT / "README.md").read_text().partition("## Commands")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `gitract-cv ([a-z-]+)", table, re.MULTILINE)) == set(options())


def test_dependencies_are_those_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    told = re.findall(r"^\| ([\w\[\]-]+) \| ([\d.]+) \|", _page("dependencies.md"), re.MULTILINE)
    assert [f"{name}>={least}" for name, least in told] == project["dependencies"]


def test_the_installed_licences_allow_redistribution() -> None:
    """Of what is always installed: permissive ones, by the packages' own words."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for requirement in project["dependencies"]:
        about = metadata(re.split(r"[\[>]", requirement)[0])
        classified = [c for c in about.get_all("Classifier") or [] if "License" in c]
        words = " ".join(
            [about.get("License-Expression") or about.get("License") or "", *classified]
        )
        assert re.search(r"Apache|BSD|MIT|Python Software Foundation|matplotlib", words), (
            requirement
        )


def _page(name: str) -> str:
    return (ROOT / "docs" / name).read_text()
