"""Names that may stand in ids, and what to call things whose names may not."""

from __future__ import annotations

import re

from gitract_core.data.ids import check_name
from gitract_core.errors import DataError

_STRANGE = re.compile(r"[^A-Za-z0-9._-]+", re.ASCII)
_LONGEST = 64


def allowed(name: str) -> str:
    """A name as near as possible that may stand in ids.

    >>> allowed("Müller, liver 12")
    'M_ller_liver_12'
    """
    return _STRANGE.sub("_", name).strip("._")[:_LONGEST] or "unnamed"


def check_scan(where: object, name: str) -> None:
    """Check the name of a scan that comes from a file.

    Raises:
        DataError: it may not stand in ids; offers another.
    """
    try:
        check_name("scan", name)
    except DataError as error:
        remedy = f"rename it, for example to {allowed(name)}"
        raise DataError(where, str(error.args[1]), f"{name!r:.100}", remedy) from None
