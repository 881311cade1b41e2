"""Runs in an object store, through the command line, against a real S3 server on loopback."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest

from gitract_core.errors import RunError
from gitract_core.results.trial_result import TrialResult
from gitract_core.trial.run import run_trial
from orchestrator.capacity.trial_slots import Slots
from orchestrator.execution.executor import Jobs, attempt
from orchestrator.execution.out_of_memory import ToRunAlone
from orchestrator.results.status import read_status
from orchestrator.storage.lease import LEASE, lease
from orchestrator.storage.object_store import opened
from orchestrator.storage.remote_run import RemoteRun
from orchestrator.storage.run_storage import StoreError
from orchestrator.storage.stored_members import local_members, split_members
from orchestrator.sweeps.run_directory import SweepDirectory
from tests.support import impatient_store
from tests.support.faulty_trials import same_but_for_cost
from tests.support.s3_server import Server, names, system
from tests.support.small_device import SmallDevice, device_of
from tests.support.stored_sweeps import (
    ROOT,
    command,
    run,
    started_sweep,
    stored,
    sweep,
    text,
    wait_for,
)
from tests.support.tiny_sweep import prepare_tiny
from tests.support.waiting import free_port
from tests.support.warm import PRELUDE, WarmPopen


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    assert "Traceback" not in done.stderr, done.stderr
    return done.stderr.strip().splitlines()[-1]


# Names


def test_uris_survive_pathlib() -> None:
    found = RemoteRun.of(Path("s3://bucket/runs/a?scheme=http&endpoint_override=127.0.0.1:9"))
    assert found
    assert found.uri == "s3://bucket/runs/a?scheme=http&endpoint_override=127.0.0.1:9"
    assert found.directory.name == "a"
    for local in (None, Path("runs/a"), Path("/s3/a"), Path("c:/a")):
        assert RemoteRun.of(local) is None
    parts = split_members(Path("s3://bucket/runs/a/ensembles/top1-equal/members.json?scheme=http"))
    assert parts == (RemoteRun("s3://bucket/runs/a?scheme=http"), "ensembles/top1-equal")
    with pytest.raises(RunError, match="RUN/ensembles/NAME or RUN/trials/KEY"):
        local_members(Path("s3://bucket/runs/a"))


def test_a_hash_in_a_uri_is_refused() -> None:
    """Clients cut a path off at it: two runs would share one folder."""
    with pytest.raises(RunError, match="write it as %23"):
        RemoteRun("s3://bucket/runs/paper#2").listing()


@pytest.mark.parametrize("uri", ["s3://key:word@bucket/a", "s3://bucket/a?secret_key=word"])
def test_passwords_in_a_uri_are_refused_and_not_repeated(uri: str) -> None:
    with pytest.raises(RunError, match="AWS_SECRET_ACCESS_KEY") as error:
        RemoteRun.of(Path(uri))
    assert "word" not in str(error.value).replace("password", "")


# From one end to the other


@pytest.mark.slow
def test_sweep_report_ensemble_predict_and_another_machine(
    server: Server, tiny: Path, tmp_path: Path
) -> None:
    done = run(*sweep(tiny, tmp_path))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["leaderboard"]
    stored = names(server, "runs/a")
    results = [name for name in stored if name.endswith("result.json")]
    assert len(results) == 4
    assert {"sweep.json", "folds.json", "report/report.html"} <= set(stored)
    assert not [name for name in stored if "checkpoint" in name or "lease" in name]
    mirror = RemoteRun("s3://bucket/runs/a").directory
    assert len([name for name in stored if name.endswith("/trial.log")]) == 4
    for name in stored:
        with system(server).open_input_stream(f"bucket/runs/a/{name}") as stream:
            assert stream.read() == (mirror / name).read_bytes(), name
    assert "hidden" not in (mirror / "sweep.json").read_text()

    other = tmp_path / "another machine"
    again = run(*sweep(tiny, tmp_path), cache=other)
    assert again.returncode == 0, again.stderr
    assert "4 of them are finished already" in again.stderr
    assert json.loads(again.stdout)["leaderboard"] == json.loads(done.stdout)["leaderboard"]

    uri = "s3://bucket/runs/a"
    table = run("report", uri, "--json", cache=tmp_path / "third")
    assert json.loads(table.stdout)["leaderboard"] == json.loads(done.stdout)["leaderboard"]
    state = run("status", uri, "--json", cache=tmp_path / "third")
    verified = run("verify", uri, cache=tmp_path / "third")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert "0 faults" in verified.stdout
    assert json.loads(state.stdout)["counts"] == {"finished": 4}
    rival = ("--name", "a rival", "--predictions", str(tiny / "train.csv"), "--declared", "--json")
    added = run("add", uri, *rival, cache=tmp_path / "third")
    assert json.loads(added.stdout)["score"] == 1.0, added.stderr
    seen = json.loads(run("report", uri, "--json", cache=tmp_path / "fourth").stdout)
    assert seen["leaderboard"][0]["candidate"] == "a rival"
    images = str(tiny / "train")
    made = run("ensemble", uri, "--top", "2", "--images", images, cache=tmp_path / "third")
    assert made.returncode == 0, made.stderr
    assert "left out: a rival: added from another tool, without" in made.stdout
    assert "ensembles/top2-equal/members.json" in names(server, "runs/a")
    out = tmp_path / "masks.csv"
    members = f"{uri}/ensembles/top2-equal"
    where = ("--images", images, "--out", str(out))
    predicted = run("predict", members, *where, cache=tmp_path / "fourth")
    assert predicted.returncode == 0, predicted.stderr
    ours = mirror.parent.parent.parent.parent / "third"
    submission = next(ours.rglob("submission.csv"))
    assert out.read_bytes() == submission.read_bytes()


@pytest.mark.slow
def test_killed_sweep_goes_on_elsewhere_and_ends_alike(
    server: Server, tiny: Path, tmp_path: Path
) -> None:
    epochs = ("--set", "training.epochs=40", "--set", "loss=bce", "--cpus-per-trial", "1")
    begun = started_sweep(sweep(tiny, tmp_path, *epochs), tmp_path / "first")
    wait_for(server, "checkpoint.pt", begun)
    second = run(*sweep(tiny, tmp_path, *epochs), cache=tmp_path / "second")
    assert second.returncode == 2
    assert "expected no other sweep into this run, got the one of process" in last_line(second)
    begun.kill()
    begun.wait()
    done = run(*sweep(tiny, tmp_path, *epochs), cache=tmp_path / "second")
    assert done.returncode == 0, done.stderr
    logs = [text(server, name) for name in names(server, "runs/a") if name.endswith("trial.log")]
    ends = [re.findall(r"^=== (attempt \d|finished)", log, re.M) for log in logs]
    assert ["attempt 1", "attempt 2", "finished"] in ends, "one killed here, gone on with there"
    directory = SweepDirectory(RemoteRun("s3://bucket/runs/a").pull())
    record = directory.record()
    specs = record.specs()
    assert len(specs) == 2
    for spec in specs:
        found = TrialResult.load(directory.trial(spec).result)
        assert found.cost["threads"] == 1, "sums of other threads differ in the last bits"
        alone = run_trial(spec, directory.data(record), tmp_path / spec.key)
        assert same_but_for_cost(found, alone), "as if never interrupted"


@pytest.mark.slow
def test_killed_race_goes_on_elsewhere_with_its_decisions(
    server: Server, tiny: Path, tmp_path: Path
) -> None:
    race = ("--set", "training.epochs=10", "--folds", "3", "--race", "--race-keep", "1")
    begun = started_sweep(sweep(tiny, tmp_path, *race), tmp_path / "first")
    wait_for(server, "racing.json", begun)
    begun.kill()
    begun.wait()
    before = stored(server, "racing.json")["decisions"]
    assert [decision["after_folds"] for decision in before] == [1, 1]
    results = [name for name in names(server, "runs/a") if name.endswith("result.json")]
    dates = {name: stored(server, name)["cost"] for name in results}
    done = run(*sweep(tiny, tmp_path, *race), cache=tmp_path / "second")
    assert done.returncode == 0, done.stderr
    after = stored(server, "racing.json")["decisions"]
    assert after[:2] == before, "times and reasons too"
    assert after[-1]["after_folds"] == 2
    assert {name: stored(server, name)["cost"] for name in results} == dates
    dropped = [line for line in json.loads(done.stdout)["leaderboard"] if "drop" in line["reason"]]
    assert len(dropped) == sum(decision["dropped"] for decision in after)


def test_who_is_to_run_alone_is_known_to_other_machines(
    server: Server, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trial that runs out of memory beside others, then alone, then is looked at elsewhere."""
    store = RemoteRun("s3://bucket/runs/crowded")
    sweep = prepare_tiny(tiny, store.directory, {"training.epochs": 1})
    store.push()
    jobs = Jobs(sweep.pending, sweep.data, store, Slots(2, gpus=0.5))
    spec, name = sweep.specs[0], f"trials/{sweep.specs[0].key}/crowded.json"
    with device_of(SmallDevice(2)):
        (event,) = attempt(spec, jobs)
        assert event.fault == "memory_shared"
        ToRunAlone(jobs).note(event)
        assert name in store.listing()
        ended = [event.kind for event in attempt(spec, jobs.alone())]
    assert ended == ["epoch", "finished"]
    assert name in store.listing(), "not removed with what the trial itself leaves behind"
    monkeypatch.setenv("GITRACT_CACHE", str(tmp_path / "another machine"))
    assert spec.key not in ToRunAlone(jobs)
    store.pull()
    assert spec.key in ToRunAlone(jobs)
    assert read_status(SweepDirectory(store.directory)).trials[0].alone


class Cable:
    """Carries connections to a server, until it is cut."""

    def __init__(self, server: Server) -> None:
        self.server, self.port, self.ends = server, free_port(), list[socket.socket]()
        self.mend()

    def mend(self) -> None:
        self.door = socket.create_server(("127.0.0.1", self.port))
        Thread(target=self._accept, args=(self.door,), daemon=True).start()

    def cut(self) -> None:
        for end in (self.door, *self.ends):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self.ends.clear()

    def _accept(self, door: socket.socket) -> None:
        with suppress(OSError):  # cut
            while True:
                near, far = (
                    door.accept()[0],
                    socket.create_connection(("127.0.0.1", self.server.port)),
                )
                self.ends += [near, far]
                Thread(target=self._carry, args=(near, far), daemon=True).start()
                Thread(target=self._carry, args=(far, near), daemon=True).start()

    @staticmethod
    def _carry(source: socket.socket, drain: socket.socket) -> None:
        with suppress(OSError):
            while piece := source.recv(2**16):
                drain.sendall(piece)
            drain.shutdown(socket.SHUT_WR)


@pytest.mark.slow
def test_lost_server_costs_nothing_that_is_finished(
    server: Server, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut off when one of two trials is finished and stored, the other on its way."""
    cable, cache = Cable(server), tmp_path / "machine"
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{cable.port}")
    flags = ("--set", "training.epochs=6", "--set", "loss=bce", "--retries", "0")
    asked = sweep(tiny, tmp_path, *flags, "--cpus-per-trial", str(os.cpu_count()))
    begun = WarmPopen(
        command(*asked),
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "GITRACT_CACHE": str(cache),
            PRELUDE: impatient_store.PRELUDE,
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(server, "history.csv", begun, count=2)
    cable.cut()
    _, said = begun.communicate(timeout=450)
    assert begun.returncode == 1, said
    assert "Traceback" not in said, said
    last = said.strip().splitlines()[-1]
    assert "s3://bucket/runs/a: expected an answer" in last, said
    assert "the same command goes on" in last
    (failure,) = [json.loads(f.read_text()) for f in cache.rglob("failure.json")]
    assert failure["kind"] == "lost", "of the second trial; the first one is finished"

    def results() -> dict[str, str]:
        found = [name for name in names(server, "runs/a") if name.endswith("result.json")]
        return {name: text(server, name) for name in found}

    before = results()
    assert len(before) == 1
    cable.mend()
    done = run(*asked, cache=cache)
    assert done.returncode == 0, done.stderr
    assert "1 of them is finished already" in done.stderr
    after = results()
    assert len(after) == 2
    assert before.items() <= after.items(), "seconds tell a trial from its repetition"
    cable.cut()


# What is wrong is said in one line


def test_missing_bucket_and_run(server: Server, tiny: Path, tmp_path: Path) -> None:
    done = run(*sweep(tiny, tmp_path, out="s3://nobody/runs/a"))
    assert done.returncode == 2
    assert "s3://nobody/runs/a: expected a bucket nobody, got none" in last_line(done)
    done = run("report", "s3://bucket/runs/none")
    assert done.returncode == 2
    assert "expected a run directory (with sweep.json), got none" in last_line(done)
    done = run("report", "s3://bucket")
    assert done.returncode == 2
    assert "write s3://BUCKET/FOLDER" in last_line(done)


def test_no_server_is_not_taken_for_a_refusal(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names and ports with 403 in them were."""
    server.stop()
    where = f"endpoint_override=127.0.0.1:{server.port}&scheme=http"
    with pytest.raises(StoreError, match=r"expected an answer.*the same command goes on"):
        RemoteRun(f"s3://bucket/run-403-ACCESS_DENIED?{where}").listing(patient=False)
    monkeypatch.setattr("orchestrator.storage.object_store._PAUSES_SECONDS", (0.1, 0.2))
    monkeypatch.setattr("pyarrow.fs.FileSystem", impatient_store.ImpatientFileSystem)
    with pytest.raises(StoreError, match=r"expected an answer.*the same command goes on"):
        RemoteRun(f"s3://bucket-403/run?{where}").check()


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (403, "AccessDenied"),
        (403, "InvalidAccessKeyId"),
        (403, "SignatureDoesNotMatch"),
        (403, "AccountProblem"),
        (401, "Unauthorized"),
        (400, "ExpiredToken"),
    ],
)
def test_a_store_that_refuses_is_asked_once(
    monkeypatch: pytest.MonkeyPatch, status: int, code: str
) -> None:
    class Refusing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            body = f"<?xml version='1.0'?><Error><Code>{code}</Code></Error>".encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    asked: list[str] = []
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "word")
    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as store:
        Thread(target=store.serve_forever, daemon=True).start()
        try:
            where = f"endpoint_override=127.0.0.1:{store.server_port}&scheme=http"
            with pytest.raises(RunError, match=r"expected access.*set AWS_ACCESS_KEY_ID"):
                RemoteRun(f"s3://bucket/run?{where}").listing()
        finally:
            store.shutdown()
    assert len(asked) == 1


def test_objects_are_stored_in_order_and_only_if_changed(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_ = RemoteRun("s3://bucket/runs/b")
    folder = run_.directory / "trials" / "k"
    folder.mkdir(parents=True)
    kinds = ("result.json", "checkpoint.pt", "oof.npz", "history.csv", "best.safetensors")
    for name in (*kinds, ".lock"):
        (folder / name).write_text(name)
    put: list[str] = []
    original = RemoteRun._put

    def noted(self: RemoteRun, name: str) -> None:
        put.append(name.rpartition("/")[2])
        original(self, name)

    monkeypatch.setattr(RemoteRun, "_put", noted)
    run_.push("trials/k")
    assert put == ["oof.npz", "history.csv", "checkpoint.pt", "best.safetensors", "result.json"]
    run_.push("trials/k")
    assert len(put) == 5
    (folder / "history.csv").write_text("longer than before")
    run_.push("trials/k")
    assert put[5:] == ["history.csv"]
    for name in ("folds.json", "sweep.json", "digests.json"):
        (run_.directory / name).write_text(name)
    run_.collect_file("sweep.json")
    assert put[6:] == ["digests.json", "sweep.json"], "whoever reads between the two is served"
    (run_.directory / "digests.json").write_text("longer than before")
    run_.push_rest()
    assert put[8:] == ["digests.json", "folds.json"]


def test_times_of_listings_may_be_finer(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """As some servers tell them: nothing is stored or fetched again for that."""
    run_ = RemoteRun("s3://bucket/runs/fine")
    system_, root = opened(run_.uri)

    class Fine:
        def get_file_info(self, what: Any) -> Any:
            found = system_.get_file_info(what)
            if not isinstance(found, list):
                return found
            kept = ("path", "size", "type")
            finer = [(f, {name: getattr(f, name) for name in kept}) for f in found]
            return [SimpleNamespace(mtime_ns=(f.mtime_ns or 0) + 7_000_000, **v) for f, v in finer]

        def __getattr__(self, name: str) -> Any:
            return getattr(system_, name)

    for module in ("object_store", "remote_run"):
        monkeypatch.setattr(f"orchestrator.storage.{module}.opened", lambda uri: (Fine(), root))
    (run_.directory / "trials").mkdir(parents=True)
    (run_.directory / "trials/a").write_text("a")
    run_.push()
    moved: list[str] = []
    monkeypatch.setattr(RemoteRun, "_put", lambda self, name: moved.append(name))
    monkeypatch.setattr(RemoteRun, "_get", lambda self, name, stamps: moved.append(name))
    run_.push()
    run_.fetch(run_.listing())
    assert moved == []


def test_mirror_follows_the_store(server: Server) -> None:
    run_ = RemoteRun("s3://bucket/runs/c")
    for name in ("sweep.json", "trials/k/result.json", "trials/k/checkpoint.pt"):
        run_.write_text(name, name)
    run_.pull()
    assert (run_.directory / "trials/k/result.json").read_text() == "trials/k/result.json"
    assert not (run_.directory / "trials/k/checkpoint.pt").exists(), "a worker's"
    run_.write_text("sweep.json", "another")
    run_.pull()
    assert (run_.directory / "sweep.json").read_text() == "another"
    run_.delete("sweep.json")
    run_.pull()
    assert not (run_.directory / "trials").exists(), "that run is there no longer"


def test_what_changes_while_it_is_read_is_read_anew(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_ = RemoteRun("s3://bucket/runs/moving")
    grown, gone = "trials/k/history.csv", "trials/k/failure.json"
    for name in ("sweep.json", grown, gone):
        run_.write_text(name, "short")
    listing = RemoteRun.listing

    def then_changed(self: RemoteRun, *arguments: Any, **named: Any) -> Any:
        found = listing(self, *arguments, **named)
        self.write_text(grown, "longer than before")
        self.delete(gone)
        return found

    monkeypatch.setattr(RemoteRun, "listing", then_changed)
    run_.pull()
    assert (run_.directory / grown).read_text() == "longer than before"
    assert not (run_.directory / gone).exists()


def test_a_result_that_is_deleted_in_the_store_stays_deleted(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Also where it was only read: it is not stored again."""
    run_, result = RemoteRun("s3://bucket/runs/less"), "trials/k/result.json"
    for name in ("sweep.json", result):
        run_.write_text(name, name)
    monkeypatch.setenv("GITRACT_CACHE", str(tmp_path / "reader"))
    run_.pull()
    assert (run_.directory / result).is_file()
    run_.delete(result)
    run_.pull()
    run_.push_rest()
    assert not (run_.directory / result).exists()
    assert result not in run_.listing()


def test_damaged_members_in_a_store_are_one_line(server: Server) -> None:
    run_ = RemoteRun("s3://bucket/runs/e")
    for text_, expected in (("{", "expected JSON"), ('{"members": [{}]}', "weights")):
        run_.write_text("ensembles/top1/members.json", text_)
        with pytest.raises(RunError, match=expected):
            local_members(Path("s3://bucket/runs/e/ensembles/top1"))


def test_lease_of_another_container_and_a_lost_one_are_respected(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Containers may share a host's name, and have numbers of processes of their own."""
    run_ = RemoteRun("s3://bucket/runs/f")
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    there = {"host": socket.gethostname(), "pid": dead.pid, "token": "x", "pids": "pid:[1]"}
    run_.write_text(LEASE, json.dumps(there))
    with pytest.raises(RunError, match="no other sweep"), lease(run_):
        pass
    run_.delete(LEASE)
    monkeypatch.setattr("orchestrator.storage.lease._RENEW_SECONDS", 0.05)
    with lease(run_):  # and then this machine sleeps for long
        run_.write_text(LEASE, json.dumps(there))
        time.sleep(0.5)
        assert json.loads(run_.read_text(LEASE)) == there
    assert json.loads(run_.read_text(LEASE)) == there


def test_lease_is_taken_over_from_the_dead_alone(server: Server) -> None:
    run_ = RemoteRun("s3://bucket/runs/d")
    host = socket.gethostname()
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    run_.write_text("sweep.lease.json", json.dumps({"host": host, "pid": dead.pid, "token": "x"}))
    with lease(run_), pytest.raises(RunError, match="no other sweep"), lease(run_):
        pass
    assert "sweep.lease.json" not in run_.listing()
    run_.write_text("sweep.lease.json", json.dumps({"host": "far", "pid": 1, "token": "x"}))
    with pytest.raises(RunError, match=r"process 1 on far; .* wait (90|8\d) s"), lease(run_):
        pass
