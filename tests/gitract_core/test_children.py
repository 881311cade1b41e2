"""A killed parent leaves no process behind: workers, and processes that measure."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.waiting import wait_until

_PARENT = """
import multiprocessing, sys, time
from concurrent.futures import ProcessPoolExecutor
from {module} import {name} as enter
from gitract_core.processes import end_with_parent

def pid():
    import os
    return os.getpid()

if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context, enter, {arguments}) as pool:
        print(pool.submit(pid).result(), flush=True)
        time.sleep(60)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "name", "arguments"),
    [
        ("gitract_core.processes", "end_with_parent", "()"),
        ("orchestrator.capacity.process_group", "_enter", "(context.Barrier(1),)"),
    ],
)
def test_children_end_with_a_killed_parent(
    tmp_path: Path, module: str, name: str, arguments: str
) -> None:
    script = tmp_path / "parent.py"
    script.write_text(_PARENT.format(module=module, name=name, arguments=arguments))
    root = str(Path(__file__).parent.parent.parent)
    with subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": root},
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert is_alive(child)
        parent.kill()
    wait_until(lambda: not is_alive(child))


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"  # a zombie has ended; in a container nobody may collect it
