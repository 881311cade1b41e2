"""A run as one HTML page that needs no other file, no network and no server.

Each section's figures are gathered by a module of its own into plain JSON values; ``document``
puts them, the style sheet and the scripts under ``assets`` into one file. The scripts draw; they
compute nothing but smoothing, sorting and scales. Loads neither torch nor Ray.
"""

from __future__ import annotations

from orchestrator.report.page.document import BUDGET_BYTES, embedded_json, render_page
from orchestrator.report.page.gathering import page_values, page_within_budget, write_page

__all__ = [
    "BUDGET_BYTES",
    "embedded_json",
    "page_values",
    "page_within_budget",
    "render_page",
    "write_page",
]
