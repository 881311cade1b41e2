"""Candidates whose files are those that their trials left: only these are averaged."""

from __future__ import annotations

from dataclasses import dataclass

from gitract_core.errors import RunError, counted
from gitract_core.prediction.probabilities import OofStore, Origin
from orchestrator.results.candidate_scores import CandidateScores
from orchestrator.results.leaderboard import Leaderboard
from orchestrator.sweeps.run_directory import SweepDirectory

_ADDED = "added from another tool, without weights that could predict other scans"


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
    run: SweepDirectory, board: Leaderboard, *, least: int, most: int, weights: bool = True
) -> UsableCandidates:
    """The best candidates whose trials' weights and probabilities are as they were left.

    Args:
        run: the sweep's directory.
        board: its ranking.
        least: how many are needed.
        most: how many are wanted.
        weights: whether weights are needed even where probabilities are there.

    Raises:
        RunError: fewer are complete and undamaged.
    """
    lines: list[CandidateScores] = []
    left_out = [f"{line.label}: {_ADDED}" for line in board.ranked[:most] if line.added]
    for line in board.pool(least=least, most=len(board.ranked)):
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


def _check(run: SweepDirectory, line: CandidateScores, *, weights: bool) -> None:
    for result in line.finished:
        files = run.trial(result.spec)
        if weights or not files.oof.is_file():
            result.check(files.best)
        for file, flip in ((files.oof, False), (files.oof_flip, True)):
            if file.is_file():
                OofStore(file, Origin.of(files, result, flip=flip))
