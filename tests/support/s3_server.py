"""A real S3 server on loopback, for runs in an object store."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.waiting import free_port, wait_until


@dataclass
class Server:
    """An S3 server that can be stopped; what it holds is then lost."""

    port: int
    process: subprocess.Popen[bytes]

    def stop(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def start_server(port: int = 0) -> Server:
    tool = shutil.which("moto_server", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if tool is None:
        pytest.skip("moto_server is not installed")
    port = port or free_port()
    quiet = subprocess.DEVNULL
    command = [tool, "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=quiet, stderr=quiet)

    def answers() -> bool:
        assert process.poll() is None, "no server"
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            return False
        return True

    wait_until(answers)
    return Server(port, process)


@contextmanager
def serving(cache: Path) -> Iterator[Server]:
    """A server with a bucket, whose address and keys stand in the environment."""
    started = start_server()
    variables = {
        "AWS_ACCESS_KEY_ID": "somebody",
        "AWS_SECRET_ACCESS_KEY": "hidden",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{started.port}",
        "GITRACT_CACHE": str(cache),
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        make_bucket(started)
        try:
            yield started
        finally:
            started.stop()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with serving(tmp_path / "cache") as started:
        yield started


def system(server: Server) -> Any:
    from pyarrow.fs import S3FileSystem

    where = f"127.0.0.1:{server.port}"
    return S3FileSystem(scheme="http", endpoint_override=where, allow_bucket_creation=True)


def make_bucket(server: Server) -> None:
    system(server).create_dir("bucket")


def names(server: Server, folder: str) -> list[str]:
    from pyarrow.fs import FileSelector

    found = system(server).get_file_info(FileSelector(f"bucket/{folder}", recursive=True))
    return sorted(info.path.removeprefix(f"bucket/{folder}/") for info in found if info.is_file)
