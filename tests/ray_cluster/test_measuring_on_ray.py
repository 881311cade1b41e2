"""Costs are measured on the machines that trials will run on, not where the command is given."""

from __future__ import annotations

import os
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gitract_core.data.slices import SliceIndex
from gitract_core.errors import DataError, GitractError, TrialError
from gitract_core.spec import Candidate
from orchestrator.capacity.gpu_packing import measure_packing
from orchestrator.capacity.measuring import Measured, Place, measure_costs
from orchestrator.capacity.trial_slots import Node, Slots
from orchestrator.cli.app import app
from orchestrator.execution.ray import measuring as ray_measuring
from orchestrator.execution.ray.executor import connect, disconnect
from orchestrator.execution.ray.measuring import on_machine
from tests.support.tiny_contest import write_tiny_contest
from tests.support.tiny_sweep import KNOBS, SPACE

pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    # Ray's cluster for tests leaves pipes and sockets to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of a head without processors, and two machines; one says that it has a GPU."""
    from ray.cluster_utils import Cluster

    common = {"object_store_memory": 100 * 2**20}
    head = {**common, "num_cpus": 0, "include_dashboard": False}
    nodes = Cluster(initialize_head=True, head_node_args=head)
    for name, gpus in (("bare", 0), ("gpu", 1)):
        variables = {**os.environ, "MACHINE": name}
        nodes.add_node(**common, num_cpus=2, num_gpus=gpus, env_vars=variables)
    nodes.wait_for_nodes()
    yield nodes.address
    nodes.shutdown()


@pytest.fixture
def machines(cluster: str) -> Iterator[dict[int, Node]]:
    """The machines by their number of GPUs."""
    yield {node.gpus: node for node in connect(cluster)}
    disconnect()


def seen(*names: str) -> list[str | None]:
    return [os.environ.get(name) for name in names]


def refuse() -> None:
    raise DataError("slice_0007.png", "an image", "none", "restore it")


def vanish() -> None:
    os._exit(9)


def test_work_is_done_on_the_machine_that_is_named(machines: dict[int, Node]) -> None:
    assert "MACHINE" not in os.environ
    assert on_machine(machines[0])(seen, "MACHINE") == ["bare"]
    assert on_machine(machines[1])(seen, "MACHINE", "CUDA_VISIBLE_DEVICES") == ["gpu", "0"]
    with pytest.raises(DataError, match=r"slice_0007\.png: expected an image"):
        on_machine(machines[0])(refuse)
    with pytest.raises(TrialError, match="got one lost"):
        on_machine(machines[0])(vanish)


def test_a_measurement_leaves_no_semaphores() -> None:
    """Its process is killed, and Ray kills what would clean up after that."""

    def work() -> Path:
        knot: list[object] = [get_context("spawn").Barrier(1)]
        knot.append(knot)
        name: str = knot[0]._cond._lock._semlock.name  # type: ignore[attr-defined]
        file = Path(f"/dev/shm/sem.{name.removeprefix('/')}")
        assert file.exists()
        return file

    assert not ray_measuring._Measurer().do(work, (), {}).exists()


def test_a_machine_that_is_taken_is_not_waited_for_without_end(
    machines: dict[int, Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    holder = ray.remote(ray_measuring._Measurer).options(num_gpus=1).remote()
    ray.get(holder.ready.remote())
    with monkeypatch.context() as patch:
        patch.setattr(ray_measuring, "_PATIENCE_SECONDS", 8.0)
        with pytest.raises(GitractError, match="expected a free GPU to measure on, got none"):
            on_machine(machines[1])(seen)
    ray.kill(holder)
    assert on_machine(machines[1])(seen, "MACHINE") == ["gpu"]


def test_a_machine_without_the_data_measures(machines: dict[int, Node], tmp_path: Path) -> None:
    """What it trains on comes along; only the time of building a cache is that of this machine."""
    index = SliceIndex.from_directory(write_tiny_contest(tmp_path / "data"))
    asked: list[str] = []

    def there(work: object, *arguments: object, **named: object) -> object:
        (tmp_path / "data").rename(tmp_path / "gone")
        try:
            asked.append(getattr(work, "__name__", ""))
            return on_machine(machines[0])(work, *arguments, **named)  # type: ignore[arg-type]
        finally:
            (tmp_path / "gone").rename(tmp_path / "data")

    shape = Candidate.from_knobs(KNOBS)
    told: list[Measured] = []
    found = measure_costs(
        [shape],
        index,
        Slots(2),
        side_by_side=2,
        place=there,
        watch=told.append,  # type: ignore[arg-type]
    )
    (so_far,) = told  # of one shape
    assert so_far == found, "what is measured there is told here"
    assert asked == ["_measure_side_by_side"]
    assert found.step(shape).step_seconds > 0
    assert found.scoring(shape).score_seconds > 0
    assert found.cache_seconds > 0
    packing = measure_packing(
        [shape], index, [machines[1]], n_trials=5, place=on_machine(machines[1])
    )
    assert packing.trials is None, "its GPU is only said to be one"
    assert "measuring failed (GitractError: device: expected a CUDA device" in packing.reason


def test_a_plan_for_a_cluster_asks_the_machine_that_will_run_trials(
    cluster: str, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one with a GPU; as it is only said to be one, what the plan needs cannot be measured."""
    asked: list[Node] = []

    def noting(node: Node) -> Place:
        asked.append(node)
        return on_machine(node)

    monkeypatch.setattr(ray_measuring, "on_machine", noting)
    (tmp_path / "space.yaml").write_text(SPACE + "training: {epochs: 2}\n")
    told = ["plan", "--address", cluster, "--data", str(tiny), "--space"]
    done = CliRunner().invoke(app, [*told, str(tmp_path / "space.yaml")])
    assert [node.gpus for node in asked] == [1, 1], "how many share it, and what a step costs"
    assert "trials a GPU by memory alone: measuring failed" in done.stderr
    assert str(done.exception).startswith("device: expected a CUDA device")
