"""The files under deploy/ and the page about them, each checked by its own tool or schema."""

from __future__ import annotations

import copy
import importlib
import pkgutil
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import typer.main
import yaml

import orchestrator.cli
from tests.support.deploy_pages import DEPLOY, PAGE, ROOT, ray_parses, shell_lines, tool
from tests.support.rayjob_schema import RAYJOB


def constraint(package: str) -> str:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return next(line.partition("==")[2] for line in lines if line.startswith(f"{package}=="))


def read_yaml(name: str) -> Any:
    return yaml.safe_load((DEPLOY / name).read_text())


# Commands that a reader copies


def commands(text: str, program: str) -> list[list[str]]:
    """The arguments that the lines of a text give to a program."""
    found = []
    for line in shell_lines(text):
        words = shlex.split(line)
        calls = [i for i, word in enumerate(words) if Path(word).name == program]
        if calls:  # the last: an image may have the program's name
            arguments = words[calls[-1] + 1 :]
            found.append(arguments[: arguments.index(">")] if ">" in arguments else arguments)
    return found


def console(text: str) -> str:
    """What stands after ``$`` in the consoles of a page."""
    blocks = re.findall(r"```console\n(.*?)```", text, re.DOTALL)
    return "\n".join(line.removeprefix("$ ") for b in blocks for line in shell_lines(b))


def head_comment(name: str) -> str:
    """The commands in the comment that a file under deploy/ begins with."""
    lines = shell_lines((DEPLOY / name).read_text())
    return "\n".join(line.removeprefix("#").strip() for line in lines if line.startswith("#   "))


def our_commands() -> list[list[str]]:
    texts = [console(PAGE.read_text()), read_yaml("kuberay-rayjob.yaml")["spec"]["entrypoint"]]
    texts += [c[-1] for c in commands(head_comment("ray-cluster.yaml"), "ray") if c[0] == "exec"]
    found = [c for text in texts for c in commands(text, "gitract-cv")]
    submitted = [*commands(texts[0], "slurm.sh"), *commands(head_comment("slurm.sh"), "slurm.sh")]
    return found + [["sweep", *arguments] for arguments in submitted]


def test_commands_are_found() -> None:
    named = [c[0] for c in our_commands()]
    assert named.count("sweep") == 8
    assert {"plan", "status"} <= set(named)
    assert len(commands(console(PAGE.read_text()), "ray")) == 3
    assert len(commands(head_comment("ray-cluster.yaml"), "ray")) == 4


def test_our_commands_parse() -> None:
    for module in pkgutil.iter_modules(orchestrator.cli.__path__):
        importlib.import_module(f"orchestrator.cli.{module.name}")
    group = typer.main.get_command(orchestrator.cli.app.app)
    for name, *arguments in our_commands():
        group.commands[name].make_context(name, arguments)


def test_ray_commands_parse() -> None:
    for text in (console(PAGE.read_text()), head_comment("ray-cluster.yaml")):
        for arguments in commands(text, "ray"):
            ray_parses(arguments)


def test_named_options_exist() -> None:
    """Options in running text, too, are ours, Ray's or known to be another tool's."""
    sweep = importlib.import_module("orchestrator.cli.sweep").sweep
    known = {f"--{name.replace('_', '-')}" for name in sweep.__annotations__}
    known |= {"--dashboard-host", "--num-gpus"}  # ray start
    known |= {
        "--build-arg",
        "--signal",
        "--requeue",
        "--exclusive",
        "--partition",
        "--account",
        "--cpus-per-task",
    }
    prose = re.sub(r"```.*?```", "", PAGE.read_text(), flags=re.DOTALL)
    assert set(re.findall(r"--[a-z][a-z-]*", prose)) <= known


def test_named_files_exist() -> None:
    text = PAGE.read_text()
    for name in re.findall(r"deploy/[\w.-]+\w", text):
        assert (ROOT / name).is_file(), name
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert (PAGE.parent / target).is_file(), target
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", h).lower().replace(" ", "-") for h in headings}
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= anchors


# The image


def instructions() -> list[tuple[str, str]]:
    text = (DEPLOY / "Dockerfile").read_text()
    lines = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [(n, rest) for n, _, rest in (line.partition(" ") for line in joined.splitlines())]


def test_image_copies_what_exists_and_what_the_package_needs() -> None:
    sources = [s for name, rest in instructions() if name == "COPY" for s in rest.split()[:-1]]
    assert all((ROOT / source).exists() for source in sources)
    packages = {"gitract_core", "orchestrator", "search_spaces"}
    assert packages | {"pyproject.toml", "README.md", "constraints.txt"} == set(sources)
    ignore = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    assert {line[1:] for line in ignore if line.startswith("!")} == set(sources)


def test_image_is_constrained_and_runs_as_a_user() -> None:
    done = instructions()
    known = {"ARG", "FROM", "RUN", "ENV", "WORKDIR", "COPY", "USER", "CMD"}
    assert {name for name, _ in done} <= known
    installs = [c for n, rest in done if n == "RUN" for c in re.findall(r"pip install[^;]*", rest)]
    assert len(installs) == 2
    assert all("-c constraints.txt" in command for command in installs)
    users = [rest for name, rest in done if name == "USER"]
    assert users == ["1000:1000"], "by number: so Kubernetes can tell that it is not root"
    last_run = max(i for i, (name, _) in enumerate(done) if name == "RUN")
    assert done.index(("USER", users[0])) > last_run
    environment = " ".join(rest for name, rest in done if name == "ENV")
    assert "RAY_USAGE_STATS_ENABLED=0" in environment
    assert "GITRACT_CACHE=/cache" in environment


def test_image_by_hadolint() -> None:
    done = subprocess.run(
        [tool("hadolint"), DEPLOY / "Dockerfile"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


# `ray up`


def prepared_cluster(config: Any) -> Any:
    from ray.autoscaler._private import util  # noqa: TID251 (Ray's own check is what is asked)

    prepared = util.prepare_config(copy.deepcopy(config))
    util.validate_config(prepared)
    return prepared


def test_cluster_file_by_rays_own_check() -> None:
    config = read_yaml("ray-cluster.yaml")
    prepared = prepared_cluster(config)
    assert prepared["max_workers"] == len(config["provider"]["worker_ips"])
    config["auth"]["user"] = config["auth"].pop("ssh_user")
    with pytest.raises(jsonschema.ValidationError):
        prepared_cluster(config)


def test_cluster_file_starts_ray_with_the_token() -> None:
    config = read_yaml("ray-cluster.yaml")
    for key in ("head_start_ray_commands", "worker_start_ray_commands"):
        start = config[key][-1]
        assert "RAY_AUTH_MODE=token" in start
        assert "RAY_USAGE_STATS_ENABLED=0" in start
        assert "dashboard-host" not in start
        ray_parses(shlex.split(start.partition("/bin/ray ")[2]))


# KubeRay


def test_rayjob_has_known_fields_alone() -> None:
    job = read_yaml("kuberay-rayjob.yaml")
    jsonschema.validate(job, RAYJOB)
    worker = job["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]
    worker["minReplica"] = worker.pop("minReplicas")
    with pytest.raises(jsonschema.ValidationError, match="minReplica"):
        jsonschema.validate(job, RAYJOB)


def test_rayjob_resumes_shares_and_is_closed() -> None:
    spec = read_yaml("kuberay-rayjob.yaml")["spec"]
    cluster = spec["rayClusterSpec"]
    assert cluster["rayVersion"] == constraint("ray")
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["headGroupSpec"]["serviceType"] == "ClusterIP"
    assert spec["backoffLimit"] > 0
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    pods = [group["template"]["spec"] for group in groups]
    for pod in pods:
        (container,) = pod["containers"]
        assert pod["securityContext"]["runAsNonRoot"]
        volumes = {v["name"]: v for v in pod["volumes"]}
        mounts = {m["mountPath"]: volumes[m["name"]] for m in container["volumeMounts"]}
        assert mounts["/shared"]["persistentVolumeClaim"] == {"claimName": "gitract-shared"}
        assert "emptyDir" in mounts["/cache"]
        assert container["image"] == "IMAGE"
    gpus = [pod["containers"][0]["resources"]["limits"].get("nvidia.com/gpu", 0) for pod in pods]
    assert gpus[0] == 0
    assert all(gpus[1:])
    words = shlex.split(spec["entrypoint"])
    paths = [words[words.index(option) + 1] for option in ("--data", "--out")]
    assert all(path.startswith("/shared/") for path in paths)
