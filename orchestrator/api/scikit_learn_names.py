"""Names of columns as scikit-learn's ``cv_results_`` has them."""

from __future__ import annotations

from typing import Any

_SCIKIT_LEARN_NAMES = {
    "rank": "rank_test_score",
    "score": "mean_test_score",
    "score_sd": "std_test_score",
}


def as_scikit_learn(row: dict[str, Any]) -> dict[str, Any]:
    """A row of the leaderboard, its columns named as in ``cv_results_``."""
    renamed = {}
    for name, value in row.items():
        if name.startswith("knob."):
            new = f"param_{name.removeprefix('knob.')}"
        elif name.startswith("fold") and name.endswith("_score"):
            new = f"split{name[len('fold') : -len('_score')]}_test_score"
        else:
            new = _SCIKIT_LEARN_NAMES.get(name, name)
        renamed[new] = value
    return renamed
