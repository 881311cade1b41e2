"""What a trial leaves: its history, its result, and the files of its directory.

``result.json`` is written last and atomically: a trial is finished exactly if it is there.
Everything in it but ``cost`` is equal for equal specs on one machine.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, astuple, dataclass, field, fields
from pathlib import Path
from typing import Any

from gitract_core.data.contents import ONE_CHANNEL, Extent
from gitract_core.data.gray import FIRST_GRAY
from gitract_core.errors import DivergedError, GitractError, RunError, counted
from gitract_core.files.atomic import json_bytes, parse_json, read_bytes, write_bytes
from gitract_core.files.digests import Stamp, StampShape
from gitract_core.organs import CONTEST, Organs
from gitract_core.results.result_shape import MOST_COST, CaseSums, ResultShape
from gitract_core.spec import TrialSpec, refuse_newer_knobs


@dataclass(frozen=True, slots=True)
class TrialFiles:
    """The names of a trial's files; ``TrialFiles(RUN / "trials" / key)``."""

    directory: Path

    @property
    def result(self) -> Path:
        """Written last; its presence is completion."""
        return self.directory / "result.json"

    @property
    def failure(self) -> Path:
        """Why the last attempt ended, if it failed."""
        return self.directory / "failure.json"

    @property
    def to_run_alone(self) -> Path:
        """Says that memory ran out beside other trials: from then on this one runs alone."""
        return self.directory / "crowded.json"  # as older runs have it

    @property
    def history(self) -> Path:
        """One row an epoch."""
        return self.directory / "history.csv"

    @property
    def best(self) -> Path:
        """Weights of the best epoch."""
        return self.directory / "best.safetensors"

    @property
    def checkpoint(self) -> Path:
        """State after the last epoch or inside the present one; gone when the trial is finished."""
        return self.directory / "checkpoint.pt"

    @property
    def last(self) -> Path:
        """State at the end of a trial that more epochs could go on from, if it was kept."""
        return self.directory / "last.pt"

    @property
    def oof(self) -> Path:
        """Out-of-fold probabilities at network size."""
        return self.directory / "oof.npz"

    @property
    def oof_flip(self) -> Path:
        """The same, averaged with those of mirrored slices; predicted when it is asked for."""
        return self.directory / "oof_flip.npz"

    @property
    def epochs(self) -> Path:
        """Sums of the held-out fold for every epoch, where it chose the epoch that is kept."""
        return self.directory / "epochs.npz"

    @property
    def scores(self) -> Path:
        """One row a (slice, class) and a (scan, class)."""
        return self.directory / "scores.parquet"

    @property
    def lock(self) -> Path:
        """Locked (``flock``) by the process that runs the trial."""
        return self.directory / ".lock"

    @property
    def bound(self) -> tuple[Path, ...]:
        """The files whose size and digest the result holds; a new file of a trial belongs here."""
        return (self.best, self.history, self.oof, self.epochs, self.scores)

    def is_finished(self, spec: TrialSpec | None = None) -> bool:
        """Whether there is a whole result; a damaged one is as good as none.

        Args:
            spec: the trial that it must be of.

        Raises:
            OSError: the disk does not answer; the file may be whole.
        """
        if not self.result.is_file():
            return False
        try:
            TrialResult.load(self.result, spec)
        except RunError:
            self.result.read_bytes()
            return False
        return True


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """One epoch: losses, and metrics of the validation slices at network size.

    Attributes:
        epoch: counted from 1.
        train_loss: mean over training slices.
        loss: mean over validation slices.
        dice, iou: pooled over the pixels of all validation slices, averaged over classes.
        row_dice: mean over (slice, class), both-empty skipped: the contest's reading.
        accuracy: share of pixels right, averaged over classes.
        balanced_accuracy: mean of sensitivity and specificity, averaged over classes.
        paper_dice, paper_iou, paper_accuracy: by the seed paper's likely definitions.
        learning_rate: at the epoch's end.
        seconds: duration.
    """

    epoch: int
    train_loss: float
    loss: float
    dice: float
    iou: float
    row_dice: float
    accuracy: float
    balanced_accuracy: float
    paper_dice: float
    paper_iou: float
    paper_accuracy: float
    learning_rate: float
    seconds: float

    def __post_init__(self) -> None:
        if self.epoch < 1:
            raise ValueError(f"epoch {self.epoch}; epochs count from 1")


_MOST_OF_A_CURVE = 1e100  # squares of it are numbers still
_NEEDED = (("cost", "seconds"), ("cost", "peak_memory_bytes"), ("environment", "parameters"))
_REMEDY = "remove the trial's directory and run the sweep again"


@dataclass(frozen=True, slots=True)
class TrialResult:
    """A finished trial.

    Attributes:
        spec: what was run.
        scores: the held-out fold's competition score (``dice``, ``hausdorff``, ``score``,
            ``per_class``, ``rows``, ``volumes``) at native size, pooled over its slices and scans.
        per_case: for each case its sums and counts, from which any pooled score follows.
        history: the best epoch, epochs run, the record at the best epoch and each metric's best.
        cost: seconds, device, threads, parameters, peak memory.
        environment: versions and precision that the numbers depend on; ``micro_batch`` below the
            candidate's ``optimizer.batch_size`` says that memory ran out and batches were split;
            ``validation_parts`` above 0 says so of validation: slices at once.
        known: by organ, the share of the held-out slices whose annotation is known, 0 to 1; empty
            if that of all is.
        organs: what the network finds, in channel order; files that do not say it are of the
            contest.
        channels: names of the images' channels.
        axis: along which slices lie, one of ``native.AXES``.
        extent: how finely and how far the images show the body.
        gray: name of the gray scaling of the images.
        own: ``score`` and ``per_case`` of the sweep's score; empty where it is the contest's.
        stamps: what ``files`` gives, as the file has it: few readers need it.
    """

    spec: TrialSpec
    scores: Mapping[str, Any]
    per_case: Mapping[str, Any]
    history: Mapping[str, Any]
    cost: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    known: Mapping[str, float] = field(default_factory=dict)
    organs: Organs = CONTEST
    channels: tuple[str, ...] = ONE_CHANNEL
    axis: str = "axial"
    extent: Extent = field(default_factory=Extent)
    gray: str = FIRST_GRAY
    own: Mapping[str, Any] = field(default_factory=dict)
    stamps: bytes = field(default=b"{}", compare=False, repr=False)

    @property
    def files(self) -> dict[str, Stamp]:
        """Size and digest of the trial's files by name; empty where an earlier version wrote it."""
        found = parse_json(Path("result.json, key files"), self.stamps, dict[str, StampShape])
        return {name: Stamp(**stamp) for name, stamp in found.items()}

    def stamp(self, file: Path) -> Stamp | None:
        """Size and digest of one of the trial's files; None where the result does not hold them."""
        return self.files.get(file.name)

    def check(self, file: Path) -> None:
        """Compare one of the trial's files with what the result says of it.

        Raises:
            RunError: it is missing, or not the one that the trial left.
        """
        if stamp := self.stamp(file):
            stamp.check(file, _REMEDY)

    def save(self, path: Path) -> None:
        """Write ``result.json`` atomically, with the stamps of the trial's files beside it.

        Raises:
            DivergedError: it holds figures that ``load`` would refuse; nothing is written.
        """
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "stamps"}
        usual = {
            "known": {},
            "own": {},
            "channels": ONE_CHANNEL,
            "axis": "axial",
            "extent": Extent(),
        }
        values = {n: value for n, value in values.items() if n not in usual or value != usual[n]}
        values |= {"extent": asdict(self.extent)} if "extent" in values else {}
        there = [file for file in TrialFiles(path.parent).bound if file.is_file()]
        values["files"] = {file.name: Stamp.of(file).to_json() for file in there}
        values |= {"spec": self.spec.to_json(), **self.organs.to_json()}
        content = json_bytes({"key": self.spec.key, **values}, seal=True)
        try:
            self._parse(path, content, self.spec)
        except RunError as error:
            where, expected, got, _ = error.args
            remedy = "lower optimizer.learning_rate, or the factor of the loss"
            raise DivergedError(where, expected, f"{got} (diverged)", remedy) from None
        write_bytes(path, content)

    @classmethod
    def load(cls, path: Path, expected: TrialSpec | None = None) -> TrialResult:
        """Read ``result.json``.

        Args:
            path: the file.
            expected: the trial that it must be of; makes reading many of them faster.

        Raises:
            RunError: unreadable, incomplete, changed since it was written, or of another trial.
        """
        return cls._parse(path, read_bytes(path), expected)

    @classmethod
    def _parse(cls, path: Path, content: bytes, expected: TrialSpec | None) -> TrialResult:
        values: ResultShape = parse_json(path, content, ResultShape, _REMEDY)
        for group, name in _NEEDED:
            value = values[group].get(name)  # type: ignore[literal-required]
            if not isinstance(value, int | float) or not 0 <= value < MOST_COST:
                expected_here = f"a number from 0 to {MOST_COST:.0e}"
                raise RunError(f"{path}, key {group}.{name}", expected_here, repr(value), _REMEDY)
        refuse_newer_knobs(path, values["spec"]["candidate"])
        try:
            known = expected is not None and values["spec"] == expected.to_json()
            spec = expected if known and expected else TrialSpec.from_json(values["spec"])
        except (KeyError, TypeError, GitractError) as error:
            raise RunError(path, "a trial's result", f"{error!s:.200}", _REMEDY) from None
        wanted = spec.key if known or expected is None else expected.key  # takes time
        if values["key"] != wanted or not (known or spec.key == wanted):
            raise RunError(path, f"key {wanted}", values["key"], _REMEDY)
        parts = (values["scores"], values["per_case"], values["history"], values["cost"])
        return cls(
            spec,
            *parts,
            values["environment"],
            known=values.get("known", {}),
            organs=_organs_of(path, values),
            channels=tuple(values.get("channels", ONE_CHANNEL)),
            axis=values.get("axis", "axial"),
            extent=Extent.of(values.get("extent")),
            gray=values.get("gray", FIRST_GRAY),
            own=dict(values.get("own", {})),
            stamps=bytes(values.get("files", b"{}")),
        )


def _organs_of(path: Path, values: ResultShape) -> Organs:
    """The organs of a result, of each of which every case must have its sums."""
    organs = Organs.of(values, CONTEST)
    wanted = [len(organs)] * len(CaseSums.__annotations__)  # of each case, in the order of a shape
    for case, sums in values["per_case"].items():
        lengths = [*map(len, sums.values())]  # type: ignore[arg-type]
        if lengths != wanted:
            expected, got = (
                f"{counted(len(organs), 'sum')}, one an organ",
                f"{sorted(set(lengths))}",
            )
            raise RunError(f"{path}, key per_case.{case}", expected, got, _REMEDY)
    return organs


def write_history(path: Path, records: Iterable[EpochRecord]) -> None:
    """Write ``history.csv`` atomically.

    Raises:
        DivergedError: a number that ``read_history`` would refuse.
    """
    records = list(records)
    if too_large := next(filter(_is_too_large, records), None):
        where, expected = f"epoch {too_large.epoch}", f"figures up to {_MOST_OF_A_CURVE:.0e}"
        raise DivergedError(where, expected, "larger ones", "lower optimizer.learning_rate")
    text = io.StringIO()
    writer = csv.DictWriter(text, [f.name for f in fields(EpochRecord)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(record) for record in records)
    write_bytes(path, text.getvalue().encode())


def _is_too_large(record: EpochRecord) -> bool:
    return any(_MOST_OF_A_CURVE < abs(value) < math.inf for value in astuple(record))


def read_history(path: Path, stamp: Stamp | None = None) -> list[EpochRecord]:
    """Read ``history.csv``.

    Args:
        path: the file.
        stamp: what the trial's result says of it.

    Raises:
        RunError: unreadable, not such a table, or changed since the trial was finished.
    """
    try:
        content = path.read_bytes()
        if stamp:
            stamp.check_bytes(path, content, _REMEDY)
        rows = list(csv.DictReader(io.StringIO(content.decode(), newline="")))
        records = [
            EpochRecord(int(row.pop("epoch")), **{k: float(v) for k, v in row.items()})
            for row in rows
        ]
        if [record.epoch for record in records] != list(range(1, len(records) + 1)):
            raise ValueError("epochs that do not count from 1")
        if any(map(_is_too_large, records)):
            raise ValueError(f"a number beyond {_MOST_OF_A_CURVE:.0e}")
    except (OSError, KeyError, ValueError, TypeError, csv.Error) as error:
        raise RunError(path, "one row an epoch", error, _REMEDY) from None
    return records


def summarize_history(records: list[EpochRecord], best_epoch: int) -> dict[str, Any]:
    """The record at the best epoch, and the best value of each metric over all epochs."""
    at_best = asdict(records[best_epoch - 1])
    at_best.pop("seconds")
    lower = ("train_loss", "loss")
    skipped = ("epoch", "learning_rate", "seconds")
    names = [f.name for f in fields(EpochRecord) if f.name not in skipped]
    known = {n: [v for r in records if not math.isnan(v := getattr(r, n))] for n in names}
    best = {n: (min if n in lower else max)(known[n], default=math.nan) for n in names}
    return {"best_epoch": best_epoch, "epochs": len(records), "at_best": at_best, "best": best}
