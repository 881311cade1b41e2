"""deploy/slurm.sh under stand-ins for the commands of Slurm and Ray, which note their arguments."""

from __future__ import annotations

import re
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.deploy_pages import SLURM, ray_parses, tool
from tests.support.waiting import LONG_SECONDS, wait_until

FAKE = """#!/usr/bin/env bash
printf '%s\\0' "$(basename "$0")" "$@" >> "$FAKES/calls"; printf '\\n' >> "$FAKES/calls"
"""


@pytest.fixture
def slurm(tmp_path: Path) -> dict[str, str]:
    """An environment with stand-ins for Slurm's and Ray's commands, which note their arguments."""
    folder = tmp_path / "venv" / "bin"
    folder.mkdir(parents=True)
    (tmp_path / "home" / ".ray").mkdir(parents=True)
    (tmp_path / "home" / ".ray" / "auth_token").write_text("token")
    more = {
        "scontrol": '[[ $1 == show ]] && printf "node1\\nnode2\\n"\nexit 0\n',
        "srun": 'env > "$FAKES/environment"\n'
        "while [[ $1 != -- ]]; do shift; done; shift\n"  # the rest is what Ray's command runs
        '[[ -n ${LONG:-} ]] || exit "${CODE:-0}"\n'
        '[[ $LONG == starting ]] && { touch "$FAKES/begun"; exec sleep 60; }\n'
        '"$@"\n',
        "ray": "",
        "gitract-cv": 'save() { sleep 0.2; touch "$FAKES/saved"; exit 143; }\n'
        'trap save TERM\ntouch "$FAKES/begun"\nsleep 60 > /dev/null &\nwait\n',
    }
    for name, body in more.items():
        (folder / name).write_text(FAKE + body)
        (folder / name).chmod(0o755)
    return {
        "PATH": f"/usr/bin:/bin:{folder}",
        "FAKES": str(tmp_path),
        "HOME": str(tmp_path / "home"),
        "USER": "reader",
        "GITRACT_VENV": str(folder.parent),
        "SLURM_JOB_ID": "42",
        "SLURM_JOB_NUM_NODES": "2",
        "SLURM_JOB_NODELIST": "node[1-2]",
        "SLURM_CPUS_PER_TASK": "32",
        "SLURM_SUBMIT_DIR": str(tmp_path),
    }


def calls(environment: dict[str, str]) -> list[list[str]]:
    text = (Path(environment["FAKES"]) / "calls").read_text()
    return [line.rstrip("\0").split("\0") for line in text.splitlines()]


def submit(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", SLURM, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=LONG_SECONDS,
        check=False,
    )


ARGUMENTS = ("--data", "/shared/a b", "--space", "paper")


def test_slurm_script_starts_ray_and_the_sweep(slurm: dict[str, str]) -> None:
    done = submit(slurm, *ARGUMENTS)
    assert (done.returncode, done.stderr) == (0, "")
    token, nodes, srun = calls(slurm)
    assert token == ["ray", "get-auth-token", "--generate"]
    assert nodes == ["scontrol", "show", "hostnames", "node[1-2]"]
    own, ray = srun[: srun.index("ray")], srun[srun.index("ray") + 1 :]
    assert {"--nodes=2", "--ntasks-per-node=1", "--cpus-per-task=32"} <= set(own)
    entry = ray.index("--")
    shell, option, _, _, *command = ray[entry + 1 :]
    assert (shell, option) == ("bash", "-c")
    assert command == ["gitract-cv", "sweep", "--address", "node1:6379", *ARGUMENTS]
    assert ray[:5] == ["symmetric-run", "--address", "node1:6379", "--min-nodes", "2"]
    ray_parses(ray)
    ray_parses(["start", "--address=node1:6379", *ray[5:entry]])
    environment = (Path(slurm["FAKES"]) / "environment").read_text().splitlines()
    wanted = {"RAY_AUTH_MODE=token", "RAY_USAGE_STATS_ENABLED=0"}
    assert wanted <= set(environment)
    token_file = Path(slurm["HOME"]) / ".ray" / "auth_token"
    assert token_file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("code", [0, 1, 2])
def test_slurm_script_hands_on_the_exit_code(slurm: dict[str, str], code: int) -> None:
    assert submit({**slurm, "CODE": str(code)}, *ARGUMENTS).returncode == code
    assert [c[1] for c in calls(slurm) if c[0] == "scontrol"] == ["show"]


def test_slurm_script_refuses_one_node(slurm: dict[str, str]) -> None:
    done = submit({**slurm, "SLURM_JOB_NUM_NODES": "1"}, *ARGUMENTS)
    assert done.returncode == 2
    assert "expected 2 nodes or more, got 1" in done.stderr


def signaled(
    environment: dict[str, str], number: signal.Signals, long: str = "yes"
) -> tuple[int, str]:
    """How the script ends that is sent a signal once its sweep runs, and what it says."""
    running = subprocess.Popen(
        ["bash", SLURM, *ARGUMENTS],
        env={**environment, "LONG": long},
        stdout=subprocess.PIPE,
        text=True,
    )
    wait_until((Path(environment["FAKES"]) / "begun").exists)
    running.send_signal(number)
    said, _ = running.communicate(timeout=LONG_SECONDS)
    return running.returncode, said


def test_slurm_script_lets_trials_save_and_queues_itself_again(slurm: dict[str, str]) -> None:
    code, said = signaled(slurm, signal.SIGUSR1)
    assert "then job 42 is queued again" in said
    assert (Path(slurm["FAKES"]) / "saved").exists()
    assert calls(slurm)[-1] == ["scontrol", "requeue", "42"], "once the sweep has ended"
    assert code == 143
    directives = re.findall(r"^#SBATCH (.*)$", SLURM.read_text(), re.MULTILINE)
    assert {"--requeue", "--open-mode=append", "--exclusive"} <= set(directives)
    assert any(d.startswith("--signal=B:USR1@") for d in directives)


def test_slurm_script_hands_sigterm_to_the_sweep(slurm: dict[str, str]) -> None:
    code, _ = signaled(slurm, signal.SIGTERM)
    assert (Path(slurm["FAKES"]) / "saved").exists()
    assert code == 143
    assert not [call for call in calls(slurm) if call[:2] == ["scontrol", "requeue"]]


def test_slurm_script_ends_while_ray_is_starting(slurm: dict[str, str]) -> None:
    code, _ = signaled(slurm, signal.SIGUSR1, long="starting")
    assert calls(slurm)[-1] == ["scontrol", "requeue", "42"]
    assert code == 128 + signal.SIGTERM


def test_slurm_script_by_bash_and_shellcheck() -> None:
    subprocess.run(["bash", "-n", SLURM], check=True)
    done = subprocess.run([tool("shellcheck"), SLURM], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
