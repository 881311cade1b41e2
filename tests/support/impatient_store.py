"""A client of object stores that asks once, for tests of what follows when nobody answers.

The real one asks for six seconds, and the tool three times with pauses; its own test waits for it.
"""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import parse_qsl

import pyarrow.fs

import orchestrator.storage.object_store

PRELUDE = "from tests.support.impatient_store import install; install()"


class ImpatientFileSystem:
    """In place of ``pyarrow.fs.FileSystem``, for S3."""

    @staticmethod
    def from_uri(uri: str) -> tuple[Any, str]:
        """As the library's."""
        place, _, query = uri.removeprefix("s3://").partition("?")
        told = dict(parse_qsl(query))
        if "endpoint_override" not in told:  # by name alone it would be a host elsewhere
            told["scheme"], _, told["endpoint_override"] = os.environ["AWS_ENDPOINT_URL"].partition(
                "://"
            )
        delayed = told.pop("allow_delayed_open", "false") == "true"
        once = pyarrow.fs.AwsStandardS3RetryStrategy(max_attempts=1)
        options: dict[str, Any] = {**told, "allow_delayed_open": delayed, "retry_strategy": once}
        return pyarrow.fs.S3FileSystem(**options), place.rstrip("/")


def install() -> None:
    """In this process, to its end."""
    pyarrow.fs.FileSystem = ImpatientFileSystem  # type: ignore[misc,assignment]
    orchestrator.storage.object_store._PAUSES_SECONDS = (0.1, 0.2)
