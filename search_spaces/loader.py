"""From a YAML file to candidates.

Under a knob's name, a scalar is a fixed value, a list is a grid, and a mapping such as
``{loguniform: [1e-4, 1e-2]}`` is drawn at random ``samples`` times. Candidates are all combinations
of the grids, for each draw; ``variants`` is a list of such settings, each a change of what stands
beside it, for comparisons that are no full grid. With ``search: {method: tpe, samples: 30}`` lists
are not crossed but searched as well. Folds are not part of a space's values, since every candidate
runs on every fold.
"""

from __future__ import annotations

import copy
import itertools
import math
import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from gitract_core.errors import SpaceError, suggestion
from gitract_core.knobs import refuse_patience
from gitract_core.spec import Candidate, knob_defaults
from search_spaces.dimensions import Dimension
from search_spaces.search import Search, parse_method

_DIRECTORY = Path(__file__).parent
_MOST_CANDIDATES = 10_000
_MOST_CHARACTERS = 1_000_000
_LARGEST_SEED = 2**31 - 1
_OF_TAGS = (ValueError, LookupError, AttributeError, TypeError)  # '!!int x', '!!bool x', ...
_OWN_KEYS = {"description": str, "folds": int, "seed": int, "samples": int}


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """A checked search space.

    Attributes:
        name: the file's name without its ending.
        description: one line.
        candidates: distinct settings, in the order of the file.
        folds: number of folds the file asks for.
        seed: of random draws, folds and trials.
        search: proposes more candidates; None if there are no others.
    """

    name: str
    description: str
    candidates: tuple[Candidate, ...]
    folds: int
    seed: int
    search: Search | None = None

    @property
    def varying(self) -> tuple[str, ...]:
        """Dotted names of the knobs that differ between candidates."""
        return varying_knobs(self.candidates)


def varying_knobs(candidates: tuple[Candidate, ...]) -> tuple[str, ...]:
    """Dotted names of the knobs in which the candidates differ.

    ``plugin`` follows from network and loss, and is one of them only where a plugin has changed.
    """
    settings = [c.knobs() for c in candidates]
    varying = tuple(name for name in knob_defaults() if len({s[name] for s in settings}) > 1)
    others = tuple(name for name in varying if name != "plugin")
    distinct = {tuple(s[name] for name in others) for s in settings}
    return others if len(distinct) == len(set(candidates)) else varying


def space_names() -> list[str]:
    """Names of the spaces that come with the package."""
    return sorted(p.stem for p in _DIRECTORY.glob("*.yaml"))


def load_space(name: str | Path | Mapping[str, Any]) -> SearchSpace:
    """Load a space by its name or by the path of a YAML file, or take it as a dictionary.

    A dictionary holds what a file would; its key ``name`` names the space, ``custom`` without it.

    Raises:
        SpaceError: no such space, no YAML, an unknown or repeated key, a value of another type or
            out of range, a random knob without ``samples`` or ``search``.
    """
    if isinstance(name, Mapping):
        given = copy.deepcopy(dict(name))
        return _space(str(given.pop("name", "custom")), given)
    path = Path(name) if str(name).endswith((".yaml", ".yml")) else _DIRECTORY / f"{name}.yaml"
    if not path.is_file():
        known = space_names()
        remedy = suggestion(str(name), known)
        raise SpaceError("--space", "a space's name or a YAML file", repr(str(name)), remedy)
    values = _parse(path)
    try:
        return _space(path.stem, values)
    except SpaceError as error:
        raise error.within(path) from None


def _space(name: str, values: dict[str, Any]) -> SearchSpace:
    own = {k: _own(k, values.pop(k)) for k in list(values) if k in _OWN_KEYS}
    if "search" in values:
        return _searched(name, own, values)
    settings = _settings(values)
    for knobs in settings:
        _refuse_patience_beside_last(knobs)
    random_names = [n for knobs in settings for n, v in knobs.items() if isinstance(v, dict)]
    if random_names and "samples" not in own:
        where, expected = f"knob {random_names[0]}", "samples: N beside a random knob"
        raise SpaceError(where, expected, "none", "add 'samples: 20', for example")
    if "samples" in own and not random_names:
        remedy = "remove samples, or give a knob a distribution"
        raise SpaceError("samples", "a random knob", "none", remedy)
    seed = own.get("seed", 0)
    source, samples = random.Random(seed), own.get("samples", 1)
    candidates = [c for knobs in settings for c in _candidates(knobs, samples, source)]
    distinct = tuple(dict.fromkeys(candidates))
    if len(distinct) > _MOST_CANDIDATES:
        got = len(distinct)
        raise SpaceError("the space", f"at most {_MOST_CANDIDATES} candidates", got, "cut lists")
    return SearchSpace(name, own.get("description", ""), distinct, own.get("folds", 5), seed)


def _searched(name: str, own: dict[str, Any], values: dict[str, Any]) -> SearchSpace:
    for key in ("samples", "variants"):
        if key in own or key in values:
            raise SpaceError("key search", f"no {key} beside it", "both", "remove one of them")
    method, samples = parse_method(values.pop("search"))
    try:
        samples = _own("samples", samples)
    except SpaceError as error:
        raise error.within("key search") from None
    folds, seed, description = own.get("folds", 5), own.get("seed", 0), own.get("description", "")
    knobs = _flat(values)
    _refuse_patience_beside_last(knobs)
    search = Search.parse(knobs, samples, seed)
    first = search.total if method == "random" else search.drawn_first
    candidates = tuple(itertools.islice(search.draws(), first))
    proposing = None if method == "random" else search
    return SearchSpace(name, description, candidates, folds, seed, proposing)


def _settings(values: dict[str, Any]) -> list[dict[str, Any]]:
    """Knobs by dotted names, once for each variant."""
    variants = values.pop("variants", [{}])
    if not isinstance(variants, list) or not variants:
        remedy = "write '- {loss: bce}', for example"
        raise SpaceError("variants", "a list of changes", repr(variants), remedy)
    base = _flat(values)
    settings = []
    for number, variant in enumerate(variants, 1):
        if not isinstance(variant, dict) or not all(isinstance(key, str) for key in variant):
            where, remedy = f"variant {number}", "write '- {loss: bce}', for example"
            raise SpaceError(where, "keys and values", repr(variant), remedy)
        try:
            settings.append({**base, **_flat(variant)})
        except SpaceError as error:
            raise error.within(f"variant {number}") from None
    return settings


def _refuse_patience_beside_last(knobs: Mapping[str, Any]) -> None:
    """A candidate that keeps its last epoch has no patience, so none may be asked for."""
    keep, patience = knobs.get("training.keep"), knobs.get("training.patience")
    if patience is not None and "last" in (keep if isinstance(keep, list) else [keep]):
        refuse_patience(patience)


def _candidates(knobs: dict[str, Any], samples: int, source: random.Random) -> Iterator[Candidate]:
    grid = {n: v for n, v in knobs.items() if isinstance(v, list)}
    size = math.prod(len(v) for v in grid.values()) * samples
    if size > _MOST_CANDIDATES:
        raise SpaceError("the space", f"at most {_MOST_CANDIDATES} candidates", size, "cut lists")
    drawn_knobs = [Dimension.parse(n, v) for n, v in knobs.items() if isinstance(v, dict)]
    for _ in range(samples):
        drawn = {d.name: d.draw(source) for d in drawn_knobs}
        for choice in itertools.product(*grid.values()):
            yield Candidate.from_knobs({**knobs, **drawn, **dict(zip(grid, choice, strict=True))})


def _flat(values: dict[str, Any]) -> dict[str, Any]:
    """Knobs by dotted names; groups may be nested or dotted."""
    known = knob_defaults()
    groups = {n.partition(".")[0] for n in known if "." in n}
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if key in groups:
            if not isinstance(value, dict):
                got = f"{value!r}"
                raise SpaceError(f"key {key}", "a group of knobs", got, f"write {key}.NAME: VALUE")
            inner = {f"{key}.{k}": v for k, v in value.items()}
        else:
            inner = {key: value}
        for name, setting in inner.items():
            flat[name] = _setting(name, setting, known, groups)
    return flat


def _setting(name: str, value: Any, known: dict[str, Any], groups: set[str]) -> Any:
    if name not in known:
        names = {*known, *groups, *_OWN_KEYS, "variants", "search"}
        raise SpaceError(f"key {name}", "a known key", name, suggestion(name, names))
    if isinstance(value, list) and not value:
        raise SpaceError(f"key {name}", "at least one value", "an empty list", "add a value")
    return value


def _own(key: str, value: Any) -> Any:
    kind = _OWN_KEYS[key]
    ok = isinstance(value, kind) and not isinstance(value, bool)
    low, high = (0, _LARGEST_SEED) if key == "seed" else (1, _MOST_CANDIDATES)
    if not ok or (kind is int and not low <= value <= high):
        expected = "text" if kind is str else f"a whole number from {low} to {high}"
        raise SpaceError(f"key {key}", expected, repr(value), "mend the value")
    return value


def _parse(path: Path) -> dict[str, Any]:
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(_MOST_CHARACTERS + 1)
        if len(text) > _MOST_CHARACTERS:
            got = f"more than {_MOST_CHARACTERS} characters"
            raise SpaceError(path, "a search space", got, "pass a search space")
        values = yaml.load(text, _StrictLoader)
    except (OSError, yaml.YAMLError, RecursionError, *_OF_TAGS) as error:
        got = " ".join(str(error).split())[:200]
        raise SpaceError(path, "YAML", got, "mend the file") from None
    if not isinstance(values, dict) or not all(isinstance(k, str) for k in values):
        raise SpaceError(path, "keys and values", type(values).__name__, "see search_spaces/")
    return values


def plain_value(text: str) -> Any:
    """A value as a space's file would hold it.

    Raises:
        SpaceError: it is no plain value.
    """
    try:
        return yaml.load(text, _StrictLoader)
    except (yaml.YAMLError, RecursionError, *_OF_TAGS):
        raise SpaceError("--set", "KNOB=VALUE", repr(text), "write a plain value") from None


class _StrictLoader(yaml.SafeLoader):
    """Plain values only; a repeated key is an error; ``1e-3`` is a number."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """As the base, without aliases: nine lines of them can stand for a billion values."""
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(problem="an alias; write the value out", problem_mark=mark)
        return super().compose_node(parent, index)


def _mapping(loader: _StrictLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    keys = [k.value for k, _ in node.value if isinstance(k, yaml.ScalarNode)]
    repeated = next((k for k in keys if keys.count(k) > 1), None)
    if repeated is not None:
        raise yaml.MarkedYAMLError(problem=f"key {repeated!r} twice", problem_mark=node.start_mark)
    return loader.construct_mapping(node, deep=True)


_StrictLoader.add_constructor("tag:yaml.org,2002:map", _mapping)
_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$"),
    list("-+.0123456789"),
)
