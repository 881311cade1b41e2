"""The exploratory analysis as one HTML page: no other file, no script, nothing from the network."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gitract_core.eda.counting import spoken_name
from gitract_core.files.atomic import write_bytes
from orchestrator.report.eda.charts import (
    combination_figure,
    organ_colors,
    overlap_figure,
    position_figure,
)
from orchestrator.report.eda.slices import (
    SlicePicture,
    overlapping_pictures,
    typical_pictures,
)
from orchestrator.report.eda.terminal import (
    MOST_ROWS,
    frequencies,
    largest,
    number,
    overlap_groups,
    percent,
    slice_list,
)
from orchestrator.report.organ_names import known_in_words, organ_name
from orchestrator.report.overlay import png_bytes
from orchestrator.report.style import figure_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from gitract_core.data.slices import SliceIndex
    from gitract_core.eda.counting import CountTable
    from gitract_core.eda.exploration import Exploration
    from gitract_core.eda.overlaps import AreaProfile


@dataclass(frozen=True)
class PageTable:
    """A table of text; the first column names the row."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def write_eda_html(path: Path, index: SliceIndex, exploration: Exploration) -> Path:
    """Write the page atomically.

    Args:
        path: of the page.
        index: of the data set explored, for its images.
        exploration: what to show.

    Returns:
        The path.
    """
    from jinja2 import Environment, StrictUndefined

    typical = typical_pictures(index, exploration)
    overlapping = overlapping_pictures(index, exploration)
    template = Environment(autoescape=True, undefined=StrictUndefined).from_string(_PAGE)
    inventory = exploration.inventory
    page = template.render(
        name=index.root.resolve().name,
        inventory=inventory,
        cases=frequencies(inventory.scans_per_case, "scan", "scans"),
        scans=frequencies(inventory.slices_per_scan, "slice", "slices"),
        sizes=_sizes(exploration),
        counts=[
            _counts(f"Table {n}", getattr(exploration, f"table_{n}"), exploration)
            for n in (1, 2, 3, 4)
        ],
        sections=[_counts(f"Figure 3{s}", t, exploration) for s, t in exploration.figure_3.items()],
        combinations=_svg(combination_figure(exploration), "f3"),
        typical=[_pictures(p, whole=True) for p in typical],
        overlapping=[_pictures(p, whole=False) for p in overlapping],
        typical_colors=organ_colors(exploration, {o for p in typical for o in p.organs}),
        overlapping_colors=organ_colors(exploration, {o for p in overlapping for o in p.organs}),
        known=known_in_words(exploration.known, len(exploration.organs)),
        positions=_svg(position_figure(exploration), "f6"),
        position_table=_positions(exploration),
        overlaps=[
            _svg(overlap_figure(exploration, [group], 1), f"f12{place}")
            for place, group in enumerate(overlap_groups(exploration))
        ],
        overlap_table=_overlaps(exploration),
        area_table=_areas(exploration),
        gap_table=_gaps(exploration),
    )
    write_bytes(path, page.encode())
    return path


def _sizes(exploration: Exploration) -> PageTable:
    rows = []
    for size in exploration.inventory.sizes:
        spacing = "-" if size.spacing_x_mm is None else f"{size.spacing_x_mm} x {size.spacing_y_mm}"
        pixels = f"{size.height} x {size.width}"
        rows.append((pixels, spacing, number(size.slices), number(size.scans)))
    return PageTable("Sizes", ("height x width", "spacing, mm", "slices", "scans"), tuple(rows))


def _counts(name: str, table: CountTable, exploration: Exploration) -> PageTable:
    shown, more = largest(table, MOST_ROWS)
    rows = tuple(
        (
            spoken_name(row.name, exploration.organs),
            number(row.slices),
            percent(row.share),
            percent(row.share_of_annotated),
        )
        for row in shown
    )
    some = f", the {len(shown)} most frequent of {len(shown) + more}" if more else ""
    return PageTable(f"{name}: {table.title}{some}", ("", "slices", "of all", "of annotated"), rows)


def _positions(exploration: Exploration) -> PageTable:
    rows = []
    for name, profile in exploration.figure_6.items():
        spread = profile.slices_per_scan
        figures = (profile.peak_slice, profile.peak_scans, profile.first_median)
        cells = tuple(number(value) for value in (*figures, profile.last_median))
        a_scan = "-" if spread is None else f"{spread.min}-{number(spread.median)}-{spread.max}"
        rows.append((spoken_name(name, exploration.organs), *cells, a_scan))
    header = ("", "peak slice", "scans there", "median first", "median last", "slices a scan")
    return PageTable("Peaks, and least, median and most slices a scan", header, tuple(rows))


_LEVELS = ("p5", "p50", "p95")
_LEVEL_NAMES = ("5 %", "median", "95 %", "largest", "largest in")


def _area_cells(profile: AreaProfile) -> tuple[str, ...]:
    levels = profile.quantiles_px or {}
    quantiles = (levels.get(level) for level in _LEVELS)
    rounded = (number(None if q is None else round(q)) for q in quantiles)
    largest = profile.max_px if profile.slices else None
    return number(profile.slices), *rounded, number(largest), profile.max_id or "-"


def _overlaps(exploration: Exploration) -> PageTable:
    rows = tuple(
        (
            spoken_name(name, exploration.organs),
            number(exploration.figure_12[name].slices_together),
            *_area_cells(exploration.figure_12[name]),
        )
        for name in overlap_groups(exploration, MOST_ROWS)
    )
    more = len(exploration.figure_12) - len(rows)
    some = f", the {len(rows)} largest of {len(rows) + more}" if more else ""
    header = ("", "slices with all", "overlapping", *_LEVEL_NAMES)
    return PageTable(f"Overlap areas, pixels of a slice{some}", header, rows)


def _areas(exploration: Exploration) -> PageTable:
    rows = tuple((organ_name(name), *_area_cells(area)) for name, area in exploration.areas.items())
    return PageTable("Areas of organs, pixels of a slice", ("", "slices", *_LEVEL_NAMES), rows)


def _gaps(exploration: Exploration) -> PageTable:
    rows = tuple((g.scan, organ_name(g.organ), slice_list(g.slices, 20)) for g in exploration.gaps)
    title = "Organs missing between two slices of a scan that hold them"
    return PageTable(title, ("scan", "organ", "slices"), rows)


def _pictures(picture: SlicePicture, *, whole: bool) -> dict[str, object]:
    images = (picture.gray, picture.drawn) if whole else (picture.drawn,)
    uris = [f"data:image/png;base64,{base64.b64encode(png_bytes(i)).decode()}" for i in images]
    return {"title": picture.title, "caption": picture.caption, "images": uris}


def _svg(figure: Figure, prefix: str) -> object:
    """A chart as an SVG element; ids get a prefix, so that several charts share one page."""
    from markupsafe import Markup

    text = figure_bytes(figure, "svg").decode()
    text = text[text.index("<svg") :]
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{prefix}-", text)
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = text.replace("<svg ", '<svg role="img" ', 1)
    return Markup(text)


_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{{ name }}: organs, positions, overlaps</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; color: #1c1c1c; background: #fff;
  margin: 0 auto; padding: 1rem; max-width: 70rem; }
h1 { font-size: 1.5rem; line-height: 1.2; margin: .5rem 0; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; border-top: 1px solid #ddd; padding-top: 1rem; }
.grid { display: grid; gap: 1rem 2rem; align-items: start;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 15rem), 1fr)); }
.tables { grid-template-columns: repeat(auto-fit, minmax(min(100%, 25rem), 1fr)); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem; }
caption { text-align: left; font-weight: 600; padding: .25rem 0; }
th, td { padding: .2rem .8rem .2rem 0; text-align: right; white-space: nowrap; }
th { font-weight: 600; color: #555; border-bottom: 1px solid #ccc; }
th:first-child, td:first-child { text-align: left; white-space: normal; min-width: 5.5rem; }
@media (max-width: 30rem) { table { font-size: .8rem; } th, td { padding-right: .6rem; } }
figure { margin: 0; }
figure svg { width: 100%; height: auto; max-width: 40rem; font-family: system-ui, sans-serif; }
figure img { width: 100%; height: auto; display: block; margin-bottom: .25rem; }
figcaption { font-size: .85rem; color: #444; overflow-wrap: anywhere; }
.key span { display: inline-block; margin-right: 1.2rem; }
.key i { display: inline-block; width: .9em; height: .9em; border-radius: 2px;
  margin-right: .4em; vertical-align: -.05em; }
</style>
</head>
<body>
{% macro show(table) -%}
<div class="wide"><table><caption>{{ table.title }}</caption>
<tr>{% for cell in table.header %}<th scope="col">{{ cell }}</th>{% endfor %}</tr>
{% for row in table.rows -%}
<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}</table></div>
{%- endmacro %}
{% macro key(colors) -%}
<p class="key">{% for organ, color in colors.items() -%}
<span><i style="background:{{ color }}"></i>{{ organ }}</span>{% endfor %}</p>
{%- endmacro %}
{% macro slices(pictures, colors, nothing) -%}
{% if pictures %}{{ key(colors) }}
<div class="grid">{% for picture in pictures %}
<figure>{% for image in picture.images -%}
<img src="{{ image }}" alt="{{ picture.title }}, {{ picture.caption }}">{% endfor %}
<figcaption><b>{{ picture.title }}</b><br>{{ picture.caption }}</figcaption></figure>
{% endfor %}</div>{% else %}<p>{{ nothing }}</p>{% endif %}
{%- endmacro %}
<h1>{{ name }}</h1>
<p>{{ "{:,}".format(inventory.cases) }} cases, {{ "{:,}".format(inventory.scans) }} scans,
{{ "{:,}".format(inventory.slices) }} slices.<br>Cases: {{ cases }}.<br>Scans: {{ scans }}.</p>
{% if known %}<p>Annotation that is not known counts as not there. {{ known }}.</p>{% endif %}
{{ show(sizes) }}
<h2>Tables 1 to 4: slices and the organs they hold</h2>
<div class="grid tables">{% for table in counts %}{{ show(table) }}{% endfor %}</div>
<h2>Figure 3: combinations of organs</h2>
<figure>{{ combinations }}</figure>
<div class="grid tables">{% for table in sections %}{{ show(table) }}{% endfor %}</div>
<h2>Figure 4: typical slices with one, two and more organs</h2>
{{ slices(typical, typical_colors, "No slice is annotated.") }}
<h2>Figure 5: the largest overlaps</h2>
{{ slices(overlapping, overlapping_colors, "No organs overlap.") }}
<h2>Figure 6: where in a scan the organs lie</h2>
<figure>{{ positions }}</figure>
{{ show(position_table) }}
<h2>Figure 12: how far organs overlap</h2>
<div class="grid tables">{% for chart in overlaps %}<figure>{{ chart }}</figure>{% endfor %}</div>
{{ show(overlap_table) }}
<h2>Areas, and gaps</h2>
{{ show(area_table) }}
{% if gap_table.rows %}{{ show(gap_table) }}
{% else %}<p>No organ is missing between two slices of a scan that hold it.</p>{% endif %}
</body>
</html>
"""
