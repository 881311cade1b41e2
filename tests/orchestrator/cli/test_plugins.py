"""Networks and losses of one's own, from the sweep to a bundle: ``--plugin FILE.py``."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitract_core.plugin import executed
from orchestrator.api.run import open_run
from orchestrator.sweeps.run_directory import SweepDirectory
from tests.support.plugin_files import LATER, PLUGIN, digest, forget_plugins, no_plugins
from tests.support.plugin_files import write_plugin as write
from tests.support.refusing import refused, run_cli
from tests.support.tiny_contest import write_tiny_contest
from tests.support.tiny_sweep import SPACE

VARIANTS = """training: {epochs: 1}
postprocess: {threshold: 0.1}
variants:
- {}
- {loss: 0.5*squared+bce}
- {network.family: one_layer}
"""
MINE = SPACE.replace("loss: [bce, bce + dice]", "loss: bce") + VARIANTS
SWEEP = ["sweep", "--data", "data", "--space", "mine.yaml", "--local", "--no-tensorboard"]


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a plugin, a space with candidates of ours and of its, and their run."""
    home = tmp_path_factory.mktemp("home")
    write_tiny_contest(home / "data")
    (home / "mine.yaml").write_text(MINE)
    write(home)
    with pytest.MonkeyPatch.context() as patch, no_plugins():
        patch.setenv("GITRACT_CACHE", str(home / "cache"))
        patch.chdir(home)
        said(*SWEEP, "--plugin", "mine.py")
        yield home


@pytest.fixture
def home(swept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of it, and no plugin executed."""
    for name in ("data", "runs", "mine.yaml", "mine.py"):
        (shutil.copytree if (swept / name).is_dir() else shutil.copy)(swept / name, tmp_path / name)
    monkeypatch.setenv("GITRACT_CACHE", str(swept / "cache"))
    monkeypatch.chdir(tmp_path)
    with no_plugins():
        yield tmp_path


def said(*words: str) -> str:
    ended = run_cli(*words)
    assert ended.code == 0, ended
    return ended.out


def test_candidates_of_a_plugin_are_ranked_beside_ours(home: Path) -> None:
    record = SweepDirectory(home / "runs/mine").record()
    assert [(c.loss, c.network.family, c.plugin) for c in record.candidates] == [
        ("bce", "unet", ""),
        ("0.5*brier + bce", "unet", digest()),
        ("bce", "one_layer", digest()),
    ]
    listed = json.loads(said("report", "runs/mine", "--all", "--json"))
    labels = {line["candidate"] for line in listed["leaderboard"]}
    assert labels == {"bce, family unet", "0.5*brier + bce, family unet", "bce, family one_layer"}
    assert all(line["rank"] for line in listed["leaderboard"])
    assert executed() == ()


def test_what_shows_a_run_needs_no_plugin(home: Path) -> None:
    for words in (
        ["status", "runs/mine"],
        ["report", "runs/mine", "--html", "page.html"],
        ["report", "runs/mine", "--space", "mine.yaml"],
        ["compare", "runs/mine", "1", "2"],
        ["verify", "runs/mine"],
        ["figures", "runs/mine"],
    ):
        said(*words)
    assert digest() in (home / "page.html").read_text()
    assert executed() == ()


def test_the_run_holds_a_copy_that_verify_compares(home: Path) -> None:
    copy = home / "runs/mine/plugins" / f"{digest()}.py"
    assert copy.read_text() == PLUGIN
    copy.write_text(LATER)
    ended = run_cli("verify", "runs/mine")
    assert ended.code == 1
    assert f"expected a plugin with the hash {digest()}" in ended.out
    copy.unlink()
    assert run_cli("verify", "runs/mine").code == 1
    said(*SWEEP, "--plugin", "mine.py")
    assert copy.read_text() == PLUGIN


def test_a_changed_copy_in_the_run_is_never_executed(home: Path) -> None:
    copy = home / "runs/mine/plugins" / f"{digest()}.py"
    copy.write_text("raise SystemExit('executed')\n")
    said("report", "runs/mine")
    said(*SWEEP, "--plugin", "mine.py")
    assert copy.read_text() == PLUGIN


def test_a_sweep_goes_on_with_the_same_plugin_and_not_without(home: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in home.glob("runs/mine/trials/*/result.json")}
    line = refused(home, SWEEP, naming="--plugin: expected the file that defines loss 'squared'")
    assert f"got none; pass --plugin FILE.py as before; the run holds plugins/{digest()}" in line
    shutil.move("mine.py", "elsewhere.py")  # the content counts, not the name
    assert "finished already" in said(*SWEEP, "--plugin", "elsewhere.py")
    now = {p: p.stat().st_mtime_ns for p in home.glob("runs/mine/trials/*/result.json")}
    assert now == before


def test_a_name_that_no_plugin_defines_proposes_one(home: Path) -> None:
    shutil.rmtree(home / "runs")
    for setting in ("loss=squared", "network.family=one_layer"):
        naming = f"got '{setting.partition('=')[2]}'; "
        (home / "mine.yaml").write_text(SPACE)
        assert "--plugin FILE.py" in refused(home, [*SWEEP, "--set", setting], naming=naming)
    (home / "mine.yaml").write_text(MINE)
    words = [*SWEEP, "--plugin"]
    refused(home, [*words, "none.py"], naming="--plugin none.py: expected a Python file")
    (home / "bad.py").write_text("1/0\n")
    refused(home, [*words, "bad.py"], naming="bad.py, line 1: ")
    text = PLUGIN.replace("padding=1", "padding=0")
    write(home, text, "bad.py")
    refused(home, [*words, "bad.py"], naming="bad.py, network 'one_layer': expected logits (2, 4,")


def test_a_changed_plugin_gives_new_candidates_beside_the_old_ones(home: Path) -> None:
    write(home, LATER)
    told = said(*SWEEP, "--plugin", "mine.py")
    assert f"plugin mine.py ({digest(LATER)}): 2 candidates" in told
    assert "candidates of another version of a plugin, which stay beside the new ones: 2" in told
    run = open_run(home / "runs/mine").showing(every=True)
    labels = {line.label for line in run.board.lines}
    assert {f"bce, family one_layer, plugin {d[:6]}" for d in (digest(), digest(LATER))} < labels
    assert "bce, family unet" in labels
    assert len(labels) == 5
    both = sorted(p.stem for p in (home / "runs/mine/plugins").iterdir())
    assert both == sorted((digest(), digest(LATER)))
    assert run_cli("verify", "runs/mine").code == 0
    forget_plugins()
    ensemble = ["ensemble", "runs/mine", "--top", "2", "--images", "data/train"]
    old = refused_for_plugin(home, ensemble)
    assert "got none" in old
    said(*ensemble, "--plugin", "mine.py", "--out", "s.csv")  # those of the last sweep


def refused_for_plugin(home: Path, words: list[str]) -> str:
    """Refused for want of a plugin; an ensemble's own files may be there by then."""
    ended = run_cli(*words)
    assert ended.code == 2, ended
    (line,) = ended.err.strip().splitlines()
    assert line.startswith("gitract-cv: --plugin: expected the file with the hash "), line
    return line


def test_what_predicts_asks_for_the_plugin_again(home: Path) -> None:
    run = SweepDirectory(home / "runs/mine")
    spec = next(s for s in run.record().specs() if s.candidate.network.family == "one_layer")
    trial = str(run.trial(spec).directory)
    predict = ["predict", trial, "--images", "data/train", "--out", "s.csv", "--device", "cpu"]
    assert "got none" in refused(home, predict, naming=digest())
    write(home, LATER, "other.py")
    both = f"{digest()}, got other.py with the hash {digest(LATER)}"
    refused(home, [*predict, "--plugin", "other.py"], naming=both)
    said(*predict, "--workers", "2", "--plugin", "mine.py")  # in processes that never saw the file
    forget_plugins()
    run.trial(spec).oof.unlink()
    assert "got none" in refused_for_plugin(home, ["audit", "runs/mine", "--top", "2"])
    said("audit", "runs/mine", "--top", "2", "--plugin", "mine.py")


def test_a_bundle_holds_the_plugin_and_names_it(home: Path) -> None:
    ensemble = ["ensemble", "runs/mine", "--top", "2", "--plugin", "mine.py"]
    told = said(*ensemble)
    assert "gitract-cv export runs/mine/ensembles/top2-equal --plugin mine.py" in told
    forget_plugins()
    export = ["export", "runs/mine/ensembles/top2-equal", "--device", "cpu"]
    refused(home, export, naming=digest())
    said(*export, "--plugin", "mine.py")
    copy = home / "bundle/plugins" / f"{digest()}.py"
    assert copy.read_text() == PLUGIN
    notebook = json.loads((home / "bundle/predict.ipynb").read_text())
    code = "".join(notebook["cells"][0]["source"])
    assert f"predict += ['--plugin', f'{{BUNDLE}}/plugins/{digest()}.py']" in code
    assert f"--plugin plugins/{digest()}.py" in (home / "bundle/README.md").read_text()
    forget_plugins()
    predict = ["predict", "bundle", "--images", "data/train", "--out", "s.csv", "--device", "cpu"]
    refused(home, predict, naming=digest())
    said(*predict, "--plugin", str(copy))


def test_a_plan_measures_what_a_plugin_defines(home: Path) -> None:
    shutil.rmtree(home / "runs")
    (home / "mine.yaml").write_text(MINE.partition("variants")[0])
    plan = ["plan", *SWEEP[1:], "--set", "network.family=one_layer", "--json"]
    planned = json.loads(said(*plan, "--plugin", "mine.py"))
    assert planned["trials"] == 2
    assert not (home / "runs").exists()
