"""Search spaces: YAML that is none, YAML that is too much, settings that make no sense."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.refusing import refused

GOOD = 'folds: 2\nloss: bce\nnetwork: {widths: "4,8", depth: 1}\ninput: {size: 32, channels: 1}\n'
_LAUGHS = "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10))

BAD_TEXT: dict[str, bytes] = {
    "empty": b"",
    "a list": b"- 1\n- 2\n",
    "a number": b"17",
    "cut short": b"network: {widths: ",
    "bytes": bytes(range(256)),
    "UTF-16": GOOD.encode("utf-16"),
    "a tab": b"network:\n\tdepth: 4\n",
    "two documents": b"loss: bce\n---\nloss: dice\n",
    "nested 100,000 deep": b"loss: " + b"[" * 100_000,
    "a billion laughs": b"a0: &a0 [x, x]\n" + _LAUGHS.encode(),
    "a key twice": b"loss: bce\nloss: dice\n",
    "one megabyte": b"description: " + b"x" * 1_000_000,
    "a Python object": b"loss: !!python/object/apply:os.system ['touch owned']\n",
    "a Python name": b"loss: !!python/name:os.system\n",
    "a date": b"loss: 2001-01-01\n",
    "a set": b"loss: !!set {bce, dice}\n",
    "an integer of nothing": b"folds: !!int\n",
    "an integer of letters": b"folds: !!int x\n",
    "a float of nothing": b"folds: !!float\n",
    "a truth of letters": b"folds: !!bool x\n",
    "a time of letters": b"folds: !!timestamp x\n",
    "pairs of nothing": b"folds: !!omap x\n",
    "binary": b"loss: !!binary aGVsbG8=\n",
    "keys that are no text": b"1: 2\n",
}
BAD_SETTINGS: dict[str, str] = {
    "unknown key": "lerning_rate: 1",
    "unknown knob": "optimizer: {lerning_rate: 1}",
    "NaN": "optimizer: {learning_rate: .nan}",
    "infinity": "optimizer: {learning_rate: .inf}",
    "text for a number": "optimizer: {learning_rate: fast}",
    "a truth value": "training: {epochs: true}",
    "null": "training: {epochs: null}",
    "no epochs": "training: {epochs: 0}",
    "epochs without end": "training: {epochs: 999999999999}",
    "a batch of all slices of the world": "optimizer: {batch_size: 1000000000000}",
    "an input of a gigapixel": "input: {size: 32768, channels: 1}",
    "widths of a terabyte": 'network: {widths: "999999999,999999999", depth: 1}',
    "widths of 5,000 digits": f'network: {{widths: "{"9" * 5000},8", depth: 1}}',
    "too deep": "network: {depth: 64}",
    "one fold": "folds: 1",
    "more folds than cases": "folds: 1000",
    "folds that are no number": "folds: [2, 3]",
    "negative seed": "seed: -1",
    "a seed of 400 digits": f"seed: {'9' * 400}",
    "an empty grid": "loss: []",
    "a million candidates": "\n".join(
        ("samples: 10000", "optimizer: {learning_rate: {uniform: [0.1, 0.2]}}", "loss: [bce, dice]")
    ),
    "an unknown distribution": "samples: 2\noptimizer: {learning_rate: {lognormal: [1, 2]}}",
    "a distribution of text": "samples: 2\noptimizer: {learning_rate: {uniform: [a, b]}}",
    "a choice of lists": "search: {method: random, samples: 2}\nloss: [[bce, dice], focal]",
    "a choice of mappings": "samples: 2\nloss: {choice: [{bce: 1}, focal]}",
    "log of a negative": "samples: 2\noptimizer: {learning_rate: {loguniform: [-1, 1]}}",
    "an unknown network": "network: {family: resnet9000}",
    "a path as a preset": "network: {widths: ../../etc/passwd}",
}
LOSSES = {
    "a call": "__import__('os').system('touch owned')",
    "an attribute": "bce.__class__",
    "a power": "2**9**9**9*bce",
    "brackets": "(bce)",
    "unknown": "bce + crossentropy",
    "a negative weight": "-1*bce",
    "a weight of nothing": "0*bce",
    "an infinite weight": "1e999*bce",
    "other digits": "\N{ARABIC-INDIC DIGIT ONE}*bce",
    "100,000 terms": "bce + " * 20_000 + "bce",
    "a line break": "bce\\n+ dice +",
    "nothing": "",
}


def space(home: Path, content: bytes) -> str:
    (home / "bad.yaml").write_bytes(content)
    return "sweep --local --data tiny --space bad.yaml --out new"


@pytest.mark.parametrize("damage", BAD_TEXT)
def test_text(home: Path, damage: str) -> None:
    refused(home, space(home, BAD_TEXT[damage]), naming="bad.yaml")
    assert not (home / "owned").exists()


@pytest.mark.parametrize("damage", BAD_SETTINGS)
def test_settings(home: Path, damage: str) -> None:
    own = {line.partition(":")[0] for line in BAD_SETTINGS[damage].splitlines()}
    kept = [line for line in GOOD.splitlines() if line.partition(":")[0] not in own]
    text = "\n".join([*kept, BAD_SETTINGS[damage]])
    refused(home, space(home, text.encode()), naming="")


@pytest.mark.parametrize("damage", LOSSES)
def test_loss(home: Path, damage: str) -> None:
    text = GOOD.replace("loss: bce", f'loss: "{LOSSES[damage]}"')
    refused(home, space(home, text.encode()), naming="loss")
    assert not (home / "owned").exists()


@pytest.mark.parametrize(
    "text",
    [
        "training.epochs",
        "training.epochs=",
        "training.epochs=!!int x",
        "training.epochs=2001-99-99",
        "epochs=3",
        "loss=[bce, dice]",
        "loss={a: b}",
    ],
)
def test_set(home: Path, text: str) -> None:
    sweep = "sweep --local --data tiny --space space.yaml --out new"
    refused(home, [*sweep.split(), "--set", text], naming="")


def test_spaces_that_are_none(home: Path) -> None:
    for name in ("papr", "../paper", "missing.yaml", "tiny", "/dev/null"):
        command = f"sweep --local --data tiny --space {name} --out new"
        refused(home, command, naming=name)
