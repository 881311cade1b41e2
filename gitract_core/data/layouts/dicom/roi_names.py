"""Which region is which organ: names of regions differ between people, systems and years.

Upper and lower case, blanks, ``-`` and ``_`` are alike. Some systems cut names at 16 characters,
so that a region may be called by the first 16 of a listed name.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from gitract_core.clinic.structures.structure_set import Region, StructureSet
from gitract_core.data.ids import natural_key
from gitract_core.data.layouts.description import NAME as DESCRIPTION
from gitract_core.data.layouts.description import Description
from gitract_core.data.layouts.names import allowed
from gitract_core.errors import DataError, suggestion
from gitract_core.organs import Organs

_BLANKS = re.compile(r"[\s_-]+")
_CUT = 16
MOST_ORGANS = 40
_NO_ORGANS = re.compile(
    r"external|body|skin|outline|couch.*|bolus|[pcgi]tv[bmnpt]*([^a-z].*)?",  # GTVp, PTV_50
    re.ASCII,
)
_NO_ORGAN_KINDS = frozenset(
    {
        "BOLUS",
        "BRACHY_ACCESSORY",
        "BRACHY_CHANNEL",
        "CONTROL",
        "CTV",
        "DOSE_MEASUREMENT",
        "DOSE_REGION",
        "EXTERNAL",
        "FIXATION",
        "GTV",
        "IRRAD_VOLUME",
        "ISOCENTER",
        "MARKER",
        "PTV",
        "REGISTRATION",
        "SUPPORT",
        "TREATED_VOLUME",
    }
)
_MOST_LISTED = 12


def alike(name: str) -> str:
    """What names have in common that mean the same.

    >>> alike("Small Bowel"), alike("SMALL-BOWEL "), alike("small_bowel")
    ('small_bowel', 'small_bowel', 'small_bowel')
    """
    return _BLANKS.sub("_", name.casefold()).strip("_")


@dataclass(frozen=True)
class RoiNames:
    """The names under which each organ is drawn.

    Attributes:
        names: organ -> names, see ``alike``.
        described: whether a person listed them.
    """

    names: Mapping[str, tuple[str, ...]]
    described: bool

    @classmethod
    def of(cls, root: Path, said: Description, found: Sequence[StructureSet]) -> Self:
        """From ``dataset.yaml``, else every region that may be an organ.

        Raises:
            DataError: label values instead of names; a name of two organs; an organ that is drawn
                nowhere; regions that are too many, or whose names no organ may have.
        """
        where = f"{root / DESCRIPTION}, key organs"
        if said.organs is None:
            return cls(_all_names(where, found), described=False)
        names = {organ: tuple(alike(str(n)) for n in said.organs[organ]) for organ in said.organs}
        if any(isinstance(name, int) for entries in said.organs.values() for name in entries):
            expected = "names of regions, as structure sets have"
            raise DataError(where, expected, "label values", "write names, as in bowel: [Bowel]")
        times = Counter(name for entries in names.values() for name in set(entries))
        twice = [name for name, count in times.items() if count > 1]
        if twice:
            raise DataError(where, "each name at one organ", f"{twice[0]} at two", "correct it")
        made = cls(names, described=True)
        regions = [region for one in found for region in one.regions]
        present = {made.organ_of(region) for region in regions}
        for organ in names:
            if found and organ not in present:
                got = f"none of {len(regions)} regions"
                known = [region.name for region in regions]
                remedy = _nearest(names[organ], known)
                raise DataError(f"{where}, {organ}", "a region of this name", got, remedy)
        return made

    def organ_of(self, region: Region) -> str | None:
        """The organ that a region is, if any.

        Raises:
            DataError: the region's name is that of several when it is cut.
        """
        name = alike(region.name)
        whole = [organ for organ, names in self.names.items() if name in names]
        if whole or not self.described:
            return whole[0] if whole else None
        cut = [o for o, names in self.names.items() if any(name == alike(n[:_CUT]) for n in names)]
        if len(cut) > 1:
            got = f"{region.name}, which fits {' and '.join(cut)}"
            raise DataError("region", "a name of one organ", got, "list it at one of them")
        return cut[0] if cut else None

    def regions(self, found: StructureSet, frame_of_reference: str) -> dict[str, list[Region]]:
        """The regions of each organ in a structure set; organs without one are left out.

        Args:
            found: the structure set.
            frame_of_reference: of its series; regions of others are left aside.

        Raises:
            DataError: no region is an organ; two regions of one name.
        """
        of_organs: dict[str, list[Region]] = {}
        names: set[str] = set()
        for region in found.regions:
            if frame_of_reference and region.frame_of_reference not in ("", frame_of_reference):
                continue
            organ = self.organ_of(region)
            if organ is None:
                continue
            if alike(region.name) in names:
                got = f"{region.name} twice"
                raise DataError(found.file, "each region once", got, "rename or remove one")
            names.add(alike(region.name))
            of_organs.setdefault(organ, []).append(region)
        if not of_organs:
            listed = ", ".join(region.name for region in found.regions[:_MOST_LISTED])
            more = ", ..." if len(found.regions) > _MOST_LISTED else ""
            remedy = "list its names in dataset.yaml, key organs"
            raise DataError(
                found.file, f"regions of {', '.join(self.names)}", listed + more, remedy
            )
        return of_organs

    def others(self, found: Iterable[StructureSet]) -> Counter[str]:
        """Regions that are no organ, with the number of structure sets that have them."""
        times: Counter[str] = Counter()
        for one in found:
            times.update({alike(r.name) for r in one.regions if self.organ_of(r) is None})
        return times


def _all_names(where: str, found: Sequence[StructureSet]) -> dict[str, tuple[str, ...]]:
    """Every region that may be an organ, in natural order of names."""
    seen: dict[str, str] = {}
    for one in found:
        for region in one.regions:
            name = alike(region.name)
            if not _NO_ORGANS.fullmatch(name) and region.kind not in _NO_ORGAN_KINDS:
                seen.setdefault(name, region.name)
    names = sorted(seen, key=natural_key)
    if not names or len(names) > MOST_ORGANS:
        some = ", ".join([region.name for one in found for region in one.regions][:_MOST_LISTED])
        got = f"{len(names)} among {some}, ..." if names else f"none among {some}"
        raise DataError(where, f"1 to {MOST_ORGANS} organs", got, "list the organs and their names")
    strange = [name for name in names if not _may_be_called(name)]
    if strange:
        lines = ", ".join(f"{allowed(name)}: {seen[name]!r}" for name in strange[:_MOST_LISTED])
        got = f"none for {seen[strange[0]]!r}, which no organ may be called"
        raise DataError(where, "names of organs", got, f"write all, as in organs: {{{lines}}}")
    return {name: (name,) for name in names}


def _may_be_called(name: str) -> bool:
    try:
        Organs((name,))
    except DataError:
        return False
    return True


def _nearest(names: Sequence[str], known: Sequence[str]) -> str:
    listed = list(dict.fromkeys(alike(name) for name in known))
    for name in names:
        remedy = suggestion(name, listed)
        if remedy.startswith("did"):
            return remedy
    return suggestion(names[0], listed[: _MOST_LISTED * 3])
