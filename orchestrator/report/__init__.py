"""A leaderboard as people read it: terminal, CSV, Markdown, JSON. Loads neither torch nor Ray."""

from orchestrator.report.tables import table_rows, write_csv, write_markdown
from orchestrator.report.terminal import leaderboard_view

__all__ = ["leaderboard_view", "table_rows", "write_csv", "write_markdown"]
