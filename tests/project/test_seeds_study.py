"""The study of the demo over seeds: its ratios and widths on made-up runs."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.studies.seeds import Runs, page, ratios, width_ratio


def made_up(sd: float, claimed: float, n_runs: int = 40) -> Runs:
    """Six candidates whose intervals claim a standard error; the last two fail now and then."""
    random = np.random.default_rng(0)
    scores = 0.6 + random.normal(0, sd, (6, n_runs))
    half = 1.959964 * claimed
    marks = np.array([0, 0, 0, 0, 3, 0])
    nothing = np.array([0, 0, 0, 0, 0, n_runs])
    names = tuple(f"candidate {place}" for place in range(6))
    return Runs(names, scores, scores - half, scores + half, marks, nothing)


def test_honest_intervals_have_ratios_of_variance_one() -> None:
    runs = made_up(0.02, 0.02)
    found = ratios(runs.scores, runs.errors)
    assert len(found) == 6 * 40 * 39 / 2
    assert np.mean(np.square(found)) == pytest.approx(1, rel=0.15)
    assert width_ratio(runs, np.ones(6, bool)) == pytest.approx(1, rel=0.1)


@pytest.mark.parametrize(("claimed", "variance", "width"), [(0.01, 4, 0.5), (0.04, 0.25, 2)])
def test_too_narrow_and_too_wide_are_seen(claimed: float, variance: float, width: float) -> None:
    runs = made_up(0.02, claimed)
    assert np.mean(np.square(ratios(runs.scores, runs.errors))) == pytest.approx(variance, rel=0.15)
    assert width_ratio(runs, np.ones(6, bool)) == pytest.approx(width, rel=0.1)


def test_the_page_leaves_out_who_segments_nothing_and_says_what_was_met() -> None:
    text = page(made_up(0.02, 0.01))
    assert "Over 5 candidates that segment something in every run" in text
    assert "Over 4 of them that are never marked as unsteady" in text
    assert "(at most 1: not met)" in text
    assert "(at most 1.5: met)" in text
    assert text.count("| candidate ") == 6 + 1
