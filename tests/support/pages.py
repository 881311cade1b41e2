"""The pages of the documentation, and what can be wrong with one: a list of faults each."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from typer.core import TyperGroup
from typer.main import get_command

from orchestrator.cli.app import app

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = sorted(
    page
    for page in ROOT.rglob("*.md")
    if not any(part.startswith((".", "build")) for part in page.relative_to(ROOT).parts)
)
OF_OTHERS = {  # options that a page names alone, and whose they are
    "--build-arg": "docker",
    "--dashboard-host": "ray start",
    "--keep": "python -m tests.fuzz",
    "--ray": "python -m tests.soak",
    **dict.fromkeys(
        ("--partition", "--account", "--signal", "--requeue", "--exclusive", "--cpus-per-task"),
        "sbatch",
    ),
}


def commands_of(page: Path) -> list[str]:
    """The lines after ``$`` of all console blocks, without comments."""
    found = []
    for part in re.findall(r"```console\n(.*?)```", page.read_text(), re.DOTALL):
        joined = part.replace("\\\n", " ")
        lines = [line[2:] for line in joined.splitlines() if line.startswith("$ ")]
        found += [re.sub(r"\s+#.*$", "", line).strip() for line in lines]
    return found


@cache
def options() -> dict[str, set[str]]:
    """Of every command."""
    group = get_command(app)
    assert isinstance(group, TyperGroup)
    return {
        name: {o for p in command.params for o in (*p.opts, *p.secondary_opts)}
        | {"--debug", "--help"}
        for name, command in group.commands.items()
    }


def unknown_options(page: Path) -> list[str]:
    """Code with an option of ours, or a command, that is none.

    Code that begins with a command has that command's options; with an option, some command's.
    Code that begins with another word is another program's.
    """
    known, faults = options(), []
    for code in (*re.findall(r"(?<!`)`([^`\n]+)`(?!`)", page.read_text()), *commands_of(page)):
        words = code.split()
        is_ours = words[:1] == ["gitract-cv"]
        if is_ours:
            words = words[1:]
        if words[:1] and words[0] in known:
            allowed = known[words[0]]
        elif code.startswith("--"):
            allowed = set(OF_OTHERS).union(*known.values())
        else:
            if is_ours and words and words[0] != "[OPTIONS]" and not words[0].isupper():
                faults.append(code)
            continue
        names = [w.rstrip(",.;:").partition("=")[0] for w in words if re.match(r"--[a-z]", w)]
        if not allowed.issuperset(names):
            faults.append(code)
    return faults


def broken_links(page: Path) -> list[str]:
    """Links to files that are not there, or to headings that their page does not have."""
    faults = []
    for target in re.findall(r"\]\(([^)\s]+)\)", _prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        if not file.exists() or (anchor and anchor not in _anchors(file)):
            faults.append(target)
    return faults


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", _prose(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _prose(page: Path) -> str:
    """Without blocks of code."""
    return re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
