"""The files and the page of deployment, and what reads them."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


DEPLOY = ROOT / "deploy"


PAGE = ROOT / "docs" / "clusters.md"


SLURM = DEPLOY / "slurm.sh"


def tool(name: str) -> str:
    """A tool from the environment of the tests or from the system; the test is skipped without."""
    found = shutil.which(name, path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def shell_lines(text: str) -> list[str]:
    """The lines of a text, those joined that end with a backslash."""
    return re.sub(r"\\\n\s*(?:#\s*)?", " ", text).splitlines()


def ray_parses(arguments: list[str]) -> None:
    from ray.scripts.scripts import cli  # noqa: TID251 (Ray's own parser is what is asked)

    name, *rest = arguments
    cli.commands[name].make_context(name, rest)
