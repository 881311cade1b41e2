"""The tool that counts which single-line changes of the code the tests notice."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.studies import mutant_hook
from benchmarks.studies.mutant_sites import KINDS, Mutant, draw, files_of, mutants_of
from benchmarks.studies.mutants import report

ROOT = Path(__file__).resolve().parents[2]
SOURCE = '''"""A text of 3 words."""

from math import sqrt, tau  # 2 names

__all__ = ["LIMIT", "f"]
LIMIT: int = 7


def f(a: int, b: int = 4, *rest: int) -> float:
    """More than 5 words."""
    if (a & b) == 8 and not rest:
        rest += (9,)
    if a > b:
        raise ValueError(f"{a + 1} is above {b}", 10)
    assert a < 11
    print(a, b)
    largest = max(a, b)
    # é 12 + 13
    text = "é" + str(a) + "é"; a *= 2
    return sqrt(a) if text else pow(a, b) - (a + b) * largest
'''


def changes(kind: str, text: str = SOURCE) -> set[tuple[str, str]]:
    return {(m.old, m.new) for m in mutants_of(text) if m.kind == kind}


def test_what_is_changed_and_what_is_left_alone() -> None:
    assert changes("comparison") == {("==", "!="), (">", ">=")}
    assert changes("arithmetic") == {
        ("&", "|"),
        ("+=", "-="),
        ("*=", "/="),
        ("-", "+"),
        ("+", "-"),
        ("*", "/"),
    }
    assert {old for old, _ in changes("constant")} == {"7", "4", "8", "9", "2"}
    assert all(abs(int(old) - int(new)) == 1 for old, new in changes("constant"))
    assert {old for old, _ in changes("statement")} == {
        "rest += (9,)",
        'raise ValueError(f"{a + 1} is above {b}", 10)',
        "print(a, b)",
        "a *= 2",
    }
    conditions = {old for old, _ in changes("condition")}
    assert conditions == {"(a & b) == 8 and not rest", "a > b", "text"}
    assert changes("arguments") == {("a, b", "b, a")}


def test_a_mutant_is_another_program_with_one_line_changed() -> None:
    before = SOURCE.splitlines()
    found = mutants_of(SOURCE, "some.py", "group")
    assert len({m.id for m in found}) == len(found) > 20
    for mutant in found:
        text = mutant.applied(SOURCE)
        assert ast.dump(ast.parse(text)) != ast.dump(ast.parse(SOURCE))
        after = text.splitlines()
        lines = [i for i, pair in enumerate(zip(before, after, strict=True), 1) if len({*pair}) > 1]
        assert lines == [mutant.line]
        assert after[mutant.line - 1].strip() == mutant.after
    assert {m.line for m in found if m.imported} == {6, 9}


def test_statements_of_several_lines_are_known() -> None:
    text = "def f(a):\n    return g(\n        a,\n        a + 1,\n    )\n"
    assert {m.statement for m in mutants_of(text) if m.line == 4} == {(2, 5)}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A small repository."""
    root = tmp_path / "repository"
    (root / "toy").mkdir(parents=True)
    (root / "toy" / "__init__.py").write_text("")
    (root / "toy" / "near.py").write_text(SOURCE)
    (root / "toy" / "far.py").write_text("def far(a):\n    return a + 2\n")
    return root


GROUPS = {"first": ("toy/n*.py",), "rest": ("toy/*.py",)}


def test_a_draw_takes_groups_and_kinds_in_turn_and_follows_from_its_seed(root: Path) -> None:
    assert files_of(root, GROUPS) == {
        "first": ["toy/near.py"],
        "rest": ["toy/__init__.py", "toy/far.py"],
    }
    drawn = draw(root, GROUPS, 8, 0)
    assert [m.group for m in drawn] == ["first", "rest", "first", "rest", *["first"] * 4]
    assert [m.kind for m in drawn if m.group == "first"] == list(KINDS)
    assert drawn == draw(root, GROUPS, 8, 0)
    assert draw(root, GROUPS, 8, 1) != drawn
    assert set(drawn) < set(draw(root, GROUPS, 1000, 0)) == set(draw(root, GROUPS, 1000, 1))


def child(root: Path, code: str, **environment: str) -> str:
    """What a process prints that has the hook, as those that tests start."""
    hooks = root.parent / "hooks"
    hooks.mkdir(exist_ok=True)
    shutil.copy(mutant_hook.__file__, hooks / "sitecustomize.py")
    path = f"{hooks}{os.pathsep}{root}"
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": path, **environment},
    ).stdout.strip()


def test_a_process_sees_the_mutant_and_the_file_stays(root: Path) -> None:
    code = "import toy.far; print(toy.far.far(5))"
    assert child(root, code) == "7"
    (plus,) = (m for m in draw(root, GROUPS, 1000, 0) if (m.file, m.old) == ("toy/far.py", "+"))
    file, text = root / "toy" / "far.py", root.parent / "mutant.py"
    text.write_text(plus.applied(file.read_text()))
    mutant = json.dumps({"file": str(file), "text": str(text)})
    assert child(root, code, **{mutant_hook.MUTANT: mutant}) == "3"
    assert child(root, code) == "7", "neither file nor byte code has changed"


def test_lines_are_noted_under_the_test_that_runs_them(root: Path) -> None:
    code = "import os, toy.far; os.environ['PYTEST_CURRENT_TEST'] = 'b (call)'; toy.far.far(1)"
    log = root.parent / "log"
    wanted = json.dumps({"files": [str(root / "toy" / "far.py")], "log": str(log)})
    child(root, code, **{mutant_hook.LINES: wanted, mutant_hook.TEST: "a (setup)"})
    found = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(test, line) for test, _, line in found] == [("a (setup)", 1), ("b (call)", 2)]


REGISTRY = """
KNOWN = set()

def known(f):
    KNOWN.add(f.__name__)
    return f

@known
def one():
    return len(KNOWN) > 0
"""


def test_lines_that_run_at_import_count_for_every_test_of_their_file(root: Path) -> None:
    (root / "toy" / "small.py").write_text(REGISTRY)
    (root / "test_toy.py").write_text(
        "from toy.small import one\n\ndef test_one():\n    assert one()\n"
    )
    words = ["--root", root, "--files", "toy/small.py", "--tests", "test_*.py", "--load"]
    command = [sys.executable, "-m", "benchmarks.studies.mutants", *map(str, words)]
    subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    record = (root / "build" / "mutants.jsonl").read_text().splitlines()
    verdicts = {(r["old"], r["new"]): r["verdict"] for r in map(json.loads, record)}
    assert verdicts["KNOWN.add(f.__name__)", "pass"] == "caught"


SMALL = "def small(a, b):\n    print(a, b)\n    return a > b\n"
TESTS = """
import subprocess, sys
from toy.far import far

def test_far():
    assert far(1) == 3

def test_in_a_child():
    code = "from toy.small import small; print(small(2, 2))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["2", "2", "False"]
"""


def test_verdicts_are_found_kept_and_reported(root: Path) -> None:
    (root / "toy" / "small.py").write_text(SMALL)
    (root / "test_toy.py").write_text(TESTS)
    words = ["--root", root, "--files", "toy/far.py", "toy/small.py", "--tests", "test_*.py"]
    words += ["--workers", "2", "--load"]
    command = [sys.executable, "-m", "benchmarks.studies.mutants", *map(str, words)]
    first, again = (
        subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True).stdout
        for _ in range(2)
    )
    record = (root / "build" / "mutants.jsonl").read_text().splitlines()
    verdicts = {(r["old"], r["new"]): r["verdict"] for r in map(json.loads, record)}
    survivor = verdicts.pop(("a, b", "b, a"))
    assert survivor == "survived"
    assert len(verdicts) == 4
    assert set(verdicts.values()) == {"caught"}, "two of them in another process"
    assert "5 mutants: 4 caught, 1 survived, 80.0% caught" in first
    assert "arguments: toy/small.py:2 print(a, b) -> print(b, a)" in first
    assert first.endswith(again), "nothing is run again"


def test_a_report_counts_by_kind_and_group_and_sets_the_equivalent_apart() -> None:
    found = mutants_of(SOURCE, "some.py", "group")[:5]
    words = ("caught", "survived", "untested", "error why", "survived slow")
    verdicts = {m.id: word for m, word in zip(found, words, strict=True)}
    key = (found[4].file, found[4].before, found[4].after)
    text = report(found, verdicts, {key: "of no consequence"})
    head = "1 caught, 1 equivalent, 1 error, 2 survived, 33.3% caught"
    assert text.splitlines()[0] == f"5 mutants: {head}"
    assert f"  group        {head}" in text
    assert "(no test runs it)" in text
    assert "(of no consequence)" in text
    assert "(why)" in text
    some: Mutant = found[1]
    assert f"  {some.kind}: some.py:{some.line} {some.before} -> {some.after}\n" in text
