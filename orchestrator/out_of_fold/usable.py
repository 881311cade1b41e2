"""Candidates whose files are those that their trials left: only these are averaged."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gitract_core.errors import RunError, counted
from gitract_core.prediction.probabilities import OofStore, Origin
from orchestrator.results.candidate_scores import CandidateScores
from orchestrator.results.leaderboard import Leaderboard
from orchestrator.sweeps.added_candidate import added_name
from orchestrator.sweeps.added_files import FOLDER, TEST, Added
from orchestrator.sweeps.run_directory import SweepDirectory

_ADDED = "added from another tool, without predictions of the test set (add --test-predictions)"


@dataclass(frozen=True)
class UsableCandidates:
    """Some of a ranking.

    Attributes:
        lines: best first; of those that share their networks, only the best.
        left_out: candidates with a trial whose weights or probabilities are damaged, or of another
            tool, and why, one line each.
    """

    lines: tuple[CandidateScores, ...]
    left_out: tuple[str, ...]


def usable_candidates(
    run: SweepDirectory,
    board: Leaderboard,
    *,
    least: int,
    most: int,
    weights: bool = True,
    added: bool = False,
) -> UsableCandidates:
    """The best candidates whose trials' weights and probabilities are as they were left.

    Args:
        run: the sweep's directory.
        board: its ranking.
        least: how many are needed.
        most: how many are wanted.
        weights: whether weights are needed even where probabilities are there.
        added: take other tools' candidates too, as far as they predicted scans of the test set.

    Raises:
        RunError: fewer are complete and undamaged.
    """
    lines: list[CandidateScores] = []
    of_others = [line for line in board.ranked if line.added]
    able = [line for line in of_others if added and predictions_of_test(run, line).is_file()]
    left_out = [f"{one.label}: {_ADDED}" for one in of_others if one not in able]
    own = board.pool(least=max(least - len(able), 1), most=len(board.ranked))
    pool = {line.candidate for line in (*own, *able)}
    for line in (line for line in board.ranked if line.candidate in pool):
        try:
            _check(run, line, weights=weights)
        except RunError as error:
            left_out.append(f"{line.label}: {error}")
            continue
        lines.append(line)
        if len(lines) == most:
            break
    if len(lines) < least:
        expected = f"{counted(least, 'candidate')} with undamaged files"
        got = f"{len(lines)} ({left_out[-1]})"
        raise RunError(run.path, expected, got, "run the sweep again, or lower --top")
    return UsableCandidates(tuple(lines), tuple(left_out))


def predictions_of_test(run: SweepDirectory, line: CandidateScores) -> Path:
    """What a candidate of another tool predicted of the test set, which need not be there."""
    return run.path / FOLDER / added_name(line.candidate) / TEST


def _check(run: SweepDirectory, line: CandidateScores, *, weights: bool) -> None:
    if line.added:
        Added.load(predictions_of_test(run, line).parent).check(
            predictions_of_test(run, line).parent
        )
        return
    for result in line.finished:
        files = run.trial(result.spec)
        if weights or not files.oof.is_file():
            result.check(files.best)
        for file, flip in ((files.oof, False), (files.oof_flip, True)):
            if file.is_file():
                OofStore(file, Origin.of(files, result, flip=flip))
