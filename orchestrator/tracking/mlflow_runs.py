"""MLflow: an experiment a run directory, a parent run a candidate, a child run each of its folds.

Runs are found again by the tag ``gitract.key``, and a child's epochs are counted on the server, so
that the same sweep given again goes on where it was. Only MLflow's client is needed here; its
telemetry stays off.
"""

from __future__ import annotations

import logging
import os
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitract_core.errors import in_utf8
from gitract_core.results.trial_result import EpochRecord
from gitract_core.spec import Candidate, TrialSpec
from orchestrator.tracking.tracker import TrackedRun

if TYPE_CHECKING:
    from mlflow.entities import Metric

_KEY, _PARENT, _EPOCHS = "gitract.key", "mlflow.parentRunId", "loss"
_BATCH = 1000  # metrics in one request, at most
# A server that does not answer is tried again by us, later, and not for minutes by the client.
_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_ALLOW_FILE_STORE": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}


class MlflowRuns:
    """A run in MLflow.

    Args:
        run: what is tracked.
        uri: ``http://host:port``, ``sqlite:///file`` or a folder.
    """

    def __init__(self, run: TrackedRun, uri: str) -> None:
        for name, value in _SETTINGS.items():
            os.environ.setdefault(name, value)
        from mlflow.tracking import MlflowClient

        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.ERROR)
        self.run = run
        if uri.startswith("sqlite:"):
            _make_whole(uri)
        self.client = MlflowClient(uri if ":" in uri else str(Path(uri).resolve()))
        self.experiment = self._experiment(in_utf8(run.directory.path.resolve().name))
        self.runs = dict(self._existing())  # key of candidate or trial -> run
        self.told: dict[str, int] = {}  # key of a trial -> epochs that stand there
        self.states: dict[str, str] = {}  # run -> status

    def update(self, spec: TrialSpec) -> None:
        """Send the epochs that are new; the scores and the end, once there are such."""
        scores = self.run.final_scores(spec)
        epochs = self.run.epochs(spec)
        failure = self.run.directory.failure(spec)
        if not (epochs or scores or failure):
            return
        parent = self._parent(spec.candidate)
        run = self._child(spec, parent)
        if self._told(spec, run) > len(epochs):  # the trial began anew: MLflow only ever appends
            self.client.delete_run(run)
            del self.runs[spec.key], self.told[spec.key]
            run = self._child(spec, parent)
        new = epochs[self._told(spec, run) :]
        self._send(run, [metric for record, at in new for metric in _metrics(record, at)])
        self.told[spec.key] = len(epochs)
        if scores:
            self._finish(run, spec, scores)
        elif failure:
            self.client.set_tag(run, "gitract.failure", failure[:500])
        self._set_state(run, "FINISHED" if scores else "FAILED" if failure else "RUNNING")

    def close(self) -> None:
        """Whatever still reads as running was stopped."""
        for run, state in self.states.items():
            if state == "RUNNING":
                self.client.set_terminated(run, "KILLED")

    def _experiment(self, name: str) -> str:
        found = self.client.get_experiment_by_name(name)
        return str(found.experiment_id if found else self.client.create_experiment(name))

    def _existing(self) -> Iterator[tuple[str, str]]:
        token = None
        while True:
            page = self.client.search_runs([self.experiment], max_results=1000, page_token=token)
            yield from ((r.data.tags[_KEY], r.info.run_id) for r in page if _KEY in r.data.tags)
            token = page.token
            if not token:
                return

    def _parent(self, candidate: Candidate) -> str:
        if candidate.key not in self.runs:
            label = self.run.labels[candidate]
            run = self._create(candidate.key, label, {"gitract.kind": "candidate"})
            for name, value in {**self.run.knobs(candidate), "key": candidate.key}.items():
                self.client.log_param(run, name, value)
        run = self.runs[candidate.key]
        if run not in self.states:
            self._set_state(run, "RUNNING")
        return run

    def _child(self, spec: TrialSpec, parent: str) -> str:
        if spec.key not in self.runs:
            tags = {
                _PARENT: parent,
                "gitract.kind": "trial",
                "gitract.fold": self.run.folds[spec.key],
                "gitract.seed": spec.seed,
                "gitract.data_fingerprint": spec.data_fingerprint,
                "gitract.folds_fingerprint": spec.folds_fingerprint,
            }
            label = self.run.labels[spec.candidate]
            self._create(spec.key, f"{label}, fold {self.run.folds[spec.key]}", tags)
        return self.runs[spec.key]

    def _create(self, key: str, name: str, tags: dict[str, Any]) -> str:
        texts = {n: str(value) for n, value in {_KEY: key, **tags}.items()}
        run = self.client.create_run(self.experiment, tags=texts, run_name=name)
        self.runs[key] = str(run.info.run_id)
        return self.runs[key]

    def _told(self, spec: TrialSpec, run: str) -> int:
        if spec.key not in self.told:
            steps = [m.step for m in self.client.get_metric_history(run, _EPOCHS)]
            self.told[spec.key] = max(steps, default=0)
        return self.told[spec.key]

    def _send(self, run: str, metrics: Sequence[Metric]) -> None:
        for start in range(0, len(metrics), _BATCH):
            self.client.log_batch(run, metrics=metrics[start : start + _BATCH])

    def _finish(self, run: str, spec: TrialSpec, scores: dict[str, float]) -> None:
        if self.states.get(run) == "FINISHED":
            return
        if "final_score" not in self.client.get_run(run).data.metrics:
            for name, value in scores.items():
                self.client.log_metric(run, f"final_{name}", value)
        self._sum_up(spec.candidate)

    def _sum_up(self, candidate: Candidate) -> None:
        """Mean and standard deviation over the folds, once all of them are there."""
        specs = [spec for spec in self.run.specs if spec.candidate == candidate]
        found = [self.run.final_scores(spec) for spec in specs]
        run = self._parent(candidate)
        if not all(found) or self.states.get(run) == "FINISHED":
            return
        if "score_mean" not in self.client.get_run(run).data.metrics:
            for name in self.run.score_names:
                values = [scores[name] for scores in found if name in scores]
                if len(values) == len(specs):
                    self.client.log_metric(run, f"{name}_mean", statistics.fmean(values))
                    sd = statistics.stdev(values) if len(values) > 1 else 0.0
                    self.client.log_metric(run, f"{name}_sd", sd)
        self._set_state(run, "FINISHED")

    def _set_state(self, run: str, state: str) -> None:
        if self.states.get(run) != state:
            self.client.set_tag(run, "gitract.status", state.lower())
            if state == "RUNNING":
                self.client.update_run(run, status=state)
            else:
                self.client.set_terminated(run, state)
            self.states[run] = state


def _make_whole(uri: str) -> None:
    """Make a SQLite file that is not there yet: whole, or not at all.

    MLflow makes its tables one by one for some seconds, and a file in which a kill left only some
    of them is of no use to it ever after.
    """
    from mlflow.tracking import MlflowClient
    from sqlalchemy import make_url

    url = make_url(uri)
    path = Path(url.database or "").absolute()
    if url.database in (None, "", ":memory:") or path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as home:
        made = Path(home) / path.name
        MlflowClient(str(url.set(database=str(made)))).search_experiments(max_results=1)
        with suppress(FileExistsError):  # another sweep was faster
            os.link(made, path)


def _metrics(record: EpochRecord, at: float) -> Iterator[Metric]:
    from mlflow.entities import Metric

    values = asdict(record)
    epoch = values.pop("epoch")
    for name, value in values.items():
        yield Metric(name, value, round(at * 1000), epoch)
