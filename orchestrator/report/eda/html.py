"""The exploratory analysis as one HTML page: no other file, no script, nothing from the network."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from gitract_core.errors import in_utf8
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
from orchestrator.report.eda.tables import (
    MOST_ROWS,
    area_table,
    combination_tables,
    count_tables,
    frequencies,
    gap_table,
    most_frequent,
    overlap_groups,
    overlap_table,
    position_table,
    size_table,
)
from orchestrator.report.organ_names import known_in_words
from orchestrator.report.overlay import png_bytes
from orchestrator.report.style import figure_bytes
from orchestrator.report.table import Table, to_html

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.figure import Figure

    from gitract_core.data.slices import SliceIndex
    from gitract_core.eda.exploration import Exploration

_MOST_GAP_SLICES = 20


def write_eda_html(path: Path, index: SliceIndex, exploration: Exploration) -> Path:
    """Write the page of an exploration atomically.

    Args:
        path: of the page.
        index: of the data set explored, for its images.
        exploration: the analysis to show.

    Returns:
        The path.
    """
    from jinja2 import Environment, StrictUndefined

    typical = typical_pictures(index, exploration)
    overlapping = overlapping_pictures(index, exploration)
    template = Environment(autoescape=True, undefined=StrictUndefined).from_string(_PAGE)
    inventory = exploration.inventory
    page = template.render(
        name=in_utf8(index.root.resolve().name),
        assumed=index.assumed,
        inventory=inventory,
        cases=frequencies(inventory.scans_per_case, "scan", "scans"),
        scans=frequencies(inventory.slices_per_scan, "slice", "slices"),
        sizes=to_html(size_table(exploration)),
        counts=map(_count_table, count_tables(exploration)),
        sections=map(_count_table, combination_tables(exploration)),
        combinations=_svg(combination_figure(exploration), "f3"),
        typical=[_pictures(p, whole=True) for p in typical],
        overlapping=[_pictures(p, whole=False) for p in overlapping],
        typical_colors=organ_colors(exploration, {o for p in typical for o in p.organs}),
        overlapping_colors=organ_colors(exploration, {o for p in overlapping for o in p.organs}),
        known=known_in_words(exploration.known, len(exploration.organs)),
        positions=_svg(position_figure(exploration), "f6"),
        position_table=to_html(position_table(exploration).without("along the scan")),
        overlaps=[
            _svg(overlap_figure(exploration, [group], 1), f"f12{place}")
            for place, group in enumerate(overlap_groups(exploration))
        ],
        overlap_table=_cut_table(overlap_table(exploration, MOST_ROWS), "largest"),
        area_table=to_html(area_table(exploration)),
        gap_table=to_html(gap_table(exploration, _MOST_GAP_SLICES)) if exploration.gaps else None,
    )
    write_bytes(path, page.encode())
    return path


def _count_table(table: Table) -> Markup:
    return _cut_table(most_frequent(table.without("bar"), MOST_ROWS), "most frequent")


def _cut_table(table: Table, which: str) -> Markup:
    """The table; its title says which rows it shows, if it does not show all."""
    shown = len(table.rows)
    which_rows = f", the {shown} {which} of {shown + table.left_out}" if table.left_out else ""
    return to_html(replace(table, title=f"{table.title}{which_rows}"))


def _pictures(picture: SlicePicture, *, whole: bool) -> dict[str, object]:
    images = (picture.gray, picture.drawn) if whole else (picture.drawn,)
    uris = [f"data:image/png;base64,{base64.b64encode(png_bytes(i)).decode()}" for i in images]
    return {"title": picture.title, "caption": picture.caption, "images": uris}


def _svg(figure: Figure, prefix: str) -> Markup:
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
{% for line in assumed %}<p>{{ line }}</p>{% endfor %}
{{ sizes }}
<h2>Tables 1 to 4: slices and the organs they hold</h2>
<div class="grid tables">{% for table in counts %}{{ table }}{% endfor %}</div>
<h2>Figure 3: combinations of organs</h2>
<figure>{{ combinations }}</figure>
<div class="grid tables">{% for table in sections %}{{ table }}{% endfor %}</div>
<h2>Figure 4: typical slices with one, two and more organs</h2>
{{ slices(typical, typical_colors, "No slice is annotated.") }}
<h2>Figure 5: the largest overlaps</h2>
{{ slices(overlapping, overlapping_colors, "No organs overlap.") }}
<h2>Figure 6: where in a scan the organs lie</h2>
<figure>{{ positions }}</figure>
{{ position_table }}
<h2>Figure 12: how far organs overlap</h2>
<div class="grid tables">{% for chart in overlaps %}<figure>{{ chart }}</figure>{% endfor %}</div>
{{ overlap_table }}
<h2>Areas, and gaps</h2>
{{ area_table }}
{% if gap_table %}{{ gap_table }}
{% else %}<p>No organ is missing between two slices of a scan that hold it.</p>{% endif %}
</body>
</html>
"""
