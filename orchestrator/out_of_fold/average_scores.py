"""Scores of weighted averages of candidates under post-processing rules, each measured once.

A *bag* says how often each candidate takes part in an average. One pass over the scans measures all
bags and rules that are asked for together, so memory holds one scan at a time; sums by case are
kept, and scores of any set of cases follow from them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from gitract_core.data.volumes import scan_spacing_mm
from gitract_core.knobs import PostprocessKnobs
from gitract_core.metrics.scan_score import score_scan
from gitract_core.metrics.score import COMPETITION, Score
from gitract_core.metrics.surfaces.distances import InMillimeters
from gitract_core.metrics.surfaces.elements import SpacingMm
from gitract_core.prediction.postprocess import organ_mask
from gitract_core.processors import usable_processors
from gitract_core.progress import Progress, silent
from orchestrator.out_of_fold.masks import OofAverage, OofParts, OofScan
from orchestrator.results.candidate_scores import CandidateScores
from orchestrator.statistics.case_sums import organ_rows
from orchestrator.sweeps.run_directory import SweepDirectory

Bag = tuple[int, ...]


class OofMeter:
    """Measures bags of some candidates under some rules.

    Args:
        run: the sweep's directory.
        lines: the candidates, each with all folds; a bag has a number for each.
        rules: the first is used where none is chosen.
        progress: called with (scans done, all scans) in each pass.
        flip: measure predictions averaged with those of mirrored slices.
        score: what is measured; trials' own sums must have its columns.
    """

    def __init__(
        self,
        run: SweepDirectory,
        lines: Sequence[CandidateScores],
        rules: Sequence[PostprocessKnobs],
        progress: Progress = silent,
        *,
        flip: bool = False,
        score: Score = COMPETITION,
    ) -> None:
        self.score = score
        self.lines, self.rules, self.progress = tuple(lines), tuple(rules), progress
        self.source = OofAverage(run, self.lines, flip=flip)
        found = list(self.source.plan.fold_of_case)  # patients in natural order
        self.cases = np.array(found)
        self._places = {case: place for place, case in enumerate(found)}
        self.folds = np.array([self.source.plan.fold_of_case[case] for case in found])
        self._known: dict[tuple[Bag, int], np.ndarray] = {}
        for place, line in enumerate(self.lines):
            of_training = not flip and len(self.source.plans) == 1  # measured already
            if of_training and line.candidate.postprocess == self.rules[0]:
                bag = tuple(int(place == other) for other in range(len(self.lines)))
                self._known[bag, 0] = self._trained(line)

    def _trained(self, line: CandidateScores) -> np.ndarray:
        columns, found = self.score.columns, line.per_case
        return np.array(
            [organ_rows(f"{line.label}, case {c}", found[str(c)], columns) for c in self.cases]
        )  # (cases, organs, columns)

    def sums(self, bag: Bag, rule: int = 0) -> np.ndarray:
        """Sums (cases, organs, columns) of a bag under one rule."""
        self.measure([(bag, rule)])
        return self._known[lowest_terms(bag), rule]

    def rule_sums(self, bag: Bag) -> np.ndarray:
        """Sums (rules, cases, organs, columns) of a bag under every rule."""
        self.measure((bag, rule) for rule in range(len(self.rules)))
        return np.stack([self._known[lowest_terms(bag), r] for r in range(len(self.rules))])

    def measure(self, wanted: Iterable[tuple[Bag, int]]) -> None:
        """Measure what is not known yet, in one pass over the scans.

        Raises:
            RunError: a trial's probabilities are missing or damaged.
        """
        by_bag: dict[Bag, list[int]] = {}
        for bag, rule in dict.fromkeys((lowest_terms(bag), rule) for bag, rule in wanted):
            if (bag, rule) not in self._known:
                by_bag.setdefault(bag, []).append(rule)
        if not by_bag:
            return
        blank = (len(self.cases), len(self.source.organs), len(self.score.columns))
        fresh = {(bag, rule): np.zeros(blank) for bag, rules in by_bag.items() for rule in rules}
        names = self.source.scans
        self.source.predict_missing()
        with ThreadPoolExecutor(usable_processors()) as pool:
            passes = pool.map(lambda name: self._scan(name, by_bag), names)
            for done, (case, found) in enumerate(passes, 1):
                for key, values in found.items():
                    fresh[key][self._places[case]] += values
                self.progress(done, len(names))
        self._known.update(fresh)

    def _scan(
        self, name: str, by_bag: dict[Bag, list[int]]
    ) -> tuple[str, dict[tuple[Bag, int], np.ndarray]]:
        parts = self.source.parts(name)
        found: dict[tuple[Bag, int], np.ndarray] = {}
        truth: np.ndarray | None = None
        for bag, rules in by_bag.items():
            scan = _average(bag, parts)
            truth = scan.truth if truth is None else truth
            chosen = [self.rules[rule] for rule in rules]
            for rule, values in zip(
                rules, _rules_on(scan, truth, chosen, score=self.score), strict=True
            ):
                found[bag, rule] = values
        return str(parts.case), found


def _average(bag: Bag, parts: OofParts) -> OofScan:
    """A scan under a bag's average."""
    return parts.average(np.array(bag, np.float32) / sum(bag))


def lowest_terms(bag: Bag) -> Bag:
    """The same average with the smallest numbers.

    >>> lowest_terms((2, 0, 4))
    (1, 0, 2)
    """
    divisor = int(np.gcd.reduce(bag))
    return tuple(count // divisor for count in bag)


def _rules_on(
    scan: OofScan, truth: np.ndarray, rules: Sequence[PostprocessKnobs], *, score: Score
) -> list[np.ndarray]:
    """Sums (organs, columns) of one scan under each rule."""
    sums = np.zeros((len(rules), len(truth), len(score.columns)))
    mm = scan_spacing_mm(scan.rows) if score.needs else None
    for organ in range(len(truth)):
        seen: dict[bytes, np.ndarray] = {}  # many rules give one mask
        for place, rule in enumerate(rules):
            mask = organ_mask(scan.probabilities[organ], scan.grid, rule)
            key = np.packbits(mask).tobytes()
            if key not in seen:
                known = scan.known[organ]
                one = score.of_organ(organ)
                seen[key] = organ_sums(mask, truth[organ], known=known, score=one, spacing_mm=mm)
            sums[place, organ] = seen[key]
    return list(sums)


def organ_sums(
    mask: np.ndarray,
    truth: np.ndarray,
    *,
    known: np.ndarray | None = None,
    score: Score = COMPETITION,
    spacing_mm: SpacingMm | None = None,
) -> np.ndarray:
    """Sums and counts of one organ of one scan, (columns,).

    Args:
        mask: boolean (slices, height, width).
        truth: likewise.
        known: boolean (slices,), where the annotation is known; None where it is throughout.
        score: what is summed, of this organ.
        spacing_mm: of the scan, where the score needs distances in millimeters.
    """
    of_slices = None if known is None else known[None]
    in_mm = InMillimeters(spacing_mm, score.needs) if spacing_mm else None
    scan = score_scan(mask[None], truth[None], "diagonal", known=of_slices, in_mm=in_mm)
    return np.asarray(score.count(scan)[0])
