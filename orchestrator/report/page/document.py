"""The page's HTML: template, style, scripts and one block of JSON.

Text of a run (labels, commands, names of folders) is not trusted. It enters the page
in two ways only: through Jinja's escaping, and through ``embedded_json``, whose block the browser
does not run and whose strings the scripts set as text. A content security policy with the hashes
of our own script and style forbids all others, and every request.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from gitract_core.files.atomic import finite_or_none
from gitract_core.organs import Organs
from orchestrator.report.style import SERIES_COLORS

BUDGET_BYTES = 8_000_000
"""Scans are left out of the gallery of a page that would be larger."""

SCRIPTS = (
    "elements.js",
    "charts.js",
    "tables.js",
    "leaderboard.js",
    "scores.js",
    "curves.js",
    "heat.js",
    "places.js",
    "gallery.js",
    "origins.js",
    "knobs.js",
    "start.js",
)
"""In the order of the page; each is a file of plain functions."""

_ESCAPES = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}


def embedded_json(values: Mapping[str, Any]) -> str:
    """JSON that can stand inside a ``<script>`` element, whatever its strings hold.

    >>> embedded_json({"label": "</script><b>"})
    '{"label":"\\\\u003c/script\\\\u003e\\\\u003cb\\\\u003e"}'
    """
    text = json.dumps(finite_or_none(dict(values)), separators=(",", ":"), allow_nan=False)
    return text.translate(_ESCAPES)


def render_page(values: Mapping[str, Any]) -> str:
    """HTML of the whole page.

    Args:
        values: plain values as ``page_values`` gives them; ``run.name`` is the title.
    """
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    organs = Organs(tuple(organ["key"] for organ in values["run"]["organs"]))
    style = _colors(organs) + _asset("page.css")
    script = "\n".join(_asset(name) for name in SCRIPTS)
    policy = (
        f"default-src 'none'; img-src data:; style-src {_hash(style)}; script-src {_hash(script)}; "
        "base-uri 'none'; form-action 'none'"
    )
    template = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    return template.from_string(_asset("page.html.j2")).render(
        name=values["run"]["name"],
        policy=Markup(policy),
        style=Markup(style),
        script=Markup(script),
        data=Markup(embedded_json(values)),
    )


def _colors(organs: Organs) -> str:
    """The palettes as CSS variables, organs by their place; black becomes the color of text."""
    colors = list(organs.colors.values())
    lines = [f"--organ-{place}: {color};" for place, color in enumerate(colors)]
    for place, color in enumerate(SERIES_COLORS):
        lines.append(f"--series-{place}: {'var(--ink)' if color == '#000000' else color};")
    classes = [f".organ-{i} {{ --organ: var(--organ-{i}); }}" for i in range(len(colors))]
    return ":root { " + " ".join(lines) + " }\n" + "\n".join(classes) + "\n"


def _asset(name: str) -> str:
    return (files(__package__) / "assets" / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
