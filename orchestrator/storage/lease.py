"""The lease of a run in an object store, which has no locks: one sweep at a time.

A *lease*, an object that a sweep renews while it runs, keeps a second sweep out. It is asked for,
written and read again; two sweeps that start within the same second could both pass.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from gitract_core.errors import RunError
from orchestrator.storage.object_store import ObjectStore
from orchestrator.storage.run_storage import StoreError

LEASE = "sweep.lease.json"
_RENEW_SECONDS, _LEASE_SECONDS, _SETTLE_SECONDS = 20.0, 90.0, 1.0
_ORPHANS_SECONDS = 8.0  # workers of a killed sweep end within these, and store nothing after


@contextmanager
def lease(run: ObjectStore) -> Iterator[None]:
    """Hold the run alone.

    Raises:
        RunError: another sweep holds it.
    """
    mine = {"host": socket.gethostname(), "pid": os.getpid(), "token": uuid.uuid4().hex}
    with suppress(OSError):
        mine["pids"] = os.readlink("/proc/self/ns/pid")  # containers may share the host's name
    _refuse_second(run, mine)
    stop = threading.Event()
    run.write_text(LEASE, json.dumps(mine))
    stop.wait(_SETTLE_SECONDS)
    if _lease(run)[0].get("token") != mine["token"]:
        raise _held(run, _lease(run)[0], "wait for it to end")

    def renew() -> None:
        while not stop.wait(_RENEW_SECONDS):
            with suppress(StoreError, RunError):
                if _is_ours(run, mine):
                    run.write_text(LEASE, json.dumps(mine))

    thread = threading.Thread(target=renew, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        with suppress(StoreError, RunError):
            if _is_ours(run, mine):
                run.delete(LEASE, patient=False)


def _is_ours(run: ObjectStore, mine: dict[str, Any]) -> bool:
    """Whether nobody took the run while this machine slept, or could not reach the store."""
    try:
        return bool(json.loads(run.read_text(LEASE, patient=False)).get("token") == mine["token"])
    except (FileNotFoundError, ValueError):
        return True


def _refuse_second(run: ObjectStore, mine: dict[str, Any]) -> None:
    lease, age = _lease(run)
    if not lease or age > _LEASE_SECONDS:
        return
    here = all(lease.get(n, mine.get(n)) == mine.get(n) for n in ("host", "pids"))
    if here and not _lives(int(lease.get("pid", 0))):
        time.sleep(_ORPHANS_SECONDS)
        return
    left = _LEASE_SECONDS - age
    raise _held(run, lease, f"wait for it to end; if it was killed, wait {left:.0f} s")


def _held(run: ObjectStore, lease: dict[str, Any], remedy: str) -> RunError:
    got = f"the one of process {lease.get('pid')} on {lease.get('host')}"
    return RunError(run.uri, "no other sweep into this run", got, remedy)


def _lease(run: ObjectStore) -> tuple[dict[str, Any], float]:
    """What the lease says, and its age in seconds by the store's own clock."""
    try:
        lease = json.loads(run.read_text(LEASE))
    except (FileNotFoundError, ValueError):
        return {}, 0.0
    run.write_text(f"{LEASE}.clock", "")
    stamps = run.listing()
    run.delete(f"{LEASE}.clock")
    written, now = (stamps.get(name, (0, 0))[1] for name in (LEASE, f"{LEASE}.clock"))
    return dict(lease), (now - written) / 1e9


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return process > 0
