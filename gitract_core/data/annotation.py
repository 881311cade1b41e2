"""What is known of an organ in a slice or a scan: drawn, looked at and not there, or unknown.

Unknown is not empty: a model that finds an organ where nobody looked is neither right nor wrong.
Unknown entries take no part in losses, scores, strata of folds and audits.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class State(IntEnum):
    """The annotation of one organ in one slice or scan."""

    UNKNOWN = 0
    EMPTY = 1
    DRAWN = 2


def slice_states(drawn: np.ndarray, known: np.ndarray | None) -> np.ndarray:
    """States from what is drawn, uint8 (slices, organs).

    Args:
        drawn: boolean (slices, organs).
        known: likewise; None where everything is.
    """
    states = np.where(drawn, State.DRAWN, State.EMPTY).astype(np.uint8)
    if known is not None:
        states[~known] = State.UNKNOWN
    return states


def state_of_scan(states: np.ndarray) -> np.ndarray:
    """States of a scan's organs from those of its slices, uint8 (organs,).

    Drawn if any slice is drawn, empty if all slices are empty, else unknown.

    >>> state_of_scan(np.array([[2, 1, 1, 0], [0, 1, 0, 0]], np.uint8)).tolist()
    [2, 1, 0, 0]
    """
    of_scan = np.full(states.shape[1], State.UNKNOWN, np.uint8)
    of_scan[(states == State.EMPTY).all(axis=0)] = State.EMPTY
    of_scan[(states == State.DRAWN).any(axis=0)] = State.DRAWN
    return of_scan
