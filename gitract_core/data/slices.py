"""The slice index: one row a slice, from a data set in any layout.

A **slice** is one image, a **scan** is one series of slices (in the contest one case-day), a
**case** is one patient. All three have text as ids, see ``ids``; how data sets lie on disk is told
in ``layouts``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from gitract_core.data.annotation import State, slice_states, state_of_scan
from gitract_core.data.contents import MORE_COLUMNS, ONE_CHANNEL, Contents, Extent
from gitract_core.data.contest.images import IMAGE_COLUMNS
from gitract_core.data.gray import CURRENT_GRAY
from gitract_core.data.ids import SliceKey, check_name
from gitract_core.data.layouts.detecting import read_contents
from gitract_core.data.layouts.to_predict import read_to_predict
from gitract_core.data.native import AXES
from gitract_core.errors import DataError, counted, suggestion
from gitract_core.organs import CONTEST, Organs

__all__ = ["IMAGE_COLUMNS", "SLICE_THICKNESS_MM", "SliceIndex", "SliceKey"]

SLICE_THICKNESS_MM = 3.0
_PATIENT_IN_ID = r"^case(\d+)_day"
_STRATA_OF_ORGANS = 3  # groups of slices that hold any organ


@dataclass(frozen=True)
class SliceIndex:
    """All slices of a data set, by scan in natural order and by number. Read only.

    Attributes:
        root: folder that the column ``path`` is relative to.
        table: one row a slice, columns ``IMAGE_COLUMNS``; if the data set is annotated, also one
            column an organ with its run-length text, empty where there is no mask. Masks of
            entries that are not known are left out.
        organs: of the data set, in channel order.
        known: boolean (slices, organs), where the annotation is known; None where it is throughout.
        scan_columns: more that is known of scans (site, scanner, sex, date), index scan, or None.
        gray: name of the gray scaling that suits the images, see ``gray``.
        channels: names of the images' channels.
        layout: name in words of how the data set lies on disk.
        assumed: what was taken for granted when it was read, a sentence each.
    """

    root: Path
    table: pd.DataFrame
    organs: Organs = CONTEST
    known: np.ndarray | None = None
    scan_columns: pd.DataFrame | None = None
    gray: str = CURRENT_GRAY
    channels: tuple[str, ...] = ONE_CHANNEL
    layout: str = "contest"
    assumed: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        missing = [c for c in IMAGE_COLUMNS if c not in self.table.columns]
        if missing:
            raise DataError("slice index", f"columns {', '.join(missing)}", "none", "add them")
        if not len(self.table):
            remedy = "pass the folder that holds caseN/caseN_dayN/scans/*.png"
            raise DataError(self.root, "at least one slice image", "none", remedy)
        taken = [organ for organ in self.organs if organ in IMAGE_COLUMNS]
        if taken:
            remedy = "rename the class"
            raise DataError(self.root, "classes that are no column of images", taken[0], remedy)
        for column in ("case", "scan"):
            for name in self.table[column].unique():
                check_name(column, name)
        if self.known is not None:
            self._leave_out_unknown(self.known)

    def _leave_out_unknown(self, known: np.ndarray) -> None:
        """Make entries that are not known hold nothing; forget ``known`` if all are."""
        if known.all():
            object.__setattr__(self, "known", None)
            return
        texts = self.table[list(self.organs)].to_numpy(object)
        if known.shape != texts.shape:
            expected, got = f"known of shape {texts.shape}", known.shape
            raise DataError("slice index", expected, got, "say it of each slice and organ")
        if (texts[~known] != "").any():
            columns = dict(zip(self.organs, np.where(known, texts, "").T, strict=True))
            object.__setattr__(self, "table", self.table.assign(**columns))

    @classmethod
    def from_directory(cls, path: Path | str, *, patients: str | None = None) -> SliceIndex:
        """The index of a data set in any layout that ``layouts`` knows.

        Args:
            path: a contest folder with ``train.csv`` and ``train/``, any folder with
                ``caseN/caseN_dayN/scans/*.png`` below it, or a folder of another layout.
            patients: which patient a scan is of, see ``layouts.patients``; not for the contest's
                layout, whose names say it.

        Raises:
            DataError: a missing folder, file, column or image, an image whose size is not the one
                in its name, a damaged image, faulty annotations, patients that nothing tells.
        """
        root = Path(path)
        return cls._of(root, read_contents(root, patients))

    @classmethod
    def to_predict(
        cls, path: Path | str, *, channels: Sequence[str] = ONE_CHANNEL, axis: str = AXES[0]
    ) -> SliceIndex:
        """The index of the images that networks shall predict, in any layout, without masks.

        Args:
            path: a folder of scans, or a data set whose masks are not looked at.
            channels: that the networks know.
            axis: along which they know slices.

        Raises:
            DataError: no images, or a faulty one.
        """
        root = Path(path)
        return cls._of(root, read_to_predict(root, channels, axis))

    @classmethod
    def _of(cls, root: Path, found: Contents) -> SliceIndex:
        return cls(
            root,
            found.table,
            found.organs,
            found.known,
            found.scan_columns,
            gray=found.gray,
            channels=found.channels,
            layout=found.layout,
            assumed=found.assumed,
        )

    @property
    def axis(self) -> str:
        """Along which slices lie, one of ``native.AXES``."""
        return str(self.table["axis"].iloc[0]) if "axis" in self.table.columns else AXES[0]

    @property
    def extent(self) -> Extent:
        """How finely and how far the images show the body; a constant in the contest's layout."""
        if "spacing_z_mm" not in self.table.columns:
            return Extent()
        scans = self.table.drop_duplicates("scan")
        z, y, x = (float(scans[f"spacing_{axis}_mm"].median()) for axis in "zyx")
        high, wide = scans["height"] * scans["spacing_y_mm"], scans["width"] * scans["spacing_x_mm"]
        return Extent((z, y, x), (float(high.median()), float(wide.median())))

    @property
    def annotated(self) -> bool:
        """Whether the data set has masks."""
        return all(organ in self.table.columns for organ in self.organs)

    @cached_property
    def states(self) -> np.ndarray:
        """``State`` of each slice and organ, uint8 (slices, organs).

        Raises:
            DataError: the data set has no masks.
        """
        return slice_states(self._drawn, self.known)

    def refuse_without_masks(self) -> None:
        """Raise a ``DataError`` unless some slice has a mask: nothing can be trained or scored."""
        counts = self.organ_counts
        if not counts.any():
            contest = self.layout == "contest"
            where = self.root / "train.csv" if contest else self.root
            got = f"none in {counted(len(counts), 'slice')}"
            remedy = "add the masks, or exclude fewer scans"
            raise DataError(where, "a mask in at least one slice", got, remedy)

    @property
    def scan_states(self) -> np.ndarray:
        """``State`` of each scan and organ, uint8 (scans, organs), in the order of ``scans``."""
        states = self.states
        return np.stack([state_of_scan(states[self._rows_by_scan[scan]]) for scan in self.scans])

    @property
    def organ_counts(self) -> np.ndarray:
        """Number of organs that are drawn in each slice, int (slices,), 0 to all.

        Raises:
            DataError: the data set has no masks.
        """
        return np.asarray(self._drawn.sum(axis=1), dtype=np.int64)

    @property
    def strata(self) -> np.ndarray:
        """Labels by which folds are balanced, int (slices,).

        The number of organs in a slice; with more than three organs it is put into three groups of
        about as many slices, beside the slices without any. A slice of which nothing is known has
        the label -1.
        """
        counts = self.organ_counts
        if len(self.organs) > _STRATA_OF_ORGANS and counts.any():
            shares = np.arange(1, _STRATA_OF_ORGANS) / _STRATA_OF_ORGANS
            borders = np.quantile(counts[counts > 0], shares, method="inverted_cdf")
            counts = np.where(counts > 0, 1 + np.searchsorted(borders, counts), 0)
        if self.known is not None:
            counts = np.where(self.known.any(axis=1), counts, -1)
        return counts

    @property
    def scans(self) -> list[str]:
        """Names of the scans in order."""
        return list(dict.fromkeys(self.table["scan"]))

    @cached_property
    def scan_table(self) -> pd.DataFrame:
        """One row a scan, in order: ``scan``, ``case`` (the patient) and ``scan_columns``."""
        table = self.table[["scan", "case"]].drop_duplicates(ignore_index=True)
        twice = table["scan"].duplicated()
        if twice.any():
            scan = table["scan"][twice].iloc[0]
            raise DataError(f"scan {scan}", "one patient", "several", "rename the scan")
        more = self.scan_columns
        return table if more is None else table.join(more, on="scan")

    def rows_of_scan(self, scan: str) -> pd.DataFrame:
        """The slices of one scan in order.

        Raises:
            DataError: there is no such scan.
        """
        rows = self.table.iloc[self._rows_by_scan.get(scan, [])]
        if not len(rows):
            raise DataError("scan", "a scan of the data set", scan, suggestion(scan, self.scans))
        return rows

    def known_in(self, rows: np.ndarray | pd.Index) -> np.ndarray | None:
        """What is known of some slices, boolean (organs, slices); None where everything is.

        Args:
            rows: positions in the table, as in the index of ``rows_of_scan``.
        """
        if self.known is None:
            return None
        known = self.known[np.asarray(rows)].T
        return None if known.all() else known

    def without(self, scans: Iterable[str]) -> SliceIndex:
        """The index without the named scans (known faulty ones, for example).

        Raises:
            DataError: a named scan is not in the index.
        """
        unknown = sorted(set(scans) - set(self.scans))
        if unknown:
            remedy = suggestion(unknown[0], self.scans)
            raise DataError("scans to exclude", "scans of the data set", unknown[0], remedy)
        kept = ~self.table["scan"].isin(list(scans))
        known = None if self.known is None else self.known[kept.to_numpy()]
        table = self.table[kept].reset_index(drop=True)
        return replace(self, table=table, known=known)

    @cached_property
    def fingerprint(self) -> str:
        """Content hash of ids, image checksums and masks; the folder's place does not count.

        Names of organs count unless they are the contest's, states if any is unknown, and patients
        unless the ids name them as the contest's do.
        """
        columns = ["id", "height", "width", "spacing_x_mm", "spacing_y_mm", "checksum"]
        columns += list(self.organs) if self.annotated else []
        hasher = hashlib.sha256()
        for column in columns:
            hasher.update("\n".join(map(str, self.table[column])).encode())
            hasher.update(b"\0")
        if self.annotated and self.organs != CONTEST:
            hasher.update("\n".join(self.organs).encode() + b"\0organs")
        if self.known is not None:
            hasher.update(np.packbits(self.known).tobytes() + b"\0known")
        if self.organs.pairs:
            hasher.update(repr(self.organs.pairs).encode() + b"\0pairs")
        told = self.table["id"].str.extract(_PATIENT_IN_ID, expand=False)
        if not (told == self.table["case"]).all():
            hasher.update("\n".join(self.table["case"]).encode() + b"\0patients")
        for column in (c for c in MORE_COLUMNS if c in self.table.columns):
            hasher.update("\n".join(map(str, self.table[column])).encode())
            hasher.update(f"\0{column}".encode())
        return hasher.hexdigest()[:16]

    @cached_property
    def _rows_by_scan(self) -> dict[str, np.ndarray]:
        return {str(k): np.asarray(v) for k, v in self.table.groupby("scan").indices.items()}

    @property
    def _drawn(self) -> np.ndarray:
        """Boolean (slices, organs)."""
        if not self.annotated:
            remedy = "pass a contest folder with train.csv and train/"
            raise DataError(self.root, "annotated slices", "images without masks", remedy)
        drawn: np.ndarray = (self.table[list(self.organs)] != "").to_numpy()
        return drawn


def case_of_scan(index: SliceIndex) -> dict[str, str]:
    """The patient of each scan."""
    table = index.scan_table
    return dict(zip(table["scan"], table["case"], strict=True))


def known_shares(states: np.ndarray, organs: Organs) -> dict[str, float]:
    """Of each organ the share of slices in which its annotation is known, 0 to 1.

    Args:
        states: ``State`` of each slice and organ, (slices, organs).
        organs: of the columns.
    """
    shares = (states != State.UNKNOWN).mean(axis=0).tolist()
    return dict(zip(organs, shares, strict=True))
