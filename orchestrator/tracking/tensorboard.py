"""TensorBoard's event files, ``RUN/tensorboard/<candidate>/fold<k>/``.

A sweep writes the file of each trial that it runs anew from ``history.csv``, with TensorBoard's own
mark of a restart, so that no step stands there twice, also for a TensorBoard that is open. Files of
trials that were finished before are left alone.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.summary import hparams, scalar

from gitract_core.results.trial_result import EpochRecord
from gitract_core.spec import TrialSpec
from orchestrator.tracking.tracker import TrackedRun

FOLDER = "tensorboard"
_PATTERN = "events.out.tfevents.*"


class TensorBoardFiles:
    """One event file a trial; open only while there is something to write."""

    def __init__(self, run: TrackedRun) -> None:
        self.run = run
        self.files: dict[str, _EventFile] = {}

    def update(self, spec: TrialSpec) -> None:
        """Write the epochs that are new, and the scores once the trial is finished."""
        scores = self.run.final_scores(spec)  # first: who is finished has all its epochs
        epochs = self.run.epochs(spec)
        file = self.files.get(spec.key)
        if not epochs or (file is None and self._is_written(spec)):
            return
        if file is None or file.told > len(epochs):  # a trial that began anew
            if file:
                file.close()
            knobs, names = self.run.knobs(spec.candidate), self.run.score_names
            file = _EventFile(self._folder(spec), knobs, names)
            self.files[spec.key] = file
        file.add(epochs)
        if scores:
            file.end(*epochs[-1], scores)

    def close(self) -> None:
        """Close the files."""
        for file in self.files.values():
            file.close()

    def _folder(self, spec: TrialSpec) -> Path:
        """A later sweep may label a candidate differently; its folder stays."""
        home, ending = self.run.directory.path / FOLDER, f" {spec.candidate.key[:6]}"
        label = re.sub(r"[^\w.+*=,() -]", "_", self.run.labels[spec.candidate])[:80].strip(" .")
        found = sorted(home.glob(f"*{ending}"))
        return (
            found[0] if found else home / f"{label}{ending}"
        ) / f"fold{self.run.folds[spec.key]}"

    def _is_written(self, spec: TrialSpec) -> bool:
        """Whether a file was written after the trial was finished."""
        result = self.run.directory.trial(spec).result
        if not result.is_file():
            return False
        finished = result.stat().st_mtime
        return any(f.stat().st_mtime >= finished for f in self._folder(spec).glob(_PATTERN))


class _EventFile:
    """An event file that is being written; ``told`` epochs stand in it."""

    def __init__(self, folder: Path, knobs: dict[str, Any], scores: Iterable[str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob(_PATTERN):
            old.unlink()
        self.told, self.open = 0, True
        self.writer = EventsWriter(str(folder / "events"), f".{time.time_ns()}")
        restart = SessionLog(status=SessionLog.START)
        self.writer.write_event(Event(wall_time=time.time(), step=1, session_log=restart))
        plain = {k: v if isinstance(v, bool | int | float) else str(v) for k, v in knobs.items()}
        metrics = dict.fromkeys(f"final/{name}" for name in scores)
        *begin, self.session_end = hparams(plain, metrics)
        for summary in begin:
            self.writer.write_event(Event(wall_time=time.time(), summary=summary))

    def add(self, epochs: Sequence[tuple[EpochRecord, float]]) -> None:
        """Write those epochs that do not stand there yet."""
        for record, at in epochs[self.told :]:
            values = asdict(record)
            self._write(values.pop("epoch"), at, values)
            self.told = record.epoch
        if self.open:
            self.writer.flush()

    def end(self, record: EpochRecord, at: float, scores: dict[str, float]) -> None:
        """Write the final scores and close the file."""
        if self.open:
            self._write(record.epoch, at, {f"final/{name}": v for name, v in scores.items()})
            self.writer.write_event(Event(wall_time=at, summary=self.session_end))
            self.close()

    def close(self) -> None:
        if self.open:
            self.open = False
            self.writer.close()

    def _write(self, step: int, at: float, values: dict[str, float]) -> None:
        told = {name: value for name, value in values.items() if math.isfinite(value)}
        for name, value in told.items():  # of others the library warns, without saying which
            self.writer.write_event(Event(wall_time=at, step=step, summary=scalar(name, value)))
