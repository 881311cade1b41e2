"""What loads what: modules that are read by commands without training load no heavy library.

The direction of imports itself is held by import-linter (``pyproject.toml``).
"""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib

import pytest

from tests.support.pages import ROOT

HEAVY = ("torch", "ray")
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"][
    "contracts"
]


def loaded(module: str) -> set[str]:
    """The heavy libraries that a fresh process holds after importing a module."""
    code = f"import sys, {module}; print(*({set(HEAVY)!r} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "module",
    [
        "orchestrator",
        "orchestrator.cli",
        "orchestrator.execution.executor",
        "orchestrator.results.status",
        "orchestrator.report.terminal",
        "orchestrator.storage.opening",
        "gitract_core.processors",
    ],
)
def test_what_reads_runs_loads_neither_torch_nor_ray(module: str) -> None:
    assert loaded(module) == set()


def test_the_check_sees_torch() -> None:
    assert loaded("gitract_core.device") == {"torch"}


@pytest.mark.parametrize("package", ["gitract_core", "orchestrator"])
def test_every_folder_has_its_place_in_the_layers(package: str) -> None:
    (contract,) = (c for c in CONTRACTS if c.get("containers") == [package])
    assert contract["exhaustive"]
    named = {
        name.strip(" ()")
        for layer in contract["layers"]
        for part in layer.split("|")
        for name in part.split(":")
    }
    folders = {p.parent.name for p in (ROOT / package).glob("*/__init__.py")}
    assert folders <= named


def test_no_import_is_exempt() -> None:
    assert not [c["name"] for c in CONTRACTS if c.get("ignore_imports")]
    assert {c["type"] for c in CONTRACTS} == {
        "layers",
        "forbidden",
        "protected",
        "acyclic_siblings",
    }
