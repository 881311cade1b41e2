"""Connects to a Ray cluster or starts a session, lists its machines, and disconnects."""

from __future__ import annotations

import contextlib
import logging
import signal
from collections.abc import Sequence
from typing import Any

import orchestrator.execution.ray.settings  # noqa: F401

# isort: split
import ray
from ray.exceptions import AuthenticationError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from gitract_core.device import gpu_memory_sizes
from gitract_core.errors import GitractError
from gitract_core.processors import usable_processors
from orchestrator.capacity.gpu_memory import driver_memory_sizes
from orchestrator.capacity.trial_slots import Node
from orchestrator.execution.ray.session_folder import remove_session_folders, session_folder

_OBJECT_STORE_BYTES = 128 * 2**20  # of an own session: its one machine has the data
_PATIENCE_SECONDS = 60.0  # for nodes to say how large their GPUs are
_dashboard = ""


def connect(address: str | None = None) -> list[Node]:
    """Reach a cluster, or start a session of our own on this machine, and say what it has.

    Args:
        address: as ``ray.init`` takes it (``auto``, ``host:port``); None for an own session.

    Raises:
        GitractError: there is no cluster at that address, it does not let us in, or none of its
            machines offers a processor; machines without any are left out.
    """
    global _dashboard
    own, on_sigterm = address is None, signal.getsignal(signal.SIGTERM)
    try:
        session = ray.init(
            address="local" if own else address,
            num_cpus=usable_processors() if own else None,
            include_dashboard=False if own else None,
            object_store_memory=_OBJECT_STORE_BYTES if own else None,
            log_to_driver=False,
            logging_level=logging.ERROR,
            _temp_dir=session_folder() if own else None,
        )
    except AuthenticationError as error:
        got = str(error).partition(". ")[0]
        remedy = "copy ~/.ray/auth_token of the cluster's head here, or unset RAY_AUTH_MODE"
        raise GitractError("RAY_AUTH_MODE", "the cluster's token", got, remedy) from None
    except (ConnectionError, RuntimeError, ValueError) as error:
        got = str(error).partition("\n")[0] or type(error).__name__
        remedy = "start the cluster (ray start --head) or leave --address out"
        raise GitractError("--address", "a Ray cluster", got, remedy) from None
    except OSError as error:
        where, remedy = error.filename or "TMPDIR", "set TMPDIR to a folder with room, or --local"
        got = error.strerror or str(error)
        raise GitractError(where, "a folder for Ray's session", got, remedy) from None
    if callable(on_sigterm):  # Ray has put its own in its place
        with contextlib.suppress(ValueError):  # in another thread than the main one
            signal.signal(signal.SIGTERM, on_sigterm)
    _dashboard = session.dashboard_url or ""
    alive = [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    nodes = _nodes([node for node in alive if node["Resources"].get("CPU", 0) >= 1])
    if not nodes:
        remedy = "add a machine to the cluster, or start it without --num-cpus=0"
        raise GitractError("--address", "a machine that runs trials", "no processors", remedy)
    return nodes


def _nodes(found: Sequence[dict[str, Any]]) -> list[Node]:
    """What some nodes have; others than the driver's are asked how large their GPUs are."""
    own, here = ray.get_runtime_context().get_node_id(), min(gpu_memory_sizes(), default=0)
    asked = {
        node["NodeID"]: _sizes_on(node["NodeID"])
        for node in found
        if node["Resources"].get("GPU", 0) and node["NodeID"] != own
    }
    try:
        sizes = dict(zip(asked, ray.get([*asked.values()], timeout=_PATIENCE_SECONDS), strict=True))
    except RayError:  # a node that does not answer is taken to be like the driver's
        sizes = {}
    return [
        Node(
            int(node["Resources"].get("CPU", 0)),
            int(node["Resources"].get("GPU", 0)),
            min(sizes.get(node["NodeID"]) or [here]),
            node["NodeID"],
        )
        for node in found
    ]


def _sizes_on(node: str) -> Any:
    there = NodeAffinitySchedulingStrategy(node, soft=False)
    ask = ray.remote(driver_memory_sizes).options(num_cpus=0, scheduling_strategy=there)
    return ask.remote()


def dashboard() -> str:
    """The address of the dashboard of the cluster that ``connect`` reached; empty without one."""
    return _dashboard and f"http://{_dashboard}"


def disconnect() -> None:
    """Leave the cluster; an own session ends with all its processes."""
    ray.shutdown()
    remove_session_folders()
