"""An ensemble averages its members by their weights, each at its own size, before the masks."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from gitract_core.data import rle
from gitract_core.data.slices import SliceIndex
from gitract_core.device import Runtime
from gitract_core.errors import RunError
from gitract_core.knobs import PostprocessKnobs
from gitract_core.networks import build_network
from gitract_core.organs import CONTEST
from gitract_core.prediction.common_view import at_size
from gitract_core.prediction.inference import load_network, predict_scan
from gitract_core.prediction.members import Member, Members, Predictor
from gitract_core.prediction.postprocess import NativeGrid, native_masks
from gitract_core.results.trial_result import TrialFiles, TrialResult
from gitract_core.spec import Candidate
from gitract_core.view import View
from tests.support.tiny_training import CPU, KNOBS, spec_of

GRID = NativeGrid(24, 20, 6.75)
RUNTIME = Runtime("cpu", 1)
RULES = tuple(PostprocessKnobs(threshold=t) for t in (0.45, 0.5, 0.55))
SIZES = (16, 16, 32)
SLICES = 5


@dataclass(frozen=True)
class Bundle:
    """Three members' weights in a folder, and what each says of a scan, at 32 pixels."""

    directory: Path
    members: tuple[Member, ...]
    images: dict[int, np.ndarray]
    parts: list[np.ndarray]

    def weighted(self, *weights: float, flip: bool = False) -> Members:
        """A manifest of the first members, with these weights."""
        chosen = [
            dataclasses.replace(m, weight=w) for m, w in zip(self.members, weights, strict=False)
        ]
        return Members(tuple(chosen), RULES, "0" * 16, "1" * 16, flip)

    def masks(self, members: Members) -> np.ndarray:
        """Predicted from the manifest alone."""
        views = {m.candidate.input.view for m in members.members}
        images = {view: self.images[view.size] for view in views}
        return Predictor(members, self.directory, RUNTIME).masks_of(images, GRID)


def candidate_of(size: int) -> Candidate:
    return Candidate.from_knobs({**KNOBS, "input.size": size})


def write_weights(path: Path, candidate: Candidate, seed: int) -> str:
    """Weights that say different things in different places; the SHA-256 of their file."""
    torch.manual_seed(seed)
    network = build_network(candidate.network, candidate.input.planes, 3)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.7)
    save_file({k: v.contiguous() for k, v in network.state_dict().items()}, path)
    return sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    directory = tmp_path_factory.mktemp("bundle")
    random = np.random.default_rng(0)
    images = {
        size: random.integers(0, 256, (SLICES, size, size), dtype=np.uint8) for size in (16, 32)
    }
    members, parts = [], []
    for place, size in enumerate(SIZES):
        candidate, file = candidate_of(size), directory / f"{place}.safetensors"
        sha256 = write_weights(file, candidate, place)
        members.append(Member(f"trial{place}", place, candidate, file.name, sha256, 1 / 3))
        network = load_network(candidate, file, CPU, organs=CONTEST)
        parts.append(predict_scan(network, torch.from_numpy(images[size]), candidate, "fp32"))
    return Bundle(directory, tuple(members), images, parts)


@pytest.mark.parametrize("weights", [(0.8, 0.2), (0.2, 0.8), (0.5, 0.5)])
def test_masks_are_those_of_the_weighted_mean(bundle: Bundle, weights: tuple[float, ...]) -> None:
    mean = sum(w * p.astype(np.float32) for w, p in zip(weights, bundle.parts, strict=False))
    expected = native_masks(np.asarray(mean, np.float32), GRID, RULES)
    found = bundle.masks(bundle.weighted(*weights))
    assert (found != expected).mean() < 1e-3  # a pixel at the threshold but for the last bit


def test_weights_decide(bundle: Bundle) -> None:
    made = [bundle.masks(bundle.weighted(*w)) for w in ((0.8, 0.2), (0.5, 0.5), (0.2, 0.8))]
    differ = [(a != b).mean() for i, a in enumerate(made) for b in made[:i]]
    assert min(differ) > 0.02, "the members agree too well to test anything"


def test_members_of_several_sizes_meet_at_the_largest(bundle: Bundle) -> None:
    weights = (0.3, 0.2, 0.5)
    large = [at_size(part, 32) for part in bundle.parts]
    mean = sum(w * p for w, p in zip(weights, large, strict=True))
    expected = native_masks(np.asarray(mean, np.float32), GRID, RULES)
    found = bundle.masks(bundle.weighted(*weights))
    assert (found != expected).mean() < 1e-3
    for other in ((0.5, 0.3, 0.2), (1 / 3, 1 / 3, 1 / 3)):
        assert (bundle.masks(bundle.weighted(*other)) != found).mean() > 0.01


def test_enlarging_is_bilinear_between_pixel_centers() -> None:
    plane = np.array([[0.0, 100.0], [50.0, 200.0]], np.uint8)[None, None]
    found = at_size(plane, 4)[0, 0]
    share = np.array([0.0, 0.25, 0.75, 1.0])
    across = plane[0, 0].astype(float) @ np.stack([1 - share, share])
    assert np.allclose(found, np.stack([1 - share, share]).T @ across, atol=1e-4)
    assert at_size(plane, 2).dtype == np.float32
    assert np.array_equal(at_size(plane, 2), plane)


def test_a_manifest_says_whether_slices_are_mirrored_too(bundle: Bundle) -> None:
    weights, parts = (0.7, 0.3), []
    for member in bundle.members[:2]:
        network = load_network(
            member.candidate, bundle.directory / member.weights, CPU, organs=CONTEST
        )
        seen = torch.from_numpy(bundle.images[16])
        parts.append(predict_scan(network, seen, member.candidate, "fp32", flip=True))
    mean = sum(w * p.astype(np.float32) for w, p in zip(weights, parts, strict=True))
    expected = native_masks(np.asarray(mean, np.float32), GRID, RULES)
    mirrored, plain = (bundle.masks(bundle.weighted(*weights, flip=f)) for f in (True, False))
    assert (mirrored != expected).mean() < 1e-3
    assert (plain != mirrored).mean() > 0.01


def test_a_saved_manifest_predicts_the_same(bundle: Bundle, tmp_path: Path) -> None:
    made = bundle.weighted(0.8, 0.2, flip=True)
    made.save(tmp_path / "members.json")
    loaded = Members.load(tmp_path / "members.json")
    assert loaded == made
    assert [m.weight for m in loaded.members] == [0.8, 0.2]
    assert np.array_equal(bundle.masks(loaded), bundle.masks(made))


def test_weights_that_do_not_sum_to_one_are_refused(bundle: Bundle) -> None:
    for weights in ((0.8, 0.3), (0.4, 0.4)):
        with pytest.raises(RunError, match="sum to 1"):
            bundle.weighted(*weights)
    for weight in (0.0, -0.5, 1.5):
        with pytest.raises(RunError, match="a weight in 0 to 1"):
            dataclasses.replace(bundle.members[0], weight=weight)


def test_a_manifest_of_trials_keeps_their_shares(bundle: Bundle, tmp_path: Path) -> None:
    """Shares of any sum; each goes with its own trial's weights."""
    trials = []
    for place, share in enumerate((6.0, 2.0)):
        spec = spec_of({"loss": ("bce", "dice")[place]}, fold=place)
        files = TrialFiles(tmp_path / "trials" / spec.key)
        files.directory.mkdir(parents=True)
        write_weights(files.best, spec.candidate, place)
        figures = {"dice": 0.5, "hausdorff": 0.5, "score": 0.5}
        history = {"best_epoch": 1, "epochs": 1, "at_best": {}, "best": {}}
        cost = {"seconds": 1.0, "peak_memory_bytes": 1}
        TrialResult(spec, figures, {}, history, cost, {"parameters": 1}).save(files.result)
        trials.append((files, share))
    (tmp_path / "ensemble").mkdir()
    made = Members.of_trials(trials, RULES, tmp_path / "ensemble")
    assert [m.weight for m in made.members] == [0.75, 0.25]
    assert [m.candidate.loss for m in made.members] == ["bce", "dice"]
    assert [m.fold for m in made.members] == [0, 1]
    assert (made.data_fingerprint, made.folds_fingerprint) == ("0" * 16, "1" * 16)
    parts = []
    for files, share in trials:
        network = load_network(spec_of().candidate, files.best, CPU, organs=CONTEST)
        seen = torch.from_numpy(bundle.images[16])
        part = predict_scan(network, seen, spec_of().candidate, "fp32")
        parts.append(part.astype(np.float32) * share / 8)
    expected = native_masks(np.asarray(sum(parts), np.float32), GRID, RULES)
    predictor = Predictor(made, tmp_path / "ensemble", RUNTIME)
    found = predictor.masks_of({View(16): bundle.images[16]}, GRID)
    assert (found != expected).mean() < 1e-3


def test_rows_of_a_submission_hold_the_masks(bundle: Bundle, tiny: Path) -> None:
    """In the order of slices, every organ under its own name."""
    index = SliceIndex.from_directory(tiny)
    predictor = Predictor(bundle.weighted(0.8, 0.2), bundle.directory, RUNTIME)
    masks = predictor.masks(index, "case1_day0")
    rows = predictor.rows(index, "case1_day0")
    organs = ("large_bowel", "small_bowel", "stomach")
    ids = [f"case1_day0_slice_{n:04d}" for n in range(1, 7)]
    assert [(name, organ) for name, organ, _ in rows] == [(i, o) for i in ids for o in organs]
    for number, (_, _, text) in enumerate(rows):
        place, channel = divmod(number, 3)
        assert np.array_equal(rle.decode(text, 40, 48), masks[channel, place])
    assert len({text for _, _, text in rows}) > 3
