"""Takes another tool's out-of-fold predictions into a run as a candidate."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from gitract_core.data.layouts.to_predict import test_folder
from gitract_core.data.slices import SliceIndex, case_of_scan
from gitract_core.errors import RunError
from gitract_core.prediction.probabilities import write_oof
from gitract_core.prediction.rivals.predicted import Predicted
from gitract_core.prediction.rivals.reading import Tree, read_predictions
from gitract_core.progress import Progress, silent
from orchestrator.out_of_fold.added_folds import place_declared, place_tree
from orchestrator.out_of_fold.added_scores import FoldScorer, network_sized
from orchestrator.report.run_slices import run_index
from orchestrator.sweeps.added_candidate import NOT_SAID, AddedCandidate, check_added_name
from orchestrator.sweeps.added_files import TEST, Added, taken_name, write_added
from orchestrator.sweeps.fold_plans import NamedFolds
from orchestrator.sweeps.labels import candidate_labels, candidate_letters
from orchestrator.sweeps.run_directory import SweepDirectory, SweepRecord
from orchestrator.sweeps.run_lock import sole_sweep


@dataclass(frozen=True)
class AddRequest:
    """What is added.

    Attributes:
        name: what the candidate is called.
        predictions: file or folder, in a form of ``gitract_core.prediction.rivals.reading``.
        folds_table: the folds that were trained on: ``splits_final.json``, or CSV with a scan or a
            patient and a fold.
        declared: the folds are the run's own, without a table that says so.
        epoch_rule: by whose patients its epochs were chosen: ``held_out``, ``inner``, ``last`` as
            of ``training.keep``, or other words.
        replace: take the place of an added candidate of that name.
        test_predictions: its predictions of the test set, averaged over its folds, in any of the
            forms but nnU-Net's tree; ensembles with it can predict those scans.
        test_images: the scans that those are of; ``test`` in the data set's folder if left out.
    """

    name: str
    predictions: Path
    folds_table: Path | None = None
    declared: bool = False
    epoch_rule: str = NOT_SAID
    replace: bool = False
    test_predictions: Path | None = None
    test_images: Path | None = None


@dataclass(frozen=True)
class AddedLine:
    """What was added.

    Attributes:
        candidate: with name and origin.
        folder: in the run.
        lacking: why folds are not scored, by their number.
        folds: how many there are.
    """

    candidate: AddedCandidate
    folder: Path
    lacking: dict[int, str]
    folds: int


def add_predictions(
    run: SweepDirectory, request: AddRequest, progress: Progress = silent
) -> AddedLine:
    """Check, score and store predictions; nothing is written unless all of them are in order.

    Args:
        run: its directory.
        request: what is added.
        progress: called with (folds done, all folds).

    Raises:
        GitractError: a name that is taken or means something else; predictions that are faulty,
            of another data set or other folds; a sweep is at work in the run.
    """
    record = run.record()
    _check_name(run, request)
    if not request.epoch_rule.strip() or len(request.epoch_rule) > 200:
        raise RunError(
            "--epoch-rule", "1 to 200 characters", repr(request.epoch_rule), "shorten it"
        )
    index = run_index(record)
    folds = NamedFolds(run.plans(record), case_of_scan(index))
    found = read_predictions(request.predictions, index)
    if isinstance(found, Tree):
        placed = place_tree(found, request.folds_table, folds)
    else:
        placed = place_declared(found, request.folds_table, declared=request.declared, folds=folds)
    rule = " ".join(request.epoch_rule.split())
    candidate = AddedCandidate(name=request.name, origin=placed.origin, epochs_by=rule)
    test = _of_test_set(request, record)
    scorer = FoldScorer(record, index, folds, placed, progress, keep_oof=test is not None)
    lacking = {n: why for n in range(record.total_folds) if (why := scorer.lacking(n))}
    if len(lacking) == record.total_folds:
        got = f"none ({lacking[0]})"
        raise RunError(request.predictions, "a whole fold of predictions", got, "predict the rest")
    said = Added(request.name, placed.origin, rule, str(request.predictions.resolve()))
    with sole_sweep(run.path):
        _check_name(run, request)
        folder = write_added(run.path, said, partial(_fill, scorer, candidate, test))
    return AddedLine(candidate, folder, lacking, record.total_folds)


def _fill(
    scorer: FoldScorer, candidate: AddedCandidate, test: Predicted | None, part: Path
) -> None:
    scorer.write(part, candidate)
    if test is not None:
        scans = [scan for scan in test.index.scans if scan in test.scans]
        write_oof(part / TEST, network_sized(test, scans, scorer.record))


def _of_test_set(request: AddRequest, record: SweepRecord) -> Predicted | None:
    """The predictions of the test set, if there are any.

    Raises:
        DataError: no such scans, or faulty predictions.
    """
    if request.test_predictions is None:
        return None
    index = SliceIndex.to_predict(request.test_images or test_folder(record.data_directory))
    found = read_predictions(request.test_predictions, replace(index, organs=record.organs))
    if isinstance(found, Tree) or not found.scans:
        got = "a tree by fold" if isinstance(found, Tree) else "none"
        expected = "predictions of test scans, averaged over folds"
        raise RunError(request.test_predictions, expected, got, "pass the folder that holds them")
    return found


def _check_name(run: SweepDirectory, request: AddRequest) -> None:
    check_added_name(request.name)
    record, name = run.record(), request.name
    own = {*candidate_labels(record.candidates).values()}
    own |= {*candidate_labels(record.last_asked).values()}
    own |= set(candidate_letters(record.candidates, record.removed).values())
    if name in own:
        raise RunError("--name", "a name that no candidate has", repr(name), "pass another")
    taken = taken_name(name, run.added())
    if taken is not None and (taken != name or not request.replace):
        remedy = "pass another, or --replace" if taken == name else "pass another"
        raise RunError("--name", "a name that was not added yet", repr(taken), remedy)
