"""The documentation's links lead somewhere, its options exist, its commands are run somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.pages import PAGES, ROOT, broken_links, commands_of, options, unknown_options

RUN = (
    "README.md",
    "docs/tutorial.md",
    "docs/commands.md",
    "docs/data.md",
    "docs/own-scans.md",
    "docs/plugins.md",
    "docs/scores.md",
)  # every command, by tests/project/test_docs.py
ELSEWHERE = {  # commands that are not run here, and where they are
    "make": "by CI, before the tests",
    "pip install": "by make install; extras by the tests that need them",
    "docker": "not here: tests/project/test_deploy.py checks the file",
    "ray get-auth-token": "tests/ray_cluster",
    "ray start": "tests/ray_cluster",
    "chmod": "tests/ray_cluster",
    "export": "tests/ray_cluster and tests/orchestrator/storage/test_remote_run.py",
    "sbatch": "tests/project/test_deploy_slurm.py",
    "python -m tests.fuzz": "its corpus by tests/project/test_fuzz_corpus.py",
    "kubectl": "not here: tests/project/test_deploy.py checks the file",
    "nvidia-cuda-mps-control": "not here: it needs a GPU, see benchmarks/results/gpu.md",
}
OURS_ELSEWHERE = {
    "docs/clusters.md": "tests/ray_cluster and tests/orchestrator/storage/test_remote_run.py",
    "benchmarks/results/nnunet_rival.md": "tests/orchestrator/api/test_added.py",
}
EACH = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


@EACH
def test_no_command_of_a_page_goes_unmentioned(page: Path) -> None:
    name = str(page.relative_to(ROOT))
    elsewhere = (*ELSEWHERE, *(["gitract-cv "] if name in (*RUN, *OURS_ELSEWHERE) else []))
    assert not [c for c in commands_of(page) if not c.startswith(elsewhere)]


@EACH
def test_options_that_a_page_names_exist(page: Path) -> None:
    assert not unknown_options(page)


@EACH
def test_links_lead_somewhere(page: Path) -> None:
    assert not broken_links(page)


BAD_PAGE = """
# A page: its faults

[itself](page.md), [a heading](#a-page-its-faults), [another's](more.md#there-1), [far](https://x.y)
![gone](gone.png), [no heading](#nowhere), [nor there](more.md#not-there), [code](#a-comment)
`sweep --race`, `--race`, `gitract-cv report --json`, `docker run --rm`, `gitract-cv`
`sweep --rase`, `--rase`, `gitract-cv report --tune`, `gitract-cv swep`

```console
# a comment
$ gitract-cv sweep --folds=5 \\
    --data DIR  # --sweep
$ gitract-cv sweep --fold 5
```
"""


def test_faults_of_a_page_are_found(tmp_path: Path) -> None:
    """Each kind once, beside the same without a fault."""
    page = tmp_path / "page.md"
    page.write_text(BAD_PAGE)
    (tmp_path / "more.md").write_text("## There, 1\n")
    assert broken_links(page) == ["gone.png", "#nowhere", "more.md#not-there", "#a-comment"]
    assert unknown_options(page) == [
        "sweep --rase",
        "--rase",
        "gitract-cv report --tune",
        "gitract-cv swep",
        "gitract-cv sweep --fold 5",
    ]
    assert commands_of(page)[0].split() == ["gitract-cv", "sweep", "--folds=5", "--data", "DIR"]


def test_readme_names_every_command_and_no_other() -> None:
    table = (ROOT / "README.md").read_text().partition("## Commands")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `gitract-cv ([a-z-]+)", table, re.MULTILINE)) == set(options())
