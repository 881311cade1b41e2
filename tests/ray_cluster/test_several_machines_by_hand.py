"""docs/clusters.md, "Several machines by hand", followed; and sweeps killed there and elsewhere."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitract_core.results.trial_result import TrialResult, read_history
from gitract_core.trial.run import run_trial
from orchestrator.sweeps.preparation import SweepRequest, prepare
from orchestrator.sweeps.run_lock import is_locked
from search_spaces import load_space
from tests.ray_cluster.by_hand import Home, blocks, substituted
from tests.support.deploy_pages import PAGE, tool
from tests.support.faulty_sweep import SPACE, half_written
from tests.support.faulty_trials import lock_holder, same_but_for_cost
from tests.support.waiting import free_port, wait_until

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(900)]
LEFT_OUT = "case7_day0"


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """Nothing of it is left over."""
    tool("ray")
    tool("gitract-cv")
    ray = Path(tempfile.mkdtemp(prefix="gr"))
    (tmp_path / "home").mkdir()
    home = Home(tmp_path / "home", ray)
    yield home
    home.end()
    shutil.rmtree(ray, ignore_errors=True)
    assert not home.processes()


@pytest.fixture
def page(home: Home, tiny: Path) -> tuple[str, str, str, str]:
    """The section's four blocks: password, head, other machines, sweep."""
    port = free_port()
    small = " --block --node-ip-address=127.0.0.1 --num-cpus=1 --object-store-memory=100000000"
    names = {
        "--port=6379": f"--port={port} --include-dashboard=false{small}",
        "HEAD_ADDRESS:6379": f"127.0.0.1:{port}{small}",
        "/shared/uw-madison": str(tiny),
        "/shared/runs/paper": str(home.home / "run"),
        "--space paper": "--space space.yaml",
        "--exclude faulty": f"--exclude {LEFT_OUT}",
    }
    text = PAGE.read_text()
    assert not [name for name in names if name not in text]
    found = [substituted(block, names) for block in blocks(PAGE, "Several machines by hand")]
    password, head, other, sweep = (
        block.replace("/var/tmp/gitract-cache", str(home.home / f"cache{place}"))
        for place, block in enumerate(found)
    )
    return password, head, other, sweep


def kill_and_go_on(home: Home, begin: str, again: str, *, own_ray: bool) -> str:
    """Kill a sweep of four trials, two at a time, when one is finished; what the next one says."""
    (home.home / "space.yaml").write_text(
        SPACE.replace("loss: bce", "loss: [bce, dice]") + "training: {epochs: 20, patience: 20}\n"
    )
    trials = home.home / "run/trials"
    begun = home.begin(f"exec {begin}")
    wait_until(
        lambda: (
            begun.poll() is not None
            or (list(trials.glob("*/result.json")) and list(trials.glob("*/checkpoint.pt")))
        ),
        300,
    )
    assert begun.poll() is None, begun.communicate()
    holders = [lock_holder(lock) for lock in trials.glob("*/.lock") if is_locked(lock)]
    os.kill(begun.pid, signal.SIGKILL)
    begun.communicate()
    wait_until(lambda: not any(is_locked(lock) for lock in trials.glob("*/.lock")), 60)
    wait_until(lambda: not [h for h in holders if h and Path(f"/proc/{h}").exists()])
    if own_ray:
        wait_until(lambda: not home.processes())
    finished = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in trials.glob("*/result.json")}
    before = {file: read_history(file) for file in trials.glob("*/history.csv")}
    assert 0 < len(finished) < 4
    said = home.run(again).stdout
    assert len(list(trials.glob("*/result.json"))) == 4
    assert finished == {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in finished}
    for file, epochs in before.items():
        after = read_history(file)[: len(epochs)]
        assert after[:-1] == epochs[:-1], "seconds tell an epoch from its repetition"
        # The kill may fall between the history and the checkpoint of an epoch: one is repeated.
        last = [dataclasses.replace(records[-1], seconds=0) for records in (after, epochs)]
        assert last[0] == last[1]
    assert not half_written(home.home / "run")
    return said


def test_killed_sweep_with_a_ray_of_its_own_leaves_nothing_and_goes_on(
    home: Home, tiny: Path
) -> None:
    home.variables["GITRACT_CACHE"] = str(home.home / "cache")
    command = f"gitract-cv sweep --data {tiny} --space space.yaml --out run"
    kill_and_go_on(home, command, command, own_ray=True)
    wait_until(lambda: not home.processes())


def test_the_page_followed_word_by_word_and_a_sweep_that_is_killed_there(
    home: Home, page: tuple[str, str, str, str], tiny: Path, tmp_path: Path
) -> None:
    password, head, other, sweep = page
    home.run(password)
    token = home.home / ".ray/auth_token"
    assert token.stat().st_mode & 0o777 == 0o600
    home.start_node(head)
    home.start_node(other)
    variables, command, _ = sweep.splitlines()
    for name, value in re.findall(r"(\w+)=(\S+)", variables):
        home.variables[name] = value
    said = kill_and_go_on(home, command, sweep, own_ray=False)
    assert "2 trials at a time on Ray, each with 1 CPU" in said, "a processor of each node"
    assert re.search(r"4 trials: 4 finished", said)
    assert "all is done" in said
    logs = "".join(log.read_text() for log in home.home.glob("run/trials/*/trial.log"))
    assert len(set(re.findall(r"pid (\d+)", logs))) >= 2, "both machines took part"
    caches = [home.home / f"cache{place}" for place in (1, 2, 3)]  # of the machines, the command
    assert all(list(cache.glob("*/images.npy")) for cache in caches), "each has its own"
    space = load_space(str(home.home / "space.yaml"))
    here = prepare(SweepRequest(tiny, space, tmp_path / "here", (LEFT_OUT,)))
    assert len(here.specs) == 4
    for spec in here.specs:
        there = TrialResult.load(home.home / "run/trials" / spec.key / "result.json")
        alone = run_trial(spec, here.data, here.directory.trial(spec).directory)
        assert same_but_for_cost(there, alone)
