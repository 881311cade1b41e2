"""The key ``search`` of a search space."""

from __future__ import annotations

from pathlib import Path

import pytest

from gitract_core.errors import SpaceError
from search_spaces import load_space


def write(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "space.yaml"
    file.write_text(text)
    return file


def test_lists_and_distributions_are_searched(tmp_path: Path) -> None:
    text = """
search: {method: tpe, samples: 30}
loss: [bce, dice]
optimizer: {learning_rate: {loguniform: [1e-4, 1e-2]}, batch_size: {randint: [8, 16]}}
network: {depth: {choice: [3, 4]}}
"""
    found = load_space(write(tmp_path, text))
    assert found.search
    assert found.search.total == 30
    assert len(found.candidates) == 10
    kinds = {d.name: d.kind for d in found.search.dimensions}
    assert kinds == {
        "loss": "choice",
        "optimizer.learning_rate": "loguniform",
        "optimizer.batch_size": "randint",
        "network.depth": "choice",
    }
    assert set(found.search.inside(found.candidates)) == set(found.candidates)


def test_random_search_draws_lists_as_well(tmp_path: Path) -> None:
    text = "search: {method: random, samples: 7}\nloss: [bce, dice]\nnetwork: {depth: [2, 3, 4]}"
    found = load_space(write(tmp_path, text))
    assert found.search is None
    assert len(found.candidates) == 6, "all that there are"


RATE = "optimizer: {learning_rate: {loguniform: [1e-4, 1e-2]}}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"search: {{method: tpo, samples: 3}}\n{RATE}", "did you mean 'tpe'"),
        (f"search: {{method: tpe, sample: 3}}\n{RATE}", "did you mean 'samples'"),
        (f"search: {{method: tpe}}\n{RATE}", "method and samples, got no samples"),
        (f"search: {{samples: 3}}\n{RATE}", "method and samples, got no method"),
        (f"search: tpe\n{RATE}", "method and samples, got 'tpe'"),
        (f"search:\n{RATE}", "method and samples, got None"),
        (f"search: {{method: [tpe], samples: 3}}\n{RATE}", "a known method"),
        (f"search: {{method: tpe, samples: 0}}\n{RATE}", "samples: expected a whole number"),
        (f"search: {{method: tpe, samples: many}}\n{RATE}", "samples: expected a whole number"),
        (f"serch: {{method: tpe, samples: 3}}\n{RATE}", "did you mean 'search'"),
        (f"samples: 3\nsearch: {{method: tpe, samples: 3}}\n{RATE}", "no samples beside it"),
        (f"search: {{method: tpe, samples: 3}}\nvariants: [{{loss: bce}}]\n{RATE}", "no variants"),
        ("search: {method: tpe, samples: 3}\nloss: bce", "a knob to search"),
        ("search: {method: tpe, samples: 3}\ninput: {size: {randint: [32, 64]}}", "list of sizes"),
        ("search: {method: tpe, samples: 3}\nnetwork: {depth: [3, 12]}", "expected 1 to 7, got 12"),
        (
            "search: {method: tpe, samples: 3}\noptimizer.learning_rate: {uniform: [0, 1]}",
            "above 0",
        ),
        ("search: {method: tpe, samples: 3}\nnetwork: {depth: {uniform: [1, 3]}}", "depth.*whole"),
        ("search: {method: tpe, samples: 3}\nloss: {choice: bce}", "a list of values, got 'bce'"),
        (
            "search: {method: tpe, samples: 3}\noptimizer.batch_size: {randint: [9, 3]}",
            "low, high. in whole numbers",
        ),
    ],
)
def test_faulty_searches_are_explained(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SpaceError, match=rf"space\.yaml.*{message}"):
        load_space(write(tmp_path, text))
