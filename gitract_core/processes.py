"""Child processes that end when their parent ends, however it ends."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time

_PATIENCE_SECONDS = 5.0


def end_with_parent() -> None:
    """End this process when its parent is gone, killed perhaps; called in a child, first of all."""
    threading.Thread(target=_watch, daemon=True).start()


def _watch() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)  # lets it remove what is half-written
    time.sleep(_PATIENCE_SECONDS)
    os._exit(1)
