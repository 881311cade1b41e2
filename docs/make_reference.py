"""Writes commands.md and knobs.md, the reference, from the code.

    python docs/make_reference.py

``tests/project/test_reference.py`` holds them to the code.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path

from typer.cli import get_docs_for_click
from typer.core import TyperGroup
from typer.main import get_command

from gitract_core.losses import loss_names
from gitract_core.losses.weighted_sum import term_of
from gitract_core.networks import network_names
from gitract_core.spec import Candidate
from orchestrator.cli.app import app
from search_spaces.dimensions import DISTRIBUTIONS

HERE = Path(__file__).parent
MADE = "<!-- made by docs/make_reference.py; do not edit -->"


def commands() -> str:
    """Every command with its options, as ``--help`` says it."""
    command = get_command(app)
    assert isinstance(command, TyperGroup)
    command.commands = dict(sorted(command.commands.items()))  # whoever was imported first
    context = command.make_context("gitract-cv", [], resilient_parsing=True)
    text = get_docs_for_click(obj=command, ctx=context, name="gitract-cv", title="Commands")
    lines = (line.rstrip().replace("\x08", "") for line in text.splitlines())
    return f"{MADE}\n" + "\n".join(lines).rstrip() + "\n"


def knobs() -> str:
    """Every key of a search space, with its default and what it means."""
    lines = [MADE, "# Knobs of a search space", ""]
    lines += ["How they are written: [search_spaces](../search_spaces/README.md).", ""]
    lines += ["| knob | default | meaning |", "|---|---|---|"]
    for name, default, meaning in knob_rows():
        shown = "empty" if default == "" else f"`{default}`"
        lines.append(f"| `{name}` | {shown} | {meaning} |")
    lines += ["", "## Values drawn at random", "", "| distribution | draws |", "|---|---|"]
    lines += [f"| `{name}` | {meaning} |" for name, meaning in DISTRIBUTIONS.items()]
    lines += ["", "## Losses", "", "Terms of a sum such as `bce + 0.5*dice`.", ""]
    lines += ["| term | what |", "|---|---|"]
    lines += [f"| `{name}` | {first_line(term_of(name))} |" for name in loss_names()]
    lines += ["", "## Networks", "", "Values of `network.family`: "]
    lines[-1] += ", ".join(f"`{name}`" for name in network_names())
    lines[-1] += "; of MONAI's, `monai:` and the name of the class, for example `monai:BasicUNet`."
    return "\n".join(lines) + "\n"


def knob_rows() -> Iterator[tuple[str, object, str]]:
    """Dotted name, default and meaning of every knob."""
    default = Candidate()
    about = attributes(Candidate)
    for field in fields(default):
        value = getattr(default, field.name)
        if not is_dataclass(value):
            yield field.name, value, about[field.name]
            continue
        inner = attributes(type(value))
        for knob in fields(value):
            yield f"{field.name}.{knob.name}", getattr(value, knob.name), inner[knob.name]


def attributes(group: type) -> dict[str, str]:
    """What a docstring's ``Attributes`` say, by name, without ReST's double quotes."""
    text = (inspect.getdoc(group) or "").partition("Attributes:\n")[2].partition("\n\n")[0]
    found: dict[str, str] = {}
    for line in text.splitlines():
        start = re.match(r"    ([\w, ]+): (.*)", line)
        names = start[1].split(", ") if start else list(found)[-1:]
        for name in names:
            words = start[2] if start else f"{found[name]} {line.strip()}"
            found[name] = words.replace("``", "`").replace("|", "\\|")
    return found


def first_line(what: object) -> str:
    """The first sentence of a docstring."""
    text = " ".join((inspect.getdoc(what) or "").partition("\n\n")[0].split())
    return text.replace("``", "`").replace("|", "\\|")


def pages() -> dict[Path, str]:
    """The pages and what they should hold."""
    return {HERE / "commands.md": commands(), HERE / "knobs.md": knobs()}


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text)
