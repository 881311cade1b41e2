"""The memory of a machine's GPUs, asked from the driver by a process that has no GPU itself."""

from __future__ import annotations

import subprocess

_QUERY = ("nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits")
_PATIENCE_SECONDS = 20.0


def driver_memory_sizes() -> list[int]:
    """Bytes of each GPU of this machine; empty where ``nvidia-smi`` is missing or fails."""
    try:
        told = subprocess.run(
            _QUERY, capture_output=True, text=True, check=True, timeout=_PATIENCE_SECONDS
        )
        return [int(line) * 2**20 for line in told.stdout.split()]
    except (OSError, ValueError, subprocess.SubprocessError):
        return []
