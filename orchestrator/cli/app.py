"""The Typer app; command modules add their commands to it."""

from __future__ import annotations

import typer

app = typer.Typer(
    name="gitract-cv",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Which of these segmentation settings is really better, and what do I submit?\n\n"
    "Sweep candidates over folds, rank them, ensemble the best and write a submission.",
    epilog="--debug after any command shows tracebacks. Start with: gitract-cv sweep",
)
