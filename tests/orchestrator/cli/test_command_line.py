"""The commands as a user runs them, on the tiny data set, in processes of their own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from gitract_core.results.trial_result import read_history
from orchestrator.api.machines import dashboard_lines
from tests.support.command_line import ROOT, cli
from tests.support.tiny_sweep import SPACE
from tests.support.waiting import wait_until
from tests.support.warm import WarmPopen, run_warm

_SPACE = SPACE + "training: {epochs: 2}\n"


@pytest.fixture(scope="module")
def swept(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a sweep was run into ``runs/space``."""
    home = tmp_path_factory.mktemp("home")
    (home / "space.yaml").write_text(_SPACE)
    arguments = ("sweep", "--local", "--data", tiny, "--space", "space.yaml")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GITRACT_CACHE", str(home / "cache"))
        done = cli(home, *arguments)
    assert "Fitting 2 folds for each of 2 candidates, totalling 4 trials" in done.stdout
    assert "4/4" in done.stderr
    return home


def test_same_command_again_finds_everything_finished(swept: Path, tiny: Path) -> None:
    done = cli(swept, "sweep", "--local", "--data", tiny, "--space", "space.yaml", "--json")
    assert "4 of them are finished already" in done.stderr
    assert len(json.loads(done.stdout)["leaderboard"]) == 2
    assert len(list((swept / "runs/space/trials").glob("*/last.pt"))) == 4


def test_report_ranks_and_writes_tables(swept: Path) -> None:
    done = cli(swept, "report", "--csv", "table.csv", "--markdown", "table.md")
    assert "2 of 2 candidates ranked" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100
    table = pd.read_csv(swept / "table.csv")
    folds = table[["fold0_score", "fold1_score"]]
    assert table["score"].tolist() == pytest.approx(folds.mean(axis=1).tolist())
    assert table["score_sd"].tolist() == pytest.approx(folds.std(axis=1).tolist())
    assert table["score"].is_monotonic_decreasing
    assert "| 1 | bce" in (swept / "table.md").read_text()
    rows = json.loads(cli(swept, "report", "--json").stdout)["leaderboard"]
    assert rows[0]["rank"] == 1
    assert rows[0]["knob.network.depth"] == 1


def test_without_a_test_set_an_ensemble_is_made_all_the_same(swept: Path, tiny: Path) -> None:
    """The contest's is hidden."""
    assert not (tiny / "test").exists()
    done = cli(swept, "ensemble", "--top", 2)
    assert "out-of-fold score" in done.stdout
    assert f"submission  none, for want of scans in {tiny / 'test'}: pass --images" in done.stdout
    made = swept / "runs/space/ensembles/top2-equal"
    assert (made / "members.json").is_file()
    assert not (made / "submission.csv").exists()
    values = json.loads(cli(swept, "ensemble", "--top", 2, "--json").stdout)
    assert values["submission"] is None
    asked = cli(swept, "ensemble", "--top", 2, "--out", "x.csv", expect=2)
    assert f"{tiny / 'test'}: expected scans to predict, got none" in asked.stderr


def test_ensemble_of_one_scores_as_its_candidate(swept: Path, tiny: Path) -> None:
    arguments = ("--images", tiny / "train", "--json")
    one = json.loads(cli(swept, "ensemble", "--top", 1, *arguments).stdout)
    assert one["in_sample"] == pytest.approx(one["candidates"][0]["score"])
    assert (one["score"], one["gain"]) == (one["single"], 0)
    two = json.loads(cli(swept, "ensemble", "--top", 2, *arguments).stdout)
    assert two["faults"] == []
    checked = cli(swept, "check-submission", two["submission"], "--images", tiny / "train")
    assert f"expected score {two['score']:.4f}, out of fold" in checked.stdout
    assert two["to_come"]["patients"] == len(two["per_case"]) == len(two["fold_of_case"])
    arguments = ("check-submission", two["submission"], "--images", tiny / "train", "--json")
    expected = json.loads(cli(swept, *arguments).stdout)["expected"]
    assert expected["interval"] == two["to_come"]["interval"]
    assert expected["out_of_fold_interval"] == two["interval"]
    low, high = expected["interval"]
    if low is not None:
        assert f"95 % interval {low:.4f} to {high:.4f} for" in checked.stdout
        assert "like those of training" in checked.stdout
    members = json.loads((swept / two["members"]).read_text())["members"]
    assert len(members) == 4
    assert sum(m["weight"] for m in members) == pytest.approx(1)
    again = swept / "again.csv"
    cli(swept, "predict", two["members"], "--images", tiny / "train", "--out", again)
    assert again.read_text() == (swept / two["submission"]).read_text()
    scored = cli(swept, "score", again, tiny / "train.csv", "--images", tiny, "--json")
    assert 0 <= json.loads(scored.stdout)["score"] <= 1


def test_a_sweep_that_is_terminated_before_it_begins_says_so(tmp_path: Path, tiny: Path) -> None:
    """Batch systems may take a job back in its first second, when libraries are being loaded."""
    code = (
        "import os, signal, time\n"
        "from orchestrator.api.options import SweepOptions\n"
        "from orchestrator.cli import main\n"
        "def early(*_):\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    time.sleep(60)\n"
        "SweepOptions.request = early\n"
        "main()\n"
    )
    arguments = ["--debug", "sweep", "--local", "--data", str(tiny)]
    ended = run_warm([sys.executable, "-c", code, *arguments], cwd=tmp_path, env=os.environ.copy())
    assert ended.returncode == 143
    assert ended.stderr == "gitract-cv: terminated; the same command goes on from here\n"
    assert list(tmp_path.iterdir()) == []


def test_why_a_submission_has_no_score_to_expect_is_said(swept: Path, tiny: Path) -> None:
    made = cli(swept, "ensemble", "--top", 1, "--images", tiny / "train", "--json")
    submission = swept / json.loads(made.stdout)["submission"]
    content, check = submission.read_bytes(), ("check-submission", submission, "--images", tiny)
    submission.write_bytes(content.rpartition(b",")[0] + b",1 2\n")
    try:
        shown = cli(swept, *check).stdout
        values = json.loads(cli(swept, *check, "--json").stdout)
        assert values["faults"] == []
        assert values["expected"] is None
        assert "changed since it was made" in values["why_no_score"]
        assert f"score to expect is not known: {values['why_no_score']}" in shown
    finally:
        submission.write_bytes(content)
    announced = submission.with_name("oof_score.json")
    announced.rename(announced.with_name("elsewhere"))
    try:
        assert f"{announced.name} is missing" in cli(swept, *check).stdout
    finally:
        announced.with_name("elsewhere").rename(announced)
    assert json.loads(cli(swept, *check, "--json").stdout)["why_no_score"] is None
    alone = swept / "alone.csv"
    alone.write_bytes(content)
    assert "no note beside it" in cli(swept, "check-submission", alone, "--images", tiny).stdout


def test_changed_weights_are_refused(swept: Path, tiny: Path) -> None:
    made = cli(swept, "ensemble", "--top", 1, "--images", tiny / "train", "--json")
    members = json.loads(made.stdout)["members"]
    entry = json.loads((swept / members).read_text())["members"][0]
    weights = (swept / members).parent / entry["weights"]
    before = weights.read_bytes()
    weights.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    try:
        done = cli(swept, "predict", members, "--images", tiny / "train", expect=2)
    finally:
        weights.write_bytes(before)
    assert "SHA-256" in done.stderr
    assert not (swept / "submission.csv").exists()


def test_single_trial_predicts_too(swept: Path, tiny: Path) -> None:
    results = list((swept / "runs/space/trials").glob("*/result.json"))
    trial = max(results, key=lambda r: json.loads(r.read_text())["scores"]["dice"] or 0).parent
    out = swept / "single.csv"
    cli(swept, "predict", trial, "--images", tiny / "train" / "case7", "--out", out)
    assert len(pd.read_csv(out)) == 18


def test_interrupted_sweep_goes_on_where_it_was(tiny: Path, tmp_path: Path) -> None:
    slow = _SPACE.replace("epochs: 2", "epochs: 30, patience: 30").replace(
        "[bce, bce + dice]", "bce"
    )
    (tmp_path / "space.yaml").write_text(slow)
    arguments = ["sweep", "--local", "--data", str(tiny), "--space", "space.yaml"]
    arguments += ["--no-keep-state", "--checkpoint-minutes", "0.001"]
    code, root = "from orchestrator.cli import main; main()", str(ROOT)
    trials = tmp_path / "runs/space/trials"

    def saved() -> set[tuple[str, int]]:
        files = trials.glob("*/checkpoint.pt")
        return {(file.parent.name, file.stat().st_mtime_ns) for file in files}

    def ended_by(*signals: signal.Signals) -> tuple[int, str]:
        before = saved()
        running = WarmPopen(
            [sys.executable, "-c", code, *arguments],
            cwd=tmp_path,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": root},
        )
        wait_until(lambda: len(saved() - before) >= 2)
        for number in signals:
            running.send_signal(number)
            time.sleep(0.2)
        return (running.communicate(timeout=200)[1], running.returncode)[::-1]

    code_of_sigterm, said = ended_by(signal.SIGTERM, signal.SIGTERM)
    assert code_of_sigterm == 143
    assert said.count("the same command goes on from here") == 1
    assert said.count("gitract-cv: terminated; ") == 1
    assert "Traceback" not in said
    returned, said = ended_by(signal.SIGINT, signal.SIGINT)  # the second is not heard
    assert returned == 130
    assert said.count("gitract-cv: interrupted; ") == said.count("the same command goes on") == 1
    assert "Traceback" not in said
    assert not list(trials.glob("*/result.json"))
    assert not list(trials.glob("*/.*.part"))
    before = [len(read_history(file)) for file in trials.glob("*/history.csv")]
    assert all(0 < epochs < 30 for epochs in before)
    assert "2/2" in cli(tmp_path, *arguments).stderr
    assert len(list(trials.glob("*/result.json"))) == len(list(trials.glob("*/oof.npz"))) == 2
    assert not [*trials.glob("*/last.pt"), *trials.glob("*/checkpoint.pt")]


def test_another_data_set_is_refused(swept: Path, own_tiny: Path) -> None:
    table = own_tiny / "train.csv"
    table.write_text(table.read_text().replace("stomach,\n", "stomach,1 2\n", 1))
    arguments = ("sweep", "--local", "--data", own_tiny, "--space", "space.yaml")
    done = cli(swept, *arguments, expect=2)
    assert "the run's data set" in done.stderr
    assert "--out" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("sweep", "--data", "nowhere"), "nowhere: expected a folder"),
        (("sweep", "--space", "papr"), "did you mean 'paper'"),
        (("report", "nowhere"), "a run directory"),
        (("report",), "run gitract-cv sweep"),
        (("ensemble",), "run gitract-cv sweep"),
        (("score", "a.csv", "b.csv"), "a CSV table"),
        (("predict", "nowhere", "--images", "x"), "nowhere"),
        (("phantom", "p", "--like", "papers"), "--like"),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(
    tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    done = cli(tmp_path, *arguments, expect=2)
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_brackets_and_colons_of_paths_are_no_markup(swept: Path) -> None:
    name = "runs/a [new] [b]x[/b] 3:100:2"
    shutil.copytree(swept / "runs/space", swept / name)
    said = cli(swept, "report", name).stdout.replace("\n", "")
    assert f"run directory  {name}" in said
    assert "runs/none[/]: expected" in cli(swept, "report", "runs/none[/]", expect=2).stderr
    shutil.rmtree(swept / name)


def test_a_number_is_set_as_a_space_writes_it(swept: Path, tiny: Path) -> None:
    words = ("--set", "optimizer.learning_rate=1e-2", "--set", "loss=bce", "--json")
    done = cli(swept, "plan", "--local", "--data", tiny, "--space", "space.yaml", *words)
    assert json.loads(done.stdout)["trials"] == 2


def test_ctrl_c_while_a_run_is_stored_is_one_line(tmp_path: Path) -> None:
    code = (
        "import sys; from orchestrator.cli import main\n"
        "from orchestrator.cli.terminal import screen\n"
        "def interrupted(): raise KeyboardInterrupt\n"
        "screen.AT_END.callback(interrupted); sys.argv[1:] = ['doctor']; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == 130
    assert done.stderr == "gitract-cv: interrupted; the same command goes on\n"


def test_faulty_requests_leave_no_run_directory(tiny: Path, tmp_path: Path) -> None:
    base = ("sweep", "--local", "--data", tiny, "--space", "smoke", "--out", "run")
    for extra, message in (
        (("--folds", 9), "2 to 4 folds"),
        (("--set", "training.epoch=1"), "training.epochs"),
        (("--set", "loss=bce + dicee"), "dice"),
        (("--exclude", "case9_day9"), "scans to exclude"),
    ):
        done = cli(tmp_path, *base, *extra, expect=2)
        assert message in done.stderr
        assert not (tmp_path / "run").exists()


def test_help_and_report_load_neither_torch_nor_ray(swept: Path) -> None:
    for arguments in (["--help"], ["report", "runs/space"]):
        code = (
            "import sys; from orchestrator.cli import main\n"
            f"sys.argv[1:] = {arguments}\n"
            "try: main()\nexcept SystemExit as end: assert not end.code\n"
            "heavy = {'torch', 'ray', 'sklearn', 'pandas', 'scipy.stats'} & set(sys.modules)\n"
            "assert not heavy, heavy"
        )
        root = str(ROOT)
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=swept,
            check=True,
            capture_output=True,
            env={**os.environ, "PYTHONPATH": root},
        )


@pytest.mark.parametrize(
    ("url", "lines"),
    [
        ("", 0),
        ("http://127.0.0.1:8265", 1),
        ("http://localhost:8265", 1),
        ("http://[::1]:8265", 1),
        ("http://10.0.0.7:8265", 2),
        ("http://head.cluster:8265", 2),
    ],
)
def test_a_dashboard_that_others_may_reach_is_warned_of(url: str, lines: int) -> None:
    said = dashboard_lines(url)
    assert len(said) == lines
    assert all(url in line for line in said[:1])
    assert all("whoever reaches it can run code" in line for line in said[1:])


def test_every_command_has_help_with_an_example(tmp_path: Path) -> None:
    commands = "sweep report ensemble predict score phantom validate check-submission doctor"
    commands += " eda figures audit verify export status plan"
    for command in commands.split():
        assert "Example: gitract-cv" in cli(tmp_path, command, "--help").stdout


def test_doctor_and_validate_speak_json(tiny: Path, tmp_path: Path) -> None:
    findings = json.loads(cli(tmp_path, "doctor", "--json").stdout)
    assert {"torch", "device", "disk"} <= {f["what"] for f in findings}
    faults = json.loads(cli(tmp_path, "validate", "--data", tiny, "--json").stdout)
    assert faults == {"slices": 29, "scans": 5, "faults": []}
