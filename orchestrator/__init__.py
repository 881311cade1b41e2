"""Cross-validation of segmentation settings: sweeps, rankings and ensembles.

``sweep`` trains a search space and gives a ``Run``, ``open_run`` opens one that is there; see
``docs/python.md``. Nothing heavy is imported before one of them is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gitract_core import __version__
    from orchestrator.api.run import Run, open_run
    from orchestrator.api.sweeping import sweep
    from orchestrator.sweeps.events import SweepEvent

__all__ = ["Run", "SweepEvent", "__version__", "open_run", "sweep"]

_HOME = {
    "Run": "orchestrator.api.run",
    "SweepEvent": "orchestrator.sweeps.events",
    "__version__": "gitract_core",
    "open_run": "orchestrator.api.run",
    "sweep": "orchestrator.api.sweeping",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
