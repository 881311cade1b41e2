"""Claim: what nnU-Net itself writes enters a ranking, on the folds of the run.

A phantom is written in nnU-Net's raw layout, 48 pixels wide, and swept. nnU-Net, from an
environment of its own, plans, preprocesses and trains its 2d configuration on the run's folds
(``gitract-cv folds``), ten iterations a fold on the CPU. Its validation predictions enter the
ranking through ``gitract-cv add``. **The scores mean nothing**: ten iterations are no training.
What is shown is that files, folds, geometry and labels fit.

    python -m venv /tmp/nnunet_env
    /tmp/nnunet_env/bin/pip install nnunetv2 'timm<1.0.23' torch==2.13.0
    python -m benchmarks.studies.nnunet_rival --nnunet /tmp/nnunet_env \\
        --out benchmarks/results/nnunet_rival.md
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import nibabel as nib
import numpy as np

from gitract_core.data.gray import FIRST_GRAY
from gitract_core.data.native import picture
from gitract_core.data.slices import SliceIndex
from gitract_core.data.volumes import scan_masks
from gitract_core.phantom import write_phantom

NAME, CONFIGURATION, TRAINER = "Dataset001_Phantom", "2d", "nnUNetTrainerTenIterations"
CASES, SLICES, SIZE, SCANS_A_CASE = 4, 16, 48, 2
SPACING_MM = (3.0, 8.3, 8.3)  # between slices, rows, columns
TRAINER_CODE = """
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer


class nnUNetTrainerTenIterations(nnUNetTrainer):
    def __init__(self, plans, configuration, fold, dataset_json, device=torch.device("cpu")):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs, self.num_iterations_per_epoch = 1, 10
        self.num_val_iterations_per_epoch = 1
"""
SITE_CODE = """
# torchvision from the registry looks for these beside a CPU build of torch that lacks them.
try:
    import torch
    for name in ("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
                 "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"):
        torch.library.define("torchvision::" + name.split("(")[0], "(" + name.split("(", 1)[1])
except Exception:
    pass
"""
SPACE = """
folds: 2
loss: [bce, bce + dice]
network: {widths: "4,8", depth: 1}
input: {size: 32, channels: 1}
optimizer: {learning_rate: 0.01, batch_size: 8}
training: {epochs: 3, keep: last}
"""


def export(phantom: Path, root: Path) -> None:
    """The phantom's scans in nnU-Net's raw layout, ``SIZE`` pixels wide; of overlaps the last."""
    index = SliceIndex.from_directory(phantom)
    labels = {"background": 0, **{organ: n for n, organ in enumerate(index.organs, 1)}}
    affine = np.diag([-SPACING_MM[2], -SPACING_MM[1], SPACING_MM[0], 1.0])
    for folder in ("imagesTr", "labelsTr"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    table = index.scan_table
    chosen = table.groupby("case").head(SCANS_A_CASE)["scan"]
    for scan in chosen:
        rows = index.rows_of_scan(scan)
        images = picture(index.root, rows, FIRST_GRAY)
        merged = np.zeros(images.shape, np.uint8)
        for value, mask in enumerate(scan_masks(rows, organs=index.organs), 1):
            merged[mask] = value
        for folder, end, volume, how in (
            ("imagesTr", "_0000", images, cv2.INTER_AREA),
            ("labelsTr", "", merged, cv2.INTER_NEAREST),
        ):
            small = np.stack([cv2.resize(one, (SIZE, SIZE), interpolation=how) for one in volume])
            # slices go from head to feet here, rows to the back, columns to the left
            values = small[::-1].transpose(2, 1, 0)
            nib.save(nib.Nifti1Image(values, affine), root / folder / f"{scan}{end}.nii.gz")
    described = {
        "channel_names": {"0": "MR"},
        "labels": labels,
        "numTraining": len(chosen),
        "file_ending": ".nii.gz",
    }
    (root / "dataset.json").write_text(json.dumps(described, indent=1))


def ours(*arguments: object, cwd: Path) -> str:
    """A command of gitract-cv; what it prints."""
    code = "from orchestrator.cli import main; main()"
    return called([sys.executable, "-c", code, *map(str, arguments)], cwd, dict(os.environ))


def called(command: list[str], cwd: Path, env: dict[str, str]) -> str:
    """What a command prints; its last lines if it fails."""
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    return done.stdout


def train_nnunet(environment: Path, work: Path, splits: Path, folds: int) -> Path:
    """nnU-Net on the given splits; the folder with a folder a fold."""
    site = work / "site"
    site.mkdir(exist_ok=True)
    (site / "sitecustomize.py").write_text(SITE_CODE)
    (site / f"{TRAINER}.py").write_text(TRAINER_CODE)
    env = {
        **os.environ,
        "PYTHONPATH": str(site),
        "nnUNet_extTrainer": str(site),
        "nnUNet_n_proc_DA": "1",
        "nnUNet_def_n_proc": "1",
        "nnUNet_compile": "f",
        "OMP_NUM_THREADS": "1",
        **{f"nnUNet_{kind}": str(work / f"nnUNet_{kind}") for kind in ("preprocessed", "results")},
        "nnUNet_raw": str(work / "nnUNet_raw"),
    }
    script = environment / "bin"
    plan = [
        "nnUNetv2_plan_and_preprocess",
        "-d",
        "1",
        "-c",
        CONFIGURATION,
        "-np",
        "1",
        "-npfp",
        "1",
    ]
    called([str(script / plan[0]), *plan[1:]], work, env)
    (work / "nnUNet_preprocessed" / NAME / splits.name).write_bytes(splits.read_bytes())
    for fold in range(folds):
        train = ["1", CONFIGURATION, str(fold), "-tr", TRAINER, "-device", "cpu"]
        here = {**env, "nnUNet_n_proc_DA": "0"}  # augments in the process itself
        called([str(script / "nnUNetv2_train"), *train], work, here)
    return work / "nnUNet_results" / NAME / f"{TRAINER}__nnUNetPlans__{CONFIGURATION}"


def study(environment: Path, work: Path) -> str:
    """The page."""
    write_phantom(work / "phantom", cases=CASES, seed=1, slices_per_scan=SLICES)
    raw = work / "nnUNet_raw" / NAME
    export(work / "phantom", raw)
    (work / "space.yaml").write_text(SPACE)
    swept = ["sweep", "--local", "--data", raw, "--patients", r"(case\d+)_", "--out", "run"]
    ours(*swept, "--space", "space.yaml", cwd=work)
    splits = work / "splits_final.json"
    audit = ours("folds", "run", "--format", "nnunet", "--out", splits, cwd=work)
    tree = train_nnunet(environment, work, splits, 2)
    given = ["--predictions", tree, "--folds-table", splits, "--epoch-rule", "last"]
    added = ours("add", "run", "--name", "nnU-Net 2d", *given, cwd=work)
    ranking = ours("report", "run", cwd=work)
    version = called(
        [
            str(environment / "bin" / "python"),
            "-c",
            "from importlib.metadata import version; print(version('nnunetv2'))",
        ],
        work,
        dict(os.environ),
    )
    return PAGE.format(
        version=version.strip(),
        audit=audit.replace(str(work), "."),
        added=added.replace(str(work), "."),
        ranking="\n".join(line.rstrip() for line in ranking.replace(str(work), ".").splitlines()),
    )


PAGE = """# nnU-Net's own predictions in a ranking

`benchmarks/studies/nnunet_rival.py`: nnunetv2 {version}, configuration 2d, **ten iterations** a
fold on the CPU, two folds of a phantom of 48 x 48 pixels. **The scores mean nothing**: neither side
is trained. What is shown is that the folds that `gitract-cv folds` writes are those that nnU-Net
trains on, and that its validation predictions, as it leaves them, are read, checked, scored and
ranked.

```console
$ gitract-cv folds run --format nnunet --out splits_final.json
{audit}
$ gitract-cv add run --name "nnU-Net 2d" --predictions nnUNet_results/Dataset001_Phantom/TRAINER \\
    --folds-table splits_final.json --epoch-rule last
{added}
$ gitract-cv report run
{ranking}
```
"""


def main() -> None:
    """Run the study."""
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--nnunet", type=Path, required=True, help="environment with nnunetv2")
    options.add_argument("--work", type=Path, help="kept folder; a temporary one if left out")
    options.add_argument("--out", type=Path, help="also write the Markdown to this file")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = (given.work or Path(temporary)).resolve()
        work.mkdir(parents=True, exist_ok=True)
        page = study(given.nnunet.resolve(), work)
    print(page)
    if given.out:
        given.out.write_text(page)


if __name__ == "__main__":
    main()
