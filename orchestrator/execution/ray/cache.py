"""The driver's cache for nodes that have no data, through Ray's object store."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orchestrator.execution.ray.settings  # noqa: F401

# isort: split
import numpy as np
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from gitract_core.data.cache import cache_root

_PIECE_BYTES = 32 * 2**20


class CacheFeed:
    """A process on the driver's machine that hands out its cache, piece by piece."""

    def __init__(self, root: str) -> None:
        self.root, self.given = Path(root), Counter[str]()

    def sizes(self, name: str) -> dict[str, int]:
        """Bytes of each file of a cache directory."""
        self.given[name] += 1
        return {path.name: path.stat().st_size for path in (self.root / name).iterdir()}

    def piece(self, name: str, file: str, start: int) -> np.ndarray:
        """Bytes of a file from a place on; its only copy lies in the object store."""
        path = self.root / name / file
        return np.fromfile(path, np.uint8, count=_PIECE_BYTES, offset=start)

    def asked(self) -> dict[str, int]:
        """How often each cache was begun to be fetched."""
        return dict(self.given)


@dataclass(frozen=True)
class RayCacheSource:
    """The driver's cache for nodes that have no data: a ``CacheSource`` through Ray's objects.

    Two pieces are on their way at a time, so that a small object store does not overflow; a piece
    leaves the store as soon as it is on the node's disk.
    """

    feed: Any

    def fetch(self, name: str, part: Path) -> None:
        """Copy the files of the driver's cache directory ``name`` into ``part``."""
        sizes: dict[str, int] = ray.get(self.feed.sizes.remote(name))
        for file, size in sizes.items():
            starts = range(0, size, _PIECE_BYTES)
            waiting = deque(self._ask(name, file, start) for start in starts[:2])
            with (part / file).open("wb") as out:
                for ahead in (*starts[2:], None, None)[: len(starts)]:
                    out.write(ray.get(waiting.popleft()).data)
                    if ahead is not None:
                        waiting.append(self._ask(name, file, ahead))

    def _ask(self, name: str, file: str, start: int) -> Any:
        return self.feed.piece.remote(name, file, start)


def start_feed() -> Any:
    """A feed of this driver's cache, on its machine; ``ray.kill`` ends it."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    feed = ray.remote(CacheFeed).options(num_cpus=0, scheduling_strategy=here, max_restarts=2)
    return feed.remote(str(cache_root().resolve()))
