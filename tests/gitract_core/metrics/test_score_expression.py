"""Scores by name: what is read, what is refused, and what a score counts."""

from __future__ import annotations

import numpy as np
import pytest

from gitract_core.errors import GitractError
from gitract_core.metrics.scan_score import ScanScore, score_scan
from gitract_core.metrics.score import COMPETITION, Mixture
from gitract_core.metrics.score_expression import parse_score, parse_terms
from gitract_core.metrics.surfaces.distances import InMillimeters, SurfaceDistances
from gitract_core.organs import CONTEST, Organs

SPACING = (3.0, 1.5, 1.25)


def counted(score: Mixture, prediction: np.ndarray, truth: np.ndarray) -> ScanScore:
    return score_scan(prediction, truth, in_mm=InMillimeters(SPACING, score.needs))


def organs_in_boxes(*, found: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Prediction and truth of three organs: shifted, perfect or missed, nowhere."""
    prediction, truth = np.zeros((2, 3, 6, 12, 12), bool)
    truth[:2, 1:4, 2:7, 2:7] = True
    prediction[0, 1:4, 3:8, 2:7] = True
    prediction[1] = truth[1] & found
    return prediction, truth


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("dice", "dice"),
        (" .4* dice+0.60 *hd95_mm ", "0.4*dice + 0.6*hd95_mm"),
        ("hd95_mm@50mm", "hd95_mm@50mm"),
        ("0.5*surface_dice @ 2.0 mm + 0.5*surface_dice@4mm", None),
        ("1*dice[large_bowel = 3, stomach=2,small_bowel=1]", "dice[large_bowel=3, stomach=2]"),
        ("dice[stomach=1]", "dice"),
        ("0.333333*dice + 0.333333*hd95_mm + 0.333334*surface_dice@1mm", None),
    ],
)
def test_a_score_has_one_spelling(text: str, same: str | None) -> None:
    score = parse_score(text, CONTEST)
    same = same or " ".join(text.split()).replace("2.0 mm", "2mm").replace(" @ ", "@")
    assert score.text == same
    assert parse_score(score.text, CONTEST).text == same
    assert sum(score.weights) == pytest.approx(1, abs=1e-12)


def test_contest_is_the_contests_score() -> None:
    assert parse_score(" contest ", CONTEST) is COMPETITION
    assert COMPETITION.text == "contest"
    assert COMPETITION.needs == ()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "expected a term such as dice, hd95_mm, surface_dice@2mm, got the end"),
        ("0.4*dice +", "got the end"),
        ("dise", "expected a known term, got 'dise'; did you mean 'dice'"),
        ("0.5*dice + 0.5*hd95", "did you mean 'hd95_mm'"),
        ("hausdorff", "use one of: dice, hd95_mm, surface_dice@2mm"),
        ("surface_dice", "expected a tolerance in millimeters, .* write surface_dice@2mm"),
        ("surface_dice@2", "got 'surface_dice@2'; write surface_dice@2mm"),
        ("surface_dice@2cm", "write surface_dice@2mm"),
        ("hd95_mm@0mm", "expected hd95_mm@NUMBERmm, 0 to 10000"),
        ("dice@2mm", "expected dice without '@'"),
        ("0.4*dice + 0.4*hd95_mm", r"got 0.8; write '0.5\*dice \+ 0.5\*hd95_mm'"),
        ("dice + hd95_mm", r"got 2; write '0.5\*dice \+ 0.5\*hd95_mm'"),
        ("dice + dice + dice", "expected each term once, got dice twice"),
        ("0*dice + 1*hd95_mm", "position 3: expected a factor above 0"),
        ("-0.5*dice + 1.5*hd95_mm", "expected a factor above 0, got -0.5"),
        ("dice[stomach]", "expected ORGAN=WEIGHT, a weight above 0, got 'stomach'"),
        ("dice[stomach=0]", "expected ORGAN=WEIGHT, a weight above 0"),
        ("dice[stomach=1, stomach=2]", "expected each organ once"),
        ("0.5*contest + 0.5*dice", "expected contest alone, or terms, got both"),
        ("dice; import os", "expected a term"),
        ("dice" * 200, "at most 500 characters"),
    ],
)
def test_other_texts_are_refused_in_one_line(text: str, complaint: str) -> None:
    with pytest.raises(GitractError, match=complaint) as error:
        parse_terms(text)
    assert str(error.value).startswith("score ")
    assert "\n" not in str(error.value)


def test_organs_are_those_of_the_data() -> None:
    assert parse_terms("dice[stomac=2]")  # not looked up before the data is known
    with pytest.raises(GitractError, match="did you mean 'stomach'"):
        parse_score("dice[stomac=2]", CONTEST)
    assert parse_score("dice[liver=2]", Organs(("liver", "left lung"))).needs == ()
    weighted = parse_score("dice[left lung=2]", Organs(("liver", "left lung")))
    assert weighted.means[0].weights == (1.0, 2.0)


def test_the_name_says_what_the_means_run_over() -> None:
    score = parse_score("0.4*dice[stomach=2] + 0.6*hd95_mm", CONTEST)
    assert score.name == (
        "0.4 volume Dice (stomach x 2) over scans + "
        "0.6 HD95 score (limit the volume's diagonal) over scans"
    )


def test_values_follow_from_the_measured_distances() -> None:
    prediction, truth = organs_in_boxes()
    distance = SurfaceDistances.between(prediction[0], truth[0], SPACING).hausdorff_mm()
    assert distance == 1.5
    diagonal = float(np.linalg.norm(np.array([6, 12, 12]) * SPACING))
    for text, limit in (("hd95_mm", diagonal), ("hd95_mm@50mm", 50.0), ("hd95_mm@1mm", 1.5)):
        score = parse_score(text, CONTEST)
        sums = score.count(counted(score, prediction, truth))
        np.testing.assert_allclose(sums, [[1 - 1.5 / limit, 1], [1, 1], [0, 0]])
    score = parse_score("surface_dice@1mm", CONTEST)
    expected = SurfaceDistances.between(prediction[0], truth[0], SPACING).surface_dice(1.0)
    sums = score.count(counted(score, prediction, truth))
    np.testing.assert_allclose(sums, [[expected, 1], [1, 1], [0, 0]])
    assert 0 < expected < 1


@pytest.mark.parametrize("term", ["dice", "hd95_mm", "hd95_mm@50mm", "surface_dice@2mm"])
def test_a_missed_organ_costs_and_an_absent_one_does_not_count(term: str) -> None:
    score = parse_score(term, CONTEST)
    found, missed = (
        score.count(counted(score, *organs_in_boxes(found=found))) for found in (True, False)
    )
    assert found[:, 1].tolist() == missed[:, 1].tolist() == [1, 1, 0]
    assert (found[1, 0], missed[1, 0]) == (1, 0)
    assert score.of(missed.sum(axis=0)) < score.of(found.sum(axis=0))
    prediction, truth = organs_in_boxes(found=False)
    swapped = score.count(counted(score, truth, prediction))  # found where there is none
    assert swapped[1].tolist() == [0, 1]


@pytest.mark.parametrize("term", ["dice", "hd95_mm", "surface_dice@2mm"])
def test_what_is_not_known_does_not_count(term: str) -> None:
    score, (prediction, truth) = parse_score(term, CONTEST), organs_in_boxes()
    known = np.ones((3, 6), bool)
    known[0, 5] = False
    asked = InMillimeters(SPACING, score.needs)
    sums = score.count(score_scan(prediction, truth, known=known, in_mm=asked))
    assert sums.tolist() == [[0, 0], [1, 1], [0, 0]]


def test_an_organ_that_weighs_more_counts_more_often() -> None:
    plain, heavy = (parse_score(t, CONTEST) for t in ("dice", "dice[large_bowel=3]"))
    prediction, truth = organs_in_boxes()
    scan = counted(plain, prediction, truth)
    sums = plain.count(scan)
    assert float(plain.of(sums.sum(axis=0))) == pytest.approx((0.8 + 1) / 2)
    assert float(heavy.of(heavy.count(scan).sum(axis=0))) == pytest.approx((3 * 0.8 + 1) / 4)
    np.testing.assert_allclose(heavy.of(heavy.count(scan)), plain.of(sums))  # of one organ
    for place in range(3):  # counted organ by organ, as ensembles do
        one = counted(plain, prediction[place : place + 1], truth[place : place + 1])
        found = heavy.of_organ(place).count(one)
        np.testing.assert_array_equal(found[0], heavy.count(scan)[place])


def test_a_scan_that_was_not_measured_is_refused() -> None:
    score = parse_score("hd95_mm", CONTEST)
    with pytest.raises(GitractError, match="hd95_mm of the scan"):
        score.count(score_scan(*organs_in_boxes()))
