"""Where a source file can be changed by one line, and a draw of such changes.

A *mutant* is one change inside one line, so that all other lines keep their numbers. Docstrings,
``__all__``, annotations, imports, decorators, assertions, texts and what raises an error is built
of are left alone.
"""

from __future__ import annotations

import ast
import hashlib
import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

KINDS = ("comparison", "arithmetic", "constant", "statement", "condition", "arguments")

GROUPS: dict[str, tuple[str, ...]] = {
    "checkpoint": ("gitract_core/training/checkpoint.py",),
    "folds": ("gitract_core/data/folds.py",),
    "losses": ("gitract_core/losses/**/*.py",),
    "metrics": ("gitract_core/metrics/**/*.py", "gitract_core/results/score_table.py"),
    "postprocess": ("gitract_core/prediction/postprocess.py",),
    "members": ("gitract_core/prediction/members.py",),
    "training": ("gitract_core/training/**/*.py",),
    "trial": ("gitract_core/trial/**/*.py",),
    "statistics": ("orchestrator/statistics/**/*.py",),
    "race": ("orchestrator/steering/race*.py",),
    "ensembles": ("orchestrator/ensembles/**/*.py", "orchestrator/out_of_fold/**/*.py"),
}
"""Name -> globs from the root; a file is of the first group that names it."""

_COMPARISONS: dict[type[ast.cmpop], str] = {
    ast.Lt: "<=",
    ast.LtE: "<",
    ast.Gt: ">=",
    ast.GtE: ">",
    ast.Eq: "!=",
    ast.NotEq: "==",
    ast.Is: "is not",
    ast.IsNot: "is",
    ast.In: "not in",
    ast.NotIn: "in",
}
_SHARP = (ast.Eq, ast.NotEq, ast.Is, ast.IsNot, ast.In, ast.NotIn)
_OPERATORS: dict[type[ast.operator], tuple[str, str]] = {
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "/"),
    ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "*"),
    ast.Mod: ("%", "*"),
    ast.Pow: ("**", "*"),
    ast.BitAnd: ("&", "|"),
    ast.BitOr: ("|", "&"),
}
_COMMUTATIVE = {"min", "max", "isinstance", "issubclass", "getattr", "hasattr", "cast"}
_COMMUTATIVE |= {"maximum", "minimum", "hypot", "gcd", "array_equal", "isclose", "allclose"}
_STATEMENTS = (ast.Expr, ast.AugAssign, ast.Raise, ast.Continue, ast.Break, ast.Delete)
_LEFT_ALONE = (ast.Import, ast.ImportFrom, ast.JoinedStr, ast.Raise, ast.Assert, ast.Global)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change.

    Attributes:
        file: path from the root.
        group, kind: of ``GROUPS`` and ``KINDS``.
        line, column, end: where, in characters; lines from 1, columns from 0.
        old, new: the text there, and what replaces it.
        before, after: the whole line, without its indentation.
        imported: the line runs when the module is imported, and not in a function.
        statement: first and last line of the statement, or of its head.
        source: hash of the file.
    """

    file: str
    group: str
    kind: str
    line: int
    column: int
    end: int
    old: str
    new: str
    before: str
    after: str
    imported: bool
    statement: tuple[int, int]
    source: str

    @property
    def id(self) -> str:
        """Hash of place, kind, change and the file's content."""
        return _hash(*map(str, asdict(self).values()))

    def applied(self, text: str) -> str:
        """The file's text with the change."""
        lines = text.splitlines(keepends=True)
        line = lines[self.line - 1]
        assert line[self.column : self.end] == self.old, f"{self.file} is another"
        lines[self.line - 1] = line[: self.column] + self.new + line[self.end :]
        return "".join(lines)


def draw(root: Path, groups: Mapping[str, Sequence[str]], count: int, seed: int) -> list[Mutant]:
    """So many mutants, in turn from every group and in each from every kind, while there are any.

    Which one of a group and kind comes next follows from a hash of its line, so that changes
    elsewhere do not draw other mutants.
    """
    strata: dict[str, dict[str, list[Mutant]]] = {}
    for name, files in files_of(root, groups).items():
        kinds: dict[str, list[Mutant]] = defaultdict(list)
        for file in files:
            text = (root / file).read_text(encoding="utf-8")
            for mutant in mutants_of(text, file, name):
                kinds[mutant.kind].append(mutant)
        for some in kinds.values():
            some.sort(key=lambda m: _hash(str(seed), m.file, m.before, m.after, str(m.line)))
        strata[name] = kinds
    queues = [_in_turn([kinds[k] for k in KINDS if k in kinds]) for kinds in strata.values()]
    return list(itertools.islice(_in_turn(queues), count))


def files_of(root: Path, groups: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Group -> its files, each in the first group that names it."""
    taken: set[str] = set()
    found: dict[str, list[str]] = {}
    for name, globs in groups.items():
        paths = {p.relative_to(root).as_posix() for glob in globs for p in root.glob(glob)}
        found[name] = sorted(paths - taken)
        taken |= paths
    return found


def mutants_of(text: str, file: str = "", group: str = "") -> list[Mutant]:
    """All mutants of a source text, each another text that can be compiled."""
    source, lines, tree = _hash(text), text.splitlines(), ast.parse(text)
    statements, found = _statements(tree), dict[tuple[int, str], Mutant]()
    for kind, node, old, new, imported in _changes(tree, text):
        place = _span(node, old, lines)
        if place is None or old == new:
            continue
        line, column = place
        end = column + len(old)
        whole = lines[line - 1]
        changed = whole[:column] + new + whole[end:]
        words = (whole.strip(), changed.strip(), imported, statements[line], source)
        mutant = Mutant(file, group, kind, line, column, end, old, new, *words)
        if (line, changed) not in found and _compiles(mutant.applied(text)):
            found[line, changed] = mutant
    return list(found.values())


def _statements(tree: ast.Module) -> dict[int, tuple[int, int]]:
    """Line -> first and last line of the innermost statement there."""
    found: dict[int, tuple[int, int]] = {}
    for node in ast.walk(tree):  # the outer ones first
        if isinstance(node, ast.stmt):
            body = getattr(node, "body", None)
            last = body[0].lineno - 1 if body else node.end_lineno or node.lineno
            span = (node.lineno, max(node.lineno, last))
            found.update(dict.fromkeys(range(node.lineno, span[1] + 1), span))
    return found


Change = tuple[str, ast.AST | tuple[int, int], str, str, bool]


def _changes(tree: ast.Module, text: str) -> Iterator[Change]:
    for node, imported in _walk(tree, True):
        for change in _of_node(node, text):
            yield (*change, imported)


def _walk(node: ast.AST, imported: bool) -> Iterator[tuple[ast.AST, bool]]:
    """Every node that may be changed, and whether it runs when the module is imported."""
    yield node, imported
    if isinstance(node, _LEFT_ALONE):
        return
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "type_params", "type_comment"):
            continue
        inside = imported and not (isinstance(node, _FUNCTIONS) and name == "body")
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not _is_fixed(child, inside):
                yield from _walk(child, inside)


def _is_fixed(node: ast.AST, imported: bool) -> bool:
    """Docstrings, ``__all__``, names of types, what is for type checkers or programs alone."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return True
    if isinstance(node, ast.Assign):
        names = {t.id for t in node.targets if isinstance(t, ast.Name)}
        return "__all__" in names or (imported and isinstance(node.value, ast.Subscript))
    if isinstance(node, ast.If):
        return "TYPE_CHECKING" in ast.unparse(node.test) or "__name__" in ast.unparse(node.test)
    return isinstance(node, ast.Call) and _name_of(node).endswith(("Error", "warn", "TypedDict"))


def _of_node(  # noqa: C901 - a kind a branch
    node: ast.AST, text: str
) -> Iterator[tuple[str, Any, str, str]]:
    def said(part: ast.AST) -> str:
        return ast.get_source_segment(text, part) or ""

    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        for between in _between(text, node.left, node.comparators[0]):
            yield "comparison", *between, _COMPARISONS[type(node.ops[0])]
    elif isinstance(node, ast.BinOp):
        yield from _calculated(node, node.left, node.right, text)
    elif isinstance(node, ast.AugAssign):
        yield from _calculated(node, node.target, node.value, text)
    elif isinstance(node, ast.Constant):
        yield from _one_off(node, said(node))
    elif isinstance(node, ast.Call):
        yield from _exchanged(node, said)
    if isinstance(node, _STATEMENTS) or _is_state(node):
        yield "statement", node, said(node), "pass"
    for test in _tests(node):
        if not (isinstance(test, ast.Compare) and isinstance(test.ops[0], _SHARP)):
            yield "condition", test, said(test), f"(not ({said(test)}))"


def _calculated(
    node: ast.BinOp | ast.AugAssign, left: ast.expr, right: ast.expr, text: str
) -> Iterator[tuple[str, Any, str, str]]:
    """Another operator between two operands on one line."""
    if type(node.op) not in _OPERATORS or _is_text(left) or _is_text(right):
        return
    old, new = _OPERATORS[type(node.op)]
    equal = "" if isinstance(node, ast.BinOp) else "="
    for between in _between(text, left, right):
        if between[1] == old + equal:
            yield "arithmetic", *between, new + equal


def _one_off(node: ast.Constant, old: str) -> Iterator[tuple[str, Any, str, str]]:
    """A number one larger or smaller, by a hash of where it stands."""
    value = node.value
    if isinstance(value, int | float) and not isinstance(value, bool):
        up = int(_hash(old, str(node.lineno), str(node.col_offset)), 16) % 2
        yield "constant", node, old, repr(value + (1 if up else -1))


def _is_state(node: ast.AST) -> bool:
    """An assignment to an attribute or an item, which others read."""
    kept = (ast.Attribute, ast.Subscript)
    return isinstance(node, ast.Assign) and all(isinstance(t, kept) for t in node.targets)


def _tests(node: ast.AST) -> list[ast.expr]:
    if isinstance(node, ast.If | ast.While | ast.IfExp):
        return [node.test]
    return node.ifs if isinstance(node, ast.comprehension) else []


def _exchanged(node: ast.Call, said: Any) -> Iterator[tuple[str, Any, str, str]]:
    """The first two arguments in the other order."""
    if len(node.args) < 2 or _name_of(node) in _COMMUTATIVE:
        return
    first, second = node.args[:2]
    if first.lineno != second.end_lineno or ast.Starred in (type(first), type(second)):
        return
    yield (
        "arguments",
        (first.lineno, first.col_offset),
        f"{said(first)}, {said(second)}",
        f"{said(second)}, {said(first)}",
    )


def _name_of(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else ast.unparse(node.func)


def _is_text(node: ast.AST) -> bool:
    if isinstance(node, ast.BinOp):
        return _is_text(node.left) or _is_text(node.right)
    return isinstance(node, ast.JoinedStr) or (
        isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


def _between(text: str, left: ast.expr, right: ast.expr) -> Iterator[tuple[Any, str]]:
    """The place and text between two operands of one line, without brackets."""
    if left.end_lineno != right.lineno or left.end_col_offset is None:
        return
    line = text.splitlines()[right.lineno - 1].encode()
    raw = line[left.end_col_offset : right.col_offset].decode()
    start = left.end_col_offset + len(raw) - len(raw.lstrip(") "))
    yield (right.lineno, start), raw.strip("() ")


def _span(node: Any, old: str, lines: Sequence[str]) -> tuple[int, int] | None:
    """Line and column, in characters, of a text at a node; None if it is not inside one line."""
    if isinstance(node, tuple):
        line, column = node
    else:
        if node.lineno != node.end_lineno:
            return None
        line, column = node.lineno, node.col_offset
    column = len(lines[line - 1].encode()[:column].decode())
    return (line, column) if lines[line - 1].startswith(old, column) else None


def _compiles(text: str) -> bool:
    try:
        compile(text, "mutant", "exec", dont_inherit=True)
    except SyntaxError:
        return False
    return True


def _in_turn(queues: Iterable[Iterable[Any]]) -> Iterator[Any]:
    waiting = [iter(queue) for queue in queues]
    while waiting:
        left = []
        for queue in waiting:
            for one in itertools.islice(queue, 1):
                left.append(queue)
                yield one
        waiting = left


def _hash(*words: str) -> str:
    return hashlib.sha256("\0".join(words).encode()).hexdigest()[:16]
