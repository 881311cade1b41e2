"""Claim: a trial's out-of-fold store takes under 40 MB on the full set and costs under .0005.

A network is trained for a while on slices of four folds of a phantom of full size (85 cases, 274
scans, 38,496 slices) and predicts all scans of the fifth at 128 x 128, as a trial does. The store's
file is weighed, and the fold is scored twice at native size: from the store's bytes, and from the
probabilities as the network gave them.

    gitract-cv phantom data/full --like paper
    python -m benchmarks.speed.oof_store data/full --out benchmarks/results/oof_store.md
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch

from benchmarks.measuring import at_most, machine, parser, publish, table
from gitract_core.data.cache import SliceCache, build_cache
from gitract_core.data.folds import FoldPlan
from gitract_core.data.slices import SliceIndex
from gitract_core.data.volumes import scan_masks
from gitract_core.metrics import ScanScore, pool_scores, score_scan
from gitract_core.prediction.device_slices import DeviceSlices, slices_on
from gitract_core.prediction.inference import autocast, batches
from gitract_core.prediction.postprocess import NativeGrid, native_masks
from gitract_core.prediction.probabilities import OofStore, to_bytes, write_oof
from gitract_core.spec import Candidate, TrialSpec
from gitract_core.training.loop import FoldSlices, Training
from gitract_core.trial.held_out_prediction import held_out_scans

KNOBS = {"loss": "bce + dice", "network.widths": "standard", "optimizer.learning_rate": 0.003}
MOST_MB, MOST_CHANGE = 40.0, 0.0005


def trained(cache: SliceCache, plan: FoldPlan, n_slices: int, epochs: int) -> Training:
    """A network that has seen some annotated and some empty slices of folds 1 to 4."""
    knobs = {**KNOBS, "training.epochs": epochs, "training.patience": epochs}
    spec = TrialSpec(Candidate.from_knobs(knobs), 0, 5, 0, "", "")
    rows = plan.rows(cache.index.table["case"].to_numpy(), 0, held_out=False)
    rows = np.random.default_rng(0).permutation(rows)[:n_slices]
    device = torch.device("cpu")
    held_out = torch.from_numpy(rows[:1])  # nothing is chosen by it
    data = FoldSlices(slices_on(cache, device), torch.from_numpy(rows), held_out)
    training = Training(spec, data, device)
    while not training.finished:
        training.run_epoch()
    training.network.eval()
    return training


@torch.inference_mode()
def probabilities(training: Training, images: torch.Tensor) -> np.ndarray:
    """As the network gives them: float32 (organs, slices, size, size), 255 is 1."""
    scan = DeviceSlices.of_scan(images)
    parts = []
    for span in batches(len(images)):
        inputs = scan.batch_images(torch.arange(len(images))[span], training.candidate.input)
        with autocast(training.device, training.precision):
            logits = training.network(inputs.contiguous(memory_format=torch.channels_last))
        parts.append(logits.float().sigmoid().numpy())
    whole = np.concatenate(parts).swapaxes(0, 1)  # (organs, slices, size, size)
    return np.asarray(whole * np.float32(255))


def main() -> None:
    made = parser(__doc__ or "", rounds=1, threads=2)
    made.add_argument("data", type=Path, help="a contest folder of full size")
    made.add_argument("--slices", type=int, default=2400, help="slices to train on")
    made.add_argument("--epochs", type=int, default=3)
    options = made.parse_args()
    torch.set_num_threads(options.threads)
    cache = build_cache(SliceIndex.from_directory(options.data), 128)
    plan = FoldPlan.make(cache.index)
    training = trained(cache, plan, options.slices, options.epochs)
    rows = plan.rows(cache.index.table["case"].to_numpy(), 0, held_out=True)
    scans, slices = held_out_scans(cache, rows), slices_on(cache, training.device)
    stored: dict[str, np.ndarray] = {}
    scores: dict[str, list[ScanScore]] = {"as stored": [], "as predicted": []}
    for scan in scans:
        of_scan = cache.index.rows_of_scan(scan)
        images = slices.images[int(of_scan.index[0]) : int(of_scan.index[-1]) + 1]
        plain = probabilities(training, images)
        stored[scan] = to_bytes(plain / 255)
        truth = scan_masks(of_scan, organs=cache.organs)
        grid = NativeGrid.of_scan(of_scan)
        for name, values in (("as stored", stored[scan]), ("as predicted", plain)):
            masks = native_masks(values, grid, training.candidate.postprocess)
            scores[name].append(score_scan(masks, truth, "diagonal"))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "oof.npz"
        write_oof(path, stored)
        assert len(OofStore(path)) == len(scans)
        megabytes = path.stat().st_size / 1e6
    found = {name: pool_scores(values) for name, values in scores.items()}
    change = abs(found["as stored"].score - found["as predicted"].score)
    raw = sum(values.nbytes for values in stored.values()) / 1e6
    lines = [(n, f"{s.score:.5f}", f"{s.dice:.5f}") for n, s in found.items()]
    facts = (
        f"{len(scans)} scans, {len(rows)} slices at 128 x 128; {raw:.0f} MB as bytes, "
        f"{megabytes:.1f} MB in the store ({megabytes / raw:.1%})."
    )
    verdicts = "\n".join(
        [at_most("MB", megabytes, MOST_MB), at_most("change of the score", change, MOST_CHANGE)]
    )
    parts = [facts, table(["probabilities", "score", "Dice"], lines), verdicts]
    publish("Out-of-fold store", [*parts, machine("torch", "numpy")], options.out)


if __name__ == "__main__":
    main()
