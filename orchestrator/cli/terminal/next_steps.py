"""The command that comes next, spelled so that it works for the run as it stands."""

from __future__ import annotations

import itertools
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
    words = ["gitract-cv", "ensemble", run.storage.name, "--top", top, *_plugins_of(command)]
    return shlex.join(words)


def export_of(ensemble: Path, command: str = "") -> str:
    """Makes a bundle of an ensemble, in a new folder.

    Args:
        ensemble: its folder.
        command: that made it; its plugins are needed again.
    """
    out = ["--out", f"bundle-{ensemble.name}"] if Path("bundle").exists() else []
    return shlex.join(["gitract-cv", "export", str(ensemble), *out, *_plugins_of(command)])


def _plugins_of(command: str) -> list[str]:
    """The plugins that a command names, as options."""
    words = shlex.split(command)
    apart = [f for word, f in itertools.pairwise(words) if word == "--plugin"]
    joined = [w.partition("=")[2] for w in words if w.startswith("--plugin=")]
    return [word for file in (*apart, *joined) for word in ("--plugin", file)]
