from __future__ import annotations

import math
from pathlib import Path

import pytest

from gitract_core.errors import SpaceError
from gitract_core.spec import Candidate, TrialSpec
from gitract_core.training.checking import check_candidate
from search_spaces import load_space, space_names


def _write(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "space.yaml"
    file.write_text(text)
    return file


def test_knobs_go_there_and_back() -> None:
    candidate = Candidate.from_knobs({"loss": "bce", "network.depth": 5, "input.size": 64})
    assert Candidate.from_knobs(candidate.knobs()) == candidate
    assert candidate.key != Candidate().key
    assert Candidate.from_knobs(dict(reversed(candidate.knobs().items()))).key == candidate.key


def test_a_key_names_everything_that_makes_a_trial_another() -> None:
    spec = TrialSpec(Candidate(), 0, 5, 0, "data", "folds")
    others = [
        TrialSpec(Candidate(loss="bce"), 0, 5, 0, "data", "folds"),
        TrialSpec(Candidate(), 1, 5, 0, "data", "folds"),
        TrialSpec(Candidate(), 0, 4, 0, "data", "folds"),
        TrialSpec(Candidate(), 0, 5, 1, "data", "folds"),
        TrialSpec(Candidate(), 0, 5, 0, "other", "folds"),
        TrialSpec(Candidate(), 0, 5, 0, "data", "other"),
    ]
    assert len({s.key for s in (spec, *others)}) == 7
    assert TrialSpec.from_json(spec.to_json()) == spec


@pytest.mark.parametrize("name", space_names())
def test_shipped_spaces_can_be_built(name: str) -> None:
    for candidate in load_space(name).candidates:
        check_candidate(candidate)


def test_the_paper_is_two_depths_by_five_losses() -> None:
    space = load_space("paper")
    assert (len(space.candidates), space.folds) == (10, 5)
    assert space.varying == ("loss", "network.depth")
    first = space.candidates[0]
    assert (first.input.size, first.input.channels) == (128, 3)
    assert (first.training.epochs, first.training.patience) == (40, 15)
    assert first.augmentation.names() == ("elastic", "noise", "blur")


def test_random_knobs_are_drawn_and_crossed_with_grids(tmp_path: Path) -> None:
    text = "samples: 3\nloss: [bce, dice]\noptimizer: {learning_rate: {loguniform: [1e-4, 1e-2]}}"
    space = load_space(_write(tmp_path, text))
    assert len(space.candidates) == 6
    rates = {c.optimizer.learning_rate for c in space.candidates}
    assert len(rates) == 3
    assert all(1e-4 <= rate <= 1e-2 for rate in rates)
    assert load_space(_write(tmp_path, text)) == space
    assert load_space(_write(tmp_path, text + "\nseed: 1")).candidates != space.candidates


def test_random_draws_follow_their_distribution(tmp_path: Path) -> None:
    text = "samples: 400\noptimizer: {learning_rate: {loguniform: [1e-4, 1e-2]}}"
    rates = [
        math.log10(c.optimizer.learning_rate) for c in load_space(_write(tmp_path, text)).candidates
    ]
    assert sum(rates) / len(rates) == pytest.approx(-3, abs=0.1)


def test_variants_are_changes_of_what_stands_beside_them(tmp_path: Path) -> None:
    text = """
loss: bce
network: {depth: 3}
variants:
  - augmentation: {kinds: none}
  - loss: [dice, bce + dice]
    network.depth: [4, 5]
  - {augmentation.kinds: none}
"""
    found = [
        (c.loss, c.network.depth, c.augmentation.kinds)
        for c in load_space(_write(tmp_path, text)).candidates
    ]
    kinds = Candidate().augmentation.kinds
    grid = [(loss, depth, kinds) for loss in ("dice", "bce + dice") for depth in (4, 5)]
    assert found == [("bce", 3, "none"), *grid]  # the third variant is the first once more


def test_the_spaces_of_the_paper_s_sections_vary_what_they_say() -> None:
    varying = {name: load_space(name).varying for name in space_names()}
    assert varying["augmentation"] == ("augmentation.kinds",)
    assert varying["depth"] == ("network.depth",)
    assert varying["losses"] == ("loss",)
    assert varying["context"] == ("input.context", "input.stride")
    assert {name.partition(".")[0] for name in varying["borders"]} == {"postprocess"}
    assert len({c.trained for c in load_space("borders").candidates}) == 1


def test_spaces_that_repeat_the_paper_choose_epochs_as_it_does_and_others_by_nobody() -> None:
    keeps = {n: {c.training.keep for c in load_space(n).candidates} for n in space_names()}
    for name in ("paper", "demo", "losses", "augmentation", "depth"):
        assert keeps[name] == {"held_out"}
    for name in ("context", "borders", "tpe"):
        assert keeps[name] == {"last"}
        assert {c.optimizer.schedule for c in load_space(name).candidates} == {"cosine"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("variants: bce", "a list of changes"),
        ("variants: []", "a list of changes"),
        ("variants: [bce]", "variant 1.*keys and values"),
        ("variants: [{loss: bce}, {los: bce}]", "variant 2.*did you mean 'loss'"),
        ("optimiser: {learning_rate: 1e-3}", "did you mean 'optimizer'"),
        ("optimizer: {lerning_rate: 1e-3}", "did you mean 'optimizer.learning_rate'"),
        ("network: {depth: deep}", "network.depth: expected a whole number, got 'deep'"),
        ("network: {depth: true}", "expected a whole number, got True"),
        ("network: {depth: 12}", "expected 1 to 7, got 12"),
        ("loss: [bce, dice]\nloss: bce", "key 'loss' twice"),
        ("loss: []", "an empty list"),
        ("optimizer: {learning_rate: {loguniform: [1e-4, 1e-2]}}", "samples: N"),
        ("samples: 2\nloss: bce", "a random knob"),
        ("samples: 2\noptimizer: {learning_rate: {normal: [0, 1]}}", "one distribution"),
        ("samples: 2\noptimizer: {learning_rate: {loguniform: [0, 1]}}", "low, high"),
        ("optimizer: {learning_rate: .nan}", "expected a"),
        ("optimizer: 3", "a group of knobs"),
        ("- bce", "keys and values"),
        ("loss: !!python/object/apply:os.system [true]", "YAML"),
        ("loss: [", "YAML"),
        ("folds: 0", "a whole number"),
        ("input: {size: 100}", "a multiple of 16.*use 96"),
        ("augmentation: {kinds: elastic+nois}", "did you mean 'noise'"),
        (f"network: {{depth: [1, 2, 3]}}\noptimizer: {{batch_size: {[*range(1, 4000)]}}}", "most"),
    ],
)
def test_faulty_spaces_are_explained(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SpaceError, match=rf"space\.yaml.*{message}"):
        load_space(_write(tmp_path, text))


def test_unknown_space_is_suggested() -> None:
    with pytest.raises(SpaceError, match="did you mean 'paper'"):
        load_space("papr")


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"loss": "bce + dicee"}, "dice"),
        ({"network.family": "unnet"}, "unet"),
        ({"network.widths": "standart"}, "standard"),
    ],
)
def test_names_are_checked_before_anything_runs(knobs: dict[str, str], message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        check_candidate(Candidate.from_knobs(knobs))
