"""``dataset.yaml``: what no convention of a layout says. All keys are optional.

::

    organs:                 # in channel order: label values, or names of ROIs or mask files
      stomach: 1
      bowel: [2, 3]
      left_kidney: 4
      right_kidney: 5
      background: [6, 7]    # values of no organ, beside 0
    pairs: [[left_kidney, right_kidney]]     # organs that a mirrored image exchanges
    channels: {T1: _0000, T2: _0001}         # what stands between scan name and suffix
    gray: percentile        # MR; or zscore, or {window: [-160, 240]} for CT; or one a channel
    slice_axis: axial       # or coronal, sagittal
    patients: "(p[0-9]+)_"  # one-a-file, a pattern whose first group is the patient, or a table
    columns: [vendor]       # further columns of scans.csv, beside site, scanner, sex, date
    annotated: all          # what is absent is empty; or listed, or slices, see ``annotated``
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from gitract_core.data.gray import FIRST_GRAY, gray_scaling
from gitract_core.data.native import AXES
from gitract_core.errors import DataError, suggestion
from gitract_core.organs import Organs

NAME = "dataset.yaml"
Annotated: TypeAlias = Literal["all", "listed", "slices"]
"""What the absence of an organ means.

``all``: it is not there. ``listed``: nobody looked, unless the scan names the organ (a mask file, a
ROI, a label). ``slices``: as ``listed``, and in slices where nothing is drawn nobody looked.
"""
_ANNOTATED: tuple[Annotated, ...] = get_args(Annotated)
_BACKGROUND = "background"
_GRAYS = ("percentile", "zscore", "window")


@dataclass(frozen=True)
class Description:
    """What a ``dataset.yaml`` says; None where it says nothing.

    Attributes:
        organs: name -> label values (integers) or names of ROIs or mask files.
        background: label values of no organ, 0 among them.
        pairs: organs that a mirrored image exchanges.
        channels: name -> what stands between scan name and suffix.
        gray: name of the gray scaling, see ``data.gray``.
        gray_channels: of which channel each scaling is; empty where one is for all.
        slice_axis: one of ``native.AXES``.
        patients: see ``patients``.
        columns: further columns of ``scans.csv``.
        annotated: what absence means.
    """

    organs: Mapping[str, tuple[int | str, ...]] | None = None
    background: tuple[int, ...] = (0,)
    pairs: tuple[tuple[str, str], ...] = ()
    channels: Mapping[str, str] | None = None
    gray: str | None = None
    gray_channels: tuple[str, ...] = ()
    slice_axis: str = AXES[0]
    patients: str | None = None
    columns: tuple[str, ...] = ()
    annotated: Annotated | None = None

    def gray_of(self, root: Path, channels: tuple[str, ...], default: str) -> str:
        """Name of the gray scalings in the order of the channels.

        Args:
            root: the data set's folder.
            channels: names of the images' channels.
            default: where the description names none.

        Raises:
            DataError: scalings of other channels.
        """
        if self.gray is None or not self.gray_channels:
            return self.gray or default
        if sorted(self.gray_channels) != sorted(channels):
            where = f"{root / NAME}, key gray"
            expected = f"one for each channel: {', '.join(channels)}"
            raise DataError(where, expected, ", ".join(self.gray_channels), "correct it")
        of_channel = dict(zip(self.gray_channels, self.gray.split("+"), strict=True))
        return "+".join(of_channel[channel] for channel in channels)

    def named(self, root: Path, names: tuple[str, ...]) -> Organs:
        """Organs of these names, with the pairs among them.

        Args:
            root: the data set's folder.
            names: in channel order.

        Raises:
            DataError: a pair of other organs.
        """
        for organ in (organ for pair in self.pairs for organ in pair):
            if organ not in names:
                where = f"{root / NAME}, key pairs"
                raise DataError(where, "organs of the data set", organ, suggestion(organ, names))
        return Organs(names, self.pairs)


def read_description(root: Path) -> Description:
    """The ``dataset.yaml`` of a data set; an empty description without one.

    Raises:
        DataError: unreadable, an unknown key, a value of another kind; names file and key.
    """
    path = root / NAME
    if not path.is_file():
        return Description()
    import yaml  # bundles predict where it is not installed

    try:
        values = yaml.safe_load(path.read_text("utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        got = " ".join(str(error).split())[:120]
        raise DataError(path, "readable YAML", got, "correct it") from None
    if not isinstance(values, dict):
        raise DataError(path, "keys and values", f"{values!r:.60}", "correct it")
    read: dict[str, Any] = {}
    for key, value in values.items():
        if key not in _KEYS:
            remedy = suggestion(str(key), _KEYS)
            raise DataError(f"{path}, key {key}", f"a key ({', '.join(_KEYS)})", key, remedy)
        where = f"{path}, key {key}"
        if key == "organs" and isinstance(value, dict) and _BACKGROUND in value:
            read[_BACKGROUND] = (0, *_values_of(f"{where}, {_BACKGROUND}", value[_BACKGROUND]))
            value = {name: one for name, one in value.items() if name != _BACKGROUND}
        read[key] = _KEYS[key](where, value)
        taken = read.get(_BACKGROUND, ()) if key == "organs" else ()
        for organ, values in read[key].items() if taken else ():
            if both := set(values) & set(taken):
                raise _wrong(f"{where}, {organ}", f"values not under {_BACKGROUND}", min(both))
        if key == "gray" and isinstance(value, dict) and set(value) != {"window"}:
            read["gray_channels"] = tuple(map(str, value))
    return Description(**read)


def _values_of(where: str, value: Any) -> tuple[int, ...]:
    values = value if isinstance(value, list) else [value]
    if not all(type(one) is int for one in values):
        raise _wrong(where, "label values", value)
    return tuple(values)


def _organs(where: str, value: Any) -> dict[str, tuple[int | str, ...]]:
    if isinstance(value, list):
        value = {name: name for name in value}
    if not isinstance(value, dict) or not value:
        raise _wrong(where, "organs with label values or names, as in stomach: 1", value)
    organs: dict[str, tuple[int | str, ...]] = {}
    for name, one in value.items():
        entries = one if isinstance(one, list) else [one]
        right = bool(entries) and all(type(e) in (int, str) for e in entries)
        if not isinstance(name, str) or not right or len({type(e) for e in entries}) > 1:
            raise _wrong(f"{where}, {name}", "a label value, a name, or a list of them", one)
        if any(type(e) is int and e < 1 for e in entries):
            raise _wrong(f"{where}, {name}", "label values from 1, as 0 is background", one)
        organs[name] = tuple(entries)
    if len({type(entries[0]) for entries in organs.values()}) > 1:
        raise _wrong(where, "label values alone, or names alone", value)
    try:
        Organs(tuple(organs))
    except DataError as error:
        raise error.within(where) from None
    return organs


def _pairs(where: str, value: Any) -> tuple[tuple[str, str], ...]:
    is_pairs = isinstance(value, list) and all(isinstance(p, list) and len(p) == 2 for p in value)
    if not is_pairs:
        raise _wrong(where, "pairs of organs, as in [[left_kidney, right_kidney]]", value)
    named = [str(organ) for pair in value for organ in pair]
    twice = next((organ for organ in named if named.count(organ) > 1), None)
    if twice:
        raise DataError(where, "each organ in one pair", f"{twice} twice", "correct it")
    return tuple((str(a), str(b)) for a, b in value)


def _channels(where: str, value: Any) -> dict[str, str]:
    right = isinstance(value, dict) and all(
        isinstance(k, str) and isinstance(v, str) for k, v in value.items()
    )
    if not right or not value or len(set(value.values())) < len(value):
        raise _wrong(where, "channels with the ends of their files, as in T1: _0000", value)
    return dict(value)


def _gray(where: str, value: Any) -> str:
    if value == {}:
        raise _wrong(where, "a gray scaling, or one a channel as in {T1: zscore}", value)
    if isinstance(value, dict) and set(value) != {"window"}:
        return "+".join(_gray(f"{where}, {name}", one) for name, one in value.items())
    if isinstance(value, dict):
        ends = value["window"]
        numbers = isinstance(ends, list) and all(type(e) in (int, float) for e in ends)
        if not numbers or len(ends) != 2 or not ends[0] < ends[1]:
            raise _wrong(where, "a window of two numbers, low and high, as in [-160, 240]", ends)
        name = f"window_{ends[0]:g}_{ends[1]:g}-v1"
        gray_scaling(name)
        return name
    if value not in ("percentile", "zscore"):
        remedy = suggestion(str(value), _GRAYS)
        raise DataError(where, f"a gray scaling ({', '.join(_GRAYS)})", value, remedy)
    return FIRST_GRAY if value == "percentile" else "zscore-v1"


def _slice_axis(where: str, value: Any) -> str:
    return _one_of(where, value, AXES)


def _patients(where: str, value: Any) -> str:
    if not isinstance(value, str):
        raise _wrong(where, "one-a-file, a pattern in quotes, or the name of a table", value)
    return value


def _columns(where: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        raise _wrong(where, "a list of column names", value)
    return tuple(value)


def _annotated(where: str, value: Any) -> Annotated:
    _one_of(where, value, _ANNOTATED)
    return next(one for one in _ANNOTATED if one == value)


def _one_of(where: str, value: Any, choices: tuple[str, ...]) -> str:
    if value not in choices:
        raise DataError(where, " or ".join(choices), value, suggestion(str(value), choices))
    return str(value)


def _wrong(where: str, expected: str, got: object) -> DataError:
    return DataError(where, expected, f"{got!r:.80}", "correct it")


_KEYS = {
    "organs": _organs,
    "pairs": _pairs,
    "channels": _channels,
    "gray": _gray,
    "slice_axis": _slice_axis,
    "patients": _patients,
    "columns": _columns,
    "annotated": _annotated,
}
