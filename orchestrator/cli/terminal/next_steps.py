"""The command that comes next, spelled so that it works for the run as it stands."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.api.run import Run

_TOP = 3  # members that ensembles mostly have


def after_sweep(run: Run, command: str) -> str:
    """An ensemble of the best, as many as there are.

    Where nothing is ranked: the sweep again if it would train something, else nothing.

    Args:
        run: as the sweep left it.
        command: the sweep's own.
    """
    trained = len({line.networks for line in run.board.trained})
    if not trained:
        return "" if all(line.complete for line in run.board.unranked) else command
    top = str(min(_TOP, trained))
    return shlex.join(["gitract-cv", "ensemble", run.storage.name, "--top", top])


def export_of(ensemble: Path) -> str:
    """Makes a bundle of an ensemble, in a new folder."""
    out = ["--out", f"bundle-{ensemble.name}"] if Path("bundle").exists() else []
    return shlex.join(["gitract-cv", "export", str(ensemble), *out])
