"""Claim: trainings in bf16 and in fp32 end within noise of each other.

A small network with Dice loss on a phantom of twenty patients, both precisions, five folds,
ranked by `gitract-cv` itself: the interval of the difference between bf16 and fp32 comes from the
report's own statistics.

    python -m benchmarks.studies.precision --out benchmarks/results/precision.md
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.measuring import machine, parser, publish, table
from gitract_core.phantom import write_phantom

SPACE = """
folds: 5
loss: dice
network: {widths: "8,16,24,32,48", depth: 4}
input: {size: 32, channels: 1}
augmentation: {kinds: elastic+noise+blur}
optimizer: {learning_rate: 0.003, batch_size: 8}
training: {epochs: EPOCHS, patience: EPOCHS, precision: [fp32, bf16]}
"""
CODE = "from orchestrator.cli import main; main()"


def swept(folder: Path, epochs: int) -> dict[str, Any]:
    """What ``sweep --json`` says."""
    (folder / "space.yaml").write_text(SPACE.replace("EPOCHS", str(epochs)))
    arguments = ["sweep", "--local", "--data", str(folder / "data"), "--space", "space.yaml"]
    done = subprocess.run(
        [sys.executable, "-c", CODE, *arguments, "--out", "run", "--json"],
        cwd=folder,
        stdout=subprocess.PIPE,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main() -> None:
    made = parser(__doc__ or "", rounds=1)
    made.add_argument("--epochs", type=int, default=6)
    made.add_argument("--cases", type=int, default=20)
    options = made.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_phantom(folder / "data", cases=options.cases, slices_per_scan=32)
        found = swept(folder, options.epochs)
    rows = [
        (r["candidate"], f"{r['score']:.4f}", f"{r['score_sd']:.4f}") for r in found["leaderboard"]
    ]
    effects = {e["knob"]: e for e in found["statistics"]["effects"]}
    effect = effects["training.precision"]
    better = effect["levels"][0]["value"]
    facts = (
        f"{better} is ahead by {effect['span']:.4f} "
        f"(95 % interval {effect['low']:.4f} to {effect['high']:.4f}): "
        + ("**more than chance**." if effect["low"] > 0 else "no more than chance.")
    )
    header = ["candidate", "score", "sd over folds"]
    parts = [table(header, rows), facts, found["statistics"]["in_words"], machine("torch")]
    publish("bf16 against fp32", parts, options.out)


if __name__ == "__main__":
    main()
