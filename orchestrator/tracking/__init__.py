"""Trackers: programs that others watch a sweep with.

A tracker is told *that* a trial went on, and reads *how far* from the trial's own files; those are
the truth, and what it shows can be made again from them. So events may be merged, a server may be
away for a while, and the same command given again adds what is missing and nothing twice.
"""

from orchestrator.tracking.background import Background
from orchestrator.tracking.start import Trackers, begin_tracking, check_trackers
from orchestrator.tracking.tracker import TrackedRun, Tracker

__all__ = ["Background", "TrackedRun", "Tracker", "Trackers", "begin_tracking", "check_trackers"]
