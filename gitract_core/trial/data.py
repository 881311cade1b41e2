"""Where a trial finds its data set and its folds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gitract_core.data.cache import CacheSource, SliceCache, open_cache
from gitract_core.data.folds import FoldPlan
from gitract_core.data.gray import CURRENT_GRAY
from gitract_core.errors import RunError
from gitract_core.metrics.score import CONTEST_SCORE
from gitract_core.plugin import Plugin
from gitract_core.spec import TrialSpec
from gitract_core.view import View

_OWN_DATA = "use the run's own data and folds, or start a new run"


@dataclass(frozen=True)
class TrialData:
    """Where a trial finds its data; small, so that it can be sent to any node.

    Attributes:
        directory: the contest folder; a node that sees it under this path can build its cache.
        fingerprint: content hash that it must have, with ``exclude`` left out.
        plan: the folds.
        exclude: scans left out.
        source: gives the cache to a node that does not see the folder.
        repeats: further fold plans, for repeated cross-validation.
        gray: name of the gray scaling of the images.
        patients: which patient a scan is of, see ``layouts.patients``.
        score: by which trials are scored beside the contest's; no part of their keys.
        plugins: those that the user named to the driver; a trial's are executed where it runs.
    """

    directory: Path
    fingerprint: str
    plan: FoldPlan
    exclude: tuple[str, ...] = ()
    source: CacheSource | None = None
    repeats: tuple[FoldPlan, ...] = ()
    gray: str = CURRENT_GRAY
    patients: str | None = None
    score: str = CONTEST_SCORE
    plugins: tuple[Plugin, ...] = ()

    def plan_of(self, spec: TrialSpec) -> FoldPlan:
        """The plan that a trial's fold is of.

        Raises:
            RunError: none of them.
        """
        plans = (self.plan, *self.repeats)
        for plan in plans:
            if plan.fingerprint == spec.folds_fingerprint:
                return plan
        expected = f"fold plan {spec.folds_fingerprint}"
        got = " and ".join(plan.fingerprint for plan in plans)
        raise RunError(f"trial {spec.key}", expected, got, _OWN_DATA)

    def cache(self, view: View | int, *, checked: bool = False) -> SliceCache:
        """The node's cache of one view, built or fetched if need be.

        Args:
            view: what networks see; a bare number is the side of whole slices, pixels.
            checked: compare the digests of all files first; see ``open_cache``.
        """
        return open_cache(
            self.directory,
            self.fingerprint,
            view,
            exclude=self.exclude,
            source=self.source,
            gray=self.gray,
            patients=self.patients,
            checked=checked,
        )

    def check(self, spec: TrialSpec) -> None:
        """Refuse a trial of other data or other folds.

        Raises:
            RunError: a fingerprint differs.
        """
        if spec.data_fingerprint != self.fingerprint:
            expected = f"data set {spec.data_fingerprint}"
            raise RunError(f"trial {spec.key}", expected, self.fingerprint, _OWN_DATA)
        self.plan_of(spec)
