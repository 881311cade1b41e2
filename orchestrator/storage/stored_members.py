"""Ensembles and trials that are named by their address in an object store."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import NotRequired, TypedDict

from gitract_core.errors import RunError
from gitract_core.files.atomic import read_json
from orchestrator.storage.remote_run import RemoteRun


class _Member(TypedDict):
    weights: str


class _Given(TypedDict):
    file: str


class _Members(TypedDict):
    members: list[_Member]
    given: NotRequired[list[_Given]]


def split_members(path: Path) -> tuple[RemoteRun, str] | None:
    """The run and the folder within it of ``s3://.../RUN/ensembles/NAME`` or ``.../trials/KEY``."""
    whole = RemoteRun.of(path)
    found = whole and re.match(
        r"(.*?)/((?:ensembles|trials)/[^/?]+)(?:/members\.json)?(\?.*)?$", whole.uri
    )
    if not whole or not found:
        return None
    return replace(whole, uri=found[1] + (found[3] or "")), found[2]


def local_members(path: Path) -> Path:
    """Members on this machine: the path itself, or what was fetched from a store.

    Raises:
        RunError, StoreError: see ``RemoteRun.listing``; or the path is no ensemble's or trial's.
    """
    if RemoteRun.of(path) is None:
        return path
    parts = split_members(path)
    if parts is None:
        expected = "RUN/ensembles/NAME or RUN/trials/KEY"
        raise RunError(RemoteRun.of(path), expected, "neither", "pass one of them")
    run, folder = parts
    run.fetch(run.listing(folder))
    manifest = run.directory / folder / "members.json"
    if manifest.is_file():
        said = read_json(manifest, _Members)
        files = [member["weights"] for member in said["members"]]
        files += [one["file"] for one in said.get("given", ())]
        for file in files:
            place = os.path.normpath(f"{folder}/{file}")
            if place.startswith(("trials/", "added/")):
                found = run.listing(os.path.dirname(place))
                run.fetch({name: stamp for name, stamp in found.items() if name == place})
    return run.directory / folder
