"""A tracker in a thread of its own, so that it can neither fail a sweep nor hold it up."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from gitract_core.spec import TrialSpec
from orchestrator.sweeps.events import SweepEvent
from orchestrator.tracking.tracker import Tracker

AWAY_SECONDS = 30.0  # between attempts to reach a tracker that failed
CLOSING_SECONDS = 20.0


class Background:
    """Tells a tracker which trials went on; what it waits with is at most every trial once.

    A tracker that raises is warned about once, made anew after a while, and told everything again.

    Args:
        name: of the tracker, for the warning.
        make: connects to it; called in the thread.
        specs: the trials; all of them are looked at once at the start.
        warn: takes one line.

    Attributes:
        fault: what it raised last, unless it has taken in everything since.
    """

    def __init__(
        self,
        name: str,
        make: Callable[[], Tracker],
        specs: Sequence[TrialSpec],
        warn: Callable[[str], None],
    ) -> None:
        self.name, self._make, self._warn = name, make, warn
        self._specs = {spec.key: spec for spec in specs}
        self._waiting = dict.fromkeys(self._specs)  # an ordered set
        self._changed = threading.Condition()
        self._closing = self._given_up = False
        self._warned = False
        self.fault: Exception | None = None
        self._thread = threading.Thread(target=self._work, daemon=True, name=f"tracker {name}")
        self._thread.start()

    def __call__(self, event: SweepEvent) -> None:
        """Take note of an event; returns at once."""
        with self._changed:
            self._waiting[event.trial] = None
            self._changed.notify()

    def add(self, specs: Sequence[TrialSpec]) -> None:
        """Further trials of the sweep; their events come later."""
        with self._changed:
            self._specs |= {spec.key: spec for spec in specs}

    def close(self, patience: float = CLOSING_SECONDS) -> None:
        """Let the tracker take in what it has not yet, within so many seconds."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(patience)
        self._given_up = True
        if self._thread.is_alive():
            self._complain(f"still busy after {patience:.0f} s")

    def _work(self) -> None:
        tracker: Tracker | None = None
        while not self._given_up:
            try:
                tracker = tracker or self._make()
                key = self._next()
                if key is None:
                    tracker.close()
                    self.fault = None
                    return
                tracker.update(self._specs[key])
            except Exception as error:  # whatever it is, the sweep goes on
                tracker, self.fault = None, error
                self._complain((str(error).splitlines() or [type(error).__name__])[0])
                if not self._pause():
                    return

    def _next(self) -> str | None:
        """The trial that waits longest; None when the sweep has ended and all are told."""
        with self._changed:
            while not self._waiting and not self._closing:
                self._changed.wait()
            key = next(iter(self._waiting), None)
            if key is not None:
                del self._waiting[key]
            return key

    def _pause(self) -> bool:
        """Wait until it may be worth another attempt; False: the sweep ended, no more of them."""
        until = time.monotonic() + AWAY_SECONDS
        with self._changed:
            self._waiting = dict.fromkeys(self._specs)
            if self._closing:
                return False
            while not self._closing and (left := until - time.monotonic()) > 0:
                self._changed.wait(left)
            return True

    def _complain(self, what: str) -> None:
        if not self._warned:
            self._warned = True
            remedy = "the sweep goes on; the same command sends what is missing"
            self._warn(f"{self.name}: expected a tracker that answers, got {what:.200}; {remedy}")
