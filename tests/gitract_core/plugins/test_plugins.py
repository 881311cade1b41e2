"""Plugins: what is executed, whose a name is, and what is refused before anything trains."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from gitract_core.errors import GitractError, SpaceError
from gitract_core.knobs import NetworkKnobs
from gitract_core.losses import build_loss, loss_names, normalize_expression
from gitract_core.networks import build_network, network_names
from gitract_core.plugin import executed
from gitract_core.plugins import load_plugins, plugin_of
from gitract_core.plugins.checks import check_plugged
from gitract_core.spec import Candidate, TrialSpec
from gitract_core.training.checking import check_candidate
from gitract_core.trial.relative_cost import relative_cost
from tests.support.plugin_files import LATER, PLUGIN, digest, no_plugins, write_plugin
from tests.support.tiny_sweep import KNOBS

MINE = {**KNOBS, "network.family": "one_layer", "loss": "bce + 0.5*brier"}


@pytest.fixture(autouse=True)
def none_executed() -> Iterator[None]:
    with no_plugins():
        yield


def candidate(text: str = PLUGIN, **knobs: object) -> Candidate:
    return Candidate.from_knobs({**MINE, **knobs, "plugin": digest(text)})


def test_a_plugin_adds_a_loss_and_a_network_for_its_candidates_alone(tmp_path: Path) -> None:
    before = network_names(), loss_names()
    (plugin,) = load_plugins([write_plugin(tmp_path)])
    assert (network_names(), loss_names()) == before
    assert plugin.digest == digest()
    network = build_network(NetworkKnobs("one_layer"), 2, 5, digest())
    assert network(torch.zeros(1, 2, 8, 8)).shape == (1, 5, 8, 8)
    loss = build_loss("2*squared + bce", digest())
    assert str(loss) == "2*brier + bce"
    logits, targets = torch.zeros(1, 3, 4, 4), torch.ones(1, 3, 4, 4)
    assert float(loss(logits, targets)) == pytest.approx(2 * 0.25 + 0.6931, abs=1e-4)
    with pytest.raises(SpaceError, match=r"got 'one_layer'; .*--plugin FILE.py"):
        build_network(NetworkKnobs("one_layer"), 2, 5)
    with pytest.raises(SpaceError, match=r"got 'brier'; .*--plugin FILE.py"):
        normalize_expression("brier")


def test_unknown_annotation_takes_no_part_in_a_plugins_loss(tmp_path: Path) -> None:
    load_plugins([write_plugin(tmp_path)])
    random = torch.Generator().manual_seed(0)
    logits, targets = (torch.rand(2, 3, 4, 4, generator=random) for _ in range(2))
    known = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]])
    found = build_loss("brier", digest())(logits, targets.round(), known)
    squares = (logits.sigmoid() - targets.round()).square().mean((2, 3))
    assert float(found) == pytest.approx(float(squares[known > 0].mean()), rel=1e-6)


def test_the_hash_is_part_of_the_keys_of_those_that_use_it(tmp_path: Path) -> None:
    plugins = load_plugins([write_plugin(tmp_path)])
    plain = Candidate.from_knobs(KNOBS)
    assert plugin_of(plain, plugins) == ""
    assert "plugin" not in plain.recorded()
    for knobs in ({"network.family": "one_layer"}, {"loss": "dice + squared"}):
        named = Candidate.from_knobs({**KNOBS, **knobs})
        assert plugin_of(named, plugins) == digest()
        theirs = dataclasses.replace(named, plugin=digest())
        assert theirs.key != named.key
        assert theirs.key != dataclasses.replace(named, plugin=digest(LATER)).key
        assert theirs.trained.plugin == theirs.trajectory.plugin == digest()
        trial = TrialSpec(theirs, 0, 2, 0, "data", "folds")
        assert TrialSpec.from_json(trial.to_json()) == trial


def test_two_versions_of_a_file_live_in_one_process(tmp_path: Path) -> None:
    load_plugins([write_plugin(tmp_path)])
    load_plugins([write_plugin(tmp_path, LATER)])
    sizes = [
        sum(p.numel() for p in build_network(NetworkKnobs("one_layer"), 1, 1, d).parameters())
        for d in (digest(), digest(LATER))
    ]
    assert sizes == [10, 2]
    with pytest.raises(
        SpaceError, match=r"loss 'brier': expected one plugin .* mine.py \(.*\) and"
    ):
        plugin_of(Candidate.from_knobs(MINE), executed())
    assert plugin_of(candidate(LATER), executed()) == digest(LATER)


def test_a_file_is_executed_once_a_process(tmp_path: Path) -> None:
    told = tmp_path / "told"
    counting = f"with open({str(told)!r}, 'a') as file:\n    file.write('x')\n" + PLUGIN
    file = write_plugin(tmp_path, counting)
    for _ in range(2):
        load_plugins([file, file])
    assert told.read_text() == "x"


FAULTY = {
    "raises": ("x = 1\nraise ValueError('no')\n" + PLUGIN, "mine.py, line 2: .*ValueError: no"),
    "exits": (PLUGIN + "import sys\nsys.exit(3)\n", "mine.py, line 18: .*SystemExit: 3"),
    "syntax": ("x = (\n", r"mine.py, line 1: .*SyntaxError: '\(' was never closed"),
    "no text": ("\0", "mine.py.*: expected a plugin that Python can execute"),
    "nothing": ("x = 1\n", "mine.py, its registrations: .*got neither; see docs/plugins.md"),
    "taken network": (PLUGIN.replace('"one_layer"', '"unet"'), "line 14, .*got 'unet'"),
    "taken loss": (PLUGIN.replace('"squared"', '"jaccard"'), r"line 9, .*got \['jaccard'\]"),
    "twice": (PLUGIN + PLUGIN.partition("network\n")[2], "line 19, loss registry: .*'brier'"),
    "no name": (PLUGIN.replace('"brier"', '"my loss"'), "digits and underscores, got 'my loss'"),
}


@pytest.mark.parametrize("fault", FAULTY)
def test_a_file_that_is_no_plugin_is_refused_in_a_line_and_leaves_nothing(
    tmp_path: Path, fault: str
) -> None:
    text, said = FAULTY[fault]
    file = write_plugin(tmp_path, text)
    for _ in range(2):  # the second time alike: nothing of the first stays
        with pytest.raises(GitractError, match=said) as refused:
            load_plugins([file])
        assert "\n" not in str(refused.value)
    assert executed() == ()
    load_plugins([write_plugin(tmp_path)])


@pytest.mark.parametrize("name", ["none.py", ""])
def test_a_file_that_is_not_there_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(GitractError, match=r"expected a Python file, got (No such|Is a dir)"):
        load_plugins([tmp_path / name])


def test_a_candidate_of_a_plugin_that_was_not_named_is_refused_with_both_hashes(
    tmp_path: Path,
) -> None:
    with pytest.raises(SpaceError, match=f"the file with the hash {digest()}, got none; pass"):
        check_candidate(candidate())
    load_plugins([write_plugin(tmp_path, LATER, "other.py")])
    both = f"hash {digest()}, got other.py with the hash {digest(LATER)}; pass --plugin FILE.py"
    for build in (check_candidate, relative_cost):
        with pytest.raises(SpaceError, match=both):
            build(candidate())


RETURNED = "nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1)"
VALUE = "(logits.sigmoid() - targets).square().mean()"
UNFIT = {
    "valid convolution": ("padding=1", "padding=0", r"got \(2, 4, 30, 30\)"),
    "the contest's organs": ("out_channels, k", "3, k", r"logits \(2, 4, 32, 32\).*got \(2, 3, 32"),
    "no module": (RETURNED, "None", "expected a torch.nn.Module, got a NoneType"),
    "fails": (RETURNED, "nn.Conv2d('x', 1, 1)", "mine.py, line 16, network.*got TypeError"),
    "no parameters": (RETURNED, "nn.UpsamplingNearest2d(size=32)", r"got \(2, 1, 32, 32\)"),
    "a list": (VALUE, "[0.0]", "loss 'brier': expected a scalar tensor, got a list"),
    "no mean": (VALUE, VALUE.removesuffix(".mean()"), r"got a tensor \(2, 4, 32, 32\)"),
    "infinite": (VALUE, VALUE + " / targets.sum()", "finite number where there is no target, got"),
    "no gradient": (VALUE, VALUE + ".detach()", "loss 'brier': expected a gradient, got none"),
    "a constant": (VALUE, "(0 * logits).sum()", "expected a gradient, got zero everywhere"),
    "raises": (VALUE, "targets.no()", "mine.py, line 11, loss 'brier': .*AttributeError"),
    "square root": (
        VALUE,
        "((targets * logits).square().sum()).sqrt()",
        "a gradient where there is no target, got one that is not finite",
    ),
}


@pytest.mark.parametrize("fault", UNFIT)
def test_what_cannot_be_trained_is_refused_before_anything_trains(
    tmp_path: Path, fault: str
) -> None:
    old, new, said = UNFIT[fault]
    assert PLUGIN.count(old) == 1
    text = PLUGIN.replace(old, new)
    load_plugins([write_plugin(tmp_path, text)])
    with pytest.raises(SpaceError, match=said) as refused:
        check_candidate(candidate(text))
    assert "mine.py" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_checking_leaves_chance_as_it_was(tmp_path: Path) -> None:
    load_plugins([write_plugin(tmp_path)])
    before = torch.get_rng_state()
    check_plugged(candidate(**{"input.size": 48}))
    relative_cost(candidate())
    assert torch.equal(torch.get_rng_state(), before)


def test_the_relative_cost_of_a_plugins_network_is_counted(tmp_path: Path) -> None:
    """Two operations a weight and pixel; also where the network looks at the values it is given."""
    looking = PLUGIN.replace(
        f"return {RETURNED}",
        "return Looking(in_channels, out_channels, kernel_size=3, padding=1)\n\n\n"
        "class Looking(nn.Conv2d):\n"
        "    def forward(self, image):\n"
        "        return super().forward(image) if float(image.sum()) >= 0 else image\n",
    )
    for text in (PLUGIN, looking):
        load_plugins([write_plugin(tmp_path, text)])
        expected = 2 * (9 * 1 * 3) * 32 * 32 * KNOBS["training.epochs"]
        assert relative_cost(candidate(text)) == expected
