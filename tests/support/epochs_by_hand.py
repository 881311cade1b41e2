"""The weights of every epoch, scored by a plain loop."""

from __future__ import annotations

from pathlib import Path

import torch

from gitract_core.data.slices import case_of_scan
from gitract_core.device import Runtime
from gitract_core.prediction.device_slices import slices_on
from gitract_core.prediction.inference import load_network
from gitract_core.results.score_table import per_case_sums
from gitract_core.results.trial_result import TrialFiles
from gitract_core.spec import TrialSpec
from gitract_core.trial.data import TrialData
from gitract_core.trial.held_out_prediction import held_out_scans, predict_held_out
from gitract_core.trial.held_out_scores import held_out_scores
from gitract_core.trial.run import iterate_trial

CPU = torch.device("cpu")


def saved_weights_of_every_epoch(
    spec: TrialSpec, data: TrialData, place: Path, runtime: Runtime | None = None
) -> list[Path]:
    """Train, and keep the network of each epoch, as its checkpoint has it."""
    kept = []
    for record in iterate_trial(spec, data, place, runtime):
        state = torch.load(TrialFiles(place).checkpoint, weights_only=True)
        kept.append(place.with_name(f"{place.name}-{record.epoch}.pt"))
        torch.save(state["network"] if state["average"] is None else state["average"], kept[-1])
    return kept


def scored_by_hand(
    spec: TrialSpec, data: TrialData, weights: Path, tmp_path: Path
) -> dict[str, dict[str, list[float]]]:
    """The sums of some weights, by the road that a trial's final score takes."""
    from safetensors.torch import save_file

    cache, best = data.cache(spec.candidate.input.size), tmp_path / "epoch.safetensors"
    save_file({k: v.contiguous() for k, v in torch.load(weights, weights_only=True).items()}, best)
    network = load_network(spec.candidate, best, CPU, organs=cache.organs)
    rows = data.plan.rows(cache.index.table["case"].to_numpy(), spec.fold, held_out=True)
    scans = held_out_scans(cache, rows)
    with torch.inference_mode():
        found = predict_held_out(
            network, spec, cache=cache, slices=slices_on(cache, CPU), scans=scans
        )
    scores = held_out_scores(spec.candidate.postprocess, cache, found)
    return per_case_sums(scores, case_of_scan(cache.index))
