"""The command that answers a question about two candidates, two values of a knob, or two runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gitract_core.errors import counted
from orchestrator.cli.app import app
from orchestrator.cli.terminal.screen import console, open_run, print_json

if TYPE_CHECKING:
    from orchestrator.api.comparison import Comparison

_MOST_PAIRS = 20


@app.command(epilog='Example: gitract-cv compare runs/paper "loss=dice" "loss=bce"')
def compare(
    run: Annotated[Path, typer.Argument(help="Run directory.")],
    a: Annotated[
        str | None, typer.Argument(help="A rank, a letter, a label, or KNOB=VALUE.")
    ] = None,
    b: Annotated[str | None, typer.Argument(help="What it is compared with, likewise.")] = None,
    other: Annotated[
        Path | None,
        typer.Option("--with", help="Another run: the same candidates (or A) on the same folds."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Machine-readable output on stdout alone.")
    ] = False,
) -> None:
    """The difference of A and B with its interval, paired over patients, folds and other knobs.

    With KNOB=VALUE on both sides every pair of ranked candidates that agree in all other knobs
    counts. With --with the first run is compared with the second, by the first one's score.
    """
    from gitract_core.errors import RunError
    from orchestrator.api.comparison import compare_runs

    opened = open_run(run, bulky=False)
    if other is not None:
        if b is not None:
            remedy = "leave B out"
            raise RunError("compare", "A or nothing beside --with", f"{a} and {b}", remedy)
        found = compare_runs(
            opened.board,
            open_run(other, bulky=False, score=opened.measure.text).board,
            (str(run), str(other)),
            a,
        )
    elif a is None or b is None:
        got = "neither" if a is None else f"{a} alone"
        raise RunError("compare", "RUN A B", got, "name both, or pass --with RUN2")
    else:
        found = opened.comparison(a, b)
    if as_json:
        print_json(found.to_json())
    else:
        _show(found)


def _show(found: Comparison) -> None:
    from orchestrator.report.table import Column, Table, to_terminal

    verb = "less" if found.difference < 0 else "more"
    text = f"{found.a} scores {abs(found.difference):.4f} {verb} than {found.b}"
    if found.why_no_interval is None:
        clear = found.low > 0 or found.high < 0
        text += f" (95 % interval of the difference {found.low:.4f} to {found.high:.4f}): "
        text += "more than chance explains." if clear else "chance alone may explain it."
    else:
        text += f"; {found.why_no_interval}."
    out = console()
    out.print(text)
    over = f"{counted(found.cases, 'patient')} in {counted(found.folds, 'fold')}"
    if found.pairs > 1:
        over = f"{found.pairs} pairs of candidates, {over}"
    out.print(f"paired over {over}{_test_in_words(found.p)}", style="dim")
    if found.pairs > 1:
        shown = found.each[:_MOST_PAIRS]
        columns = Column("A", "left"), Column("B", "left"), Column("A - B", show=_signed)
        rows = tuple((one.a, one.b, one.difference) for one in shown)
        more = found.pairs - len(shown)
        notes = (f"{counted(more, 'more pair')}: --json has them all",) if more else ()
        out.print()
        out.print(to_terminal(Table("", columns, rows, notes)))


def _test_in_words(p: float) -> str:
    """The signed-rank test; nothing where there are too few patients for it."""
    if p != p:
        return ""
    value = "p < 0.0001" if p < 0.0001 else f"p {p:.4f}"
    return f"; {value} (signed-rank test over patients, which does not know the luck of training)"


def _signed(value: float) -> str:
    """Four decimals with a sign.

    >>> _signed(0.1234), _signed(-0.5)
    ('+.1234', '-.5000')
    """
    return f"{value:+.4f}".replace("0.", ".", 1)
