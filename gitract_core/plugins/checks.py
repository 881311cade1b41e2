"""Whether a plugin's network and loss do what a training asks of them, before anything trains."""

from __future__ import annotations

from functools import lru_cache
from typing import NoReturn

import torch
from torch import Tensor, nn

from gitract_core.errors import GitractError, SpaceError
from gitract_core.knobs import NetworkKnobs
from gitract_core.losses import build_loss
from gitract_core.losses.weighted_sum import is_loss, term_of
from gitract_core.networks import build_network, network_names
from gitract_core.plugin import Plugin, digests_in, executed
from gitract_core.plugins.executing import place_in
from gitract_core.spec import Candidate

_ORGANS = 4  # not three: a network that has the contest's number written into it is found
_SLICES, _SIDE = 2, 32
_REMEDY = "mend the plugin"


def check_plugged(candidate: Candidate) -> None:
    """Run what a candidate has of its plugins once, on the CPU.

    Raises:
        SpaceError: a network that fails, has no parameters to train, or gives logits of another
            shape; a loss that fails, is no finite scalar, or has no gradient.
    """
    if not candidate.plugin:
        return
    if candidate.network.family.partition(":")[0] not in network_names():
        knobs = candidate.input
        _check_network(candidate.network, candidate.plugin, knobs.planes, knobs.size)
    for term in build_loss(candidate.loss, candidate.plugin).terms:
        if not is_loss(term.name):
            _check_loss(term.name, candidate.plugin)


@lru_cache(maxsize=256)
def _check_network(knobs: NetworkKnobs, plugin: str, planes: int, size: int) -> None:
    where = f"network {knobs.family!r}"
    wanted = (_SLICES, _ORGANS, size, size)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        try:
            network: object = build_network(knobs, planes, _ORGANS, plugin)
            if not isinstance(network, nn.Module):
                _refuse(where, "a torch.nn.Module", _kind(network), plugin)
            logits: object = network.train()(torch.rand(_SLICES, planes, size, size))
        except SpaceError:
            raise
        except Exception as error:
            _failed(where, "a forward pass", error, plugin)
    auxiliary = getattr(network, "auxiliary_logits", [])
    for found in (logits, *auxiliary):
        if not isinstance(found, Tensor) or tuple(found.shape) != wanted:
            got = f"{tuple(found.shape)}" if isinstance(found, Tensor) else _kind(found)
            _refuse(where, f"logits {wanted}: one channel an organ, size of the image", got, plugin)
    if not isinstance(logits, Tensor) or not logits.requires_grad:
        _refuse(where, "logits that depend on parameters", "none to train", plugin)


@lru_cache(maxsize=256)
def _check_loss(name: str, plugin: str) -> None:
    where, term = f"loss {name!r}", term_of(name, plugin)
    random = torch.Generator().manual_seed(0)
    shape = (_SLICES, _ORGANS, _SIDE, _SIDE)
    some = (torch.rand(shape, generator=random) < 0.3).float()
    for what, targets in (("some targets", some), ("no target", torch.zeros(shape))):
        logits = torch.randn(shape, generator=random).requires_grad_()
        try:
            value: object = term(logits, targets)
            if not isinstance(value, Tensor) or value.shape != ():
                got = f"a tensor {tuple(value.shape)}" if isinstance(value, Tensor) else None
                _refuse(where, "a scalar tensor", got or _kind(value), plugin)
            if not bool(torch.isfinite(value)):
                _refuse(where, f"a finite number where there is {what}", f"{value:g}", plugin)
            if not value.requires_grad:
                _refuse(where, "a gradient", "none", plugin)
            value.backward()  # type: ignore[no-untyped-call]
        except SpaceError:
            raise
        except Exception as error:
            _failed(where, f"a value and its gradient where there is {what}", error, plugin)
        gradient = logits.grad
        if gradient is None or not bool(torch.isfinite(gradient).all()):
            got = "none" if gradient is None else "one that is not finite"
            _refuse(where, f"a gradient where there is {what}", got, plugin)
        if targets is some and not bool(gradient.any()):
            _refuse(where, "a gradient", "zero everywhere", plugin)


def _kind(value: object) -> str:
    return f"a {type(value).__name__}"


def _owners(plugin: str) -> list[Plugin]:
    return [each for each in executed() if each.digest in digests_in(plugin)]


def _refuse(where: str, expected: str, got: str, plugin: str) -> NoReturn:
    files = " or ".join(each.name for each in _owners(plugin))
    raise SpaceError(f"{files}, {where}", expected, got, _REMEDY)


def _failed(where: str, expected: str, error: Exception, plugin: str) -> NoReturn:
    """The error with the plugin's line at which it came about."""
    places = [place_in(error, each) for each in _owners(plugin)]
    place = next((p for p in places if ", line " in p), " or ".join(places))
    text = str(error) if isinstance(error, GitractError) else f"{type(error).__name__}: {error}"
    raise SpaceError(f"{place}, {where}", expected, text, _REMEDY) from None
