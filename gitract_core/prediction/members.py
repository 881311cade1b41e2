"""An ensemble's manifest, ``members.json``, and prediction from it alone; needs no Ray.

Weights are named by their place relative to the manifest and by their SHA-256, so that a
submission can be traced to the bytes that made it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from itertools import chain, starmap
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import numpy as np
import torch
from torch import nn

from gitract_core.data import rle
from gitract_core.data.cache import scan_images
from gitract_core.data.contents import ONE_CHANNEL, Extent, ExtentShape
from gitract_core.data.gray import FIRST_GRAY, gray_of_channels
from gitract_core.data.slices import SliceIndex
from gitract_core.device import Runtime, resolve_precision
from gitract_core.errors import DataError, GitractError, RunError
from gitract_core.files.atomic import parse_json, read_bytes, write_json
from gitract_core.files.digests import file_sha256, seal_of
from gitract_core.files.json_shapes import Meta
from gitract_core.knobs import PostprocessKnobs
from gitract_core.organs import CONTEST, Organs
from gitract_core.prediction.announced_scores import check_pair
from gitract_core.prediction.common_view import CommonView, Said
from gitract_core.prediction.given import Given, GivenShape
from gitract_core.prediction.inference import load_network, predict_scan
from gitract_core.prediction.postprocess import NativeGrid, native_masks
from gitract_core.results.trial_result import TrialFiles, TrialResult
from gitract_core.spec import Candidate, refuse_newer_knobs
from gitract_core.view import View

_FORMAT = 2


@dataclass(frozen=True)
class Member:
    """One trained trial inside an ensemble.

    Attributes:
        trial: the trial's key.
        fold: the fold it did not learn from.
        candidate: its setting.
        weights: its weights' file, relative to the manifest's directory.
        sha256: of that file.
        weight: share in the average; members' weights sum to 1.
        result: digest that the trial's result states of itself; empty in older manifests.
    """

    trial: str
    fold: int
    candidate: Candidate
    weights: str
    sha256: str
    weight: float
    result: str = ""

    def __post_init__(self) -> None:
        if not 0 < self.weight <= 1:
            remedy = "make the ensemble anew"
            raise RunError(f"member {self.trial}", "a weight in 0 to 1", self.weight, remedy)


class _Member(TypedDict):
    trial: Annotated[str, Meta(pattern="^[0-9A-Za-z_-]{1,64}$")]  # names a file of a bundle
    fold: int
    candidate: dict[str, str | int | float]
    weights: Annotated[str, Meta(pattern=r"^[^/\0][^\0]*\.safetensors$")]
    sha256: str
    weight: float
    result: NotRequired[str]


class _Manifest(TypedDict):
    """What ``members.json`` holds."""

    format: Literal[2]
    members: list[_Member]
    postprocess: dict[str, dict[str, Any]]
    data_fingerprint: str
    folds_fingerprint: str
    flip: bool
    organs: NotRequired[list[str]]
    pairs: NotRequired[list[list[str]]]
    channels: NotRequired[list[str]]
    axis: NotRequired[Literal["axial", "coronal", "sagittal"]]
    extent: NotRequired[ExtentShape]
    gray: NotRequired[str]
    given: NotRequired[list[GivenShape]]


@dataclass(frozen=True)
class Members:
    """What predicts: trials, their weights, and the way from probabilities to masks.

    Attributes:
        members: at least one.
        postprocess: one rule an organ, in the order of ``organs``; its threshold is that of the
            averaged probability.
        data_fingerprint, folds_fingerprint: of the run that trained them.
        flip: average with predictions of mirrored slices.
        organs: what the networks find, in channel order; manifests that do not say it are of the
            contest.
        gray: name of the gray scaling of the images that they learned from.
        channels: names of those images' channels.
        axis: along which their slices lie, one of ``native.AXES``.
        extent: how finely and how far they show the body.
        given: other tools' predictions that are averaged with theirs.
    """

    members: tuple[Member, ...]
    postprocess: tuple[PostprocessKnobs, ...]
    data_fingerprint: str
    folds_fingerprint: str
    flip: bool = False
    organs: Organs = CONTEST
    gray: str = FIRST_GRAY
    channels: tuple[str, ...] = ONE_CHANNEL
    axis: str = "axial"
    extent: Extent = field(default_factory=Extent)
    given: tuple[Given, ...] = ()

    def __post_init__(self) -> None:
        total = sum(m.weight for m in self.members) + sum(one.weight for one in self.given)
        if abs(total - 1) > 1e-6:
            raise RunError("members", "weights that sum to 1", total, "make the ensemble anew")
        if len(self.postprocess) != len(self.organs):
            expected, got = "one post-processing rule an organ", len(self.postprocess)
            raise RunError("members", expected, got, "make the ensemble anew")

    def save(self, path: Path) -> None:
        """Write ``members.json`` atomically."""
        members = [{**asdict(m), "candidate": m.candidate.recorded()} for m in self.members]
        rules = {o: asdict(r) for o, r in zip(self.organs, self.postprocess, strict=True)}
        values = {"format": _FORMAT, **asdict(self), "members": members, "postprocess": rules}
        values |= self.organs.to_json()
        usual = {"channels": ONE_CHANNEL, "axis": "axial", "extent": asdict(Extent()), "given": ()}
        values = {n: value for n, value in values.items() if n not in usual or value != usual[n]}
        write_json(path, values, seal=True)

    @classmethod
    def load(cls, path: Path) -> Members:
        """Read a manifest, or make one of the single trial whose directory is given.

        Raises:
            RunError: neither, or damaged.
        """
        path = manifest_path(path)
        if path.is_dir():
            return cls.of_one(TrialFiles(path))
        remedy = "make the ensemble anew"
        content = read_bytes(path)
        values: _Manifest = parse_json(path, content, _Manifest, remedy)
        check_pair(path, content)
        for member in values["members"]:
            refuse_newer_knobs(path, member["candidate"])
        for rule in values["postprocess"].values():
            refuse_newer_knobs(path, rule, [f.name for f in fields(PostprocessKnobs)])
        try:
            members = tuple(
                Member(
                    m["trial"],
                    m["fold"],
                    Candidate.from_knobs(m["candidate"]),
                    m["weights"],
                    m["sha256"],
                    m["weight"],
                    m.get("result", ""),
                )
                for m in values["members"]
            )
            rules = values["postprocess"]
            organs = Organs.of(values, CONTEST)
            postprocess = tuple(PostprocessKnobs(**rules[organ]) for organ in organs)
            prints = (values["data_fingerprint"], values["folds_fingerprint"])
            gray = values.get("gray", FIRST_GRAY)
            channels = tuple(values.get("channels", ONE_CHANNEL))
            gray_of_channels(gray, len(channels))
            return cls(
                members,
                postprocess,
                *prints,
                values["flip"],
                organs,
                gray,
                channels,
                values.get("axis", "axial"),
                Extent.of(values.get("extent")),
                tuple(Given(**given) for given in values.get("given", ())),
            )
        except (KeyError, TypeError, GitractError) as error:
            raise RunError(path, "an ensemble's manifest", error, remedy) from None

    @classmethod
    def of_trials(
        cls,
        trials: Sequence[tuple[TrialFiles, float]],
        rules: tuple[PostprocessKnobs, ...],
        directory: Path,
        given: Sequence[tuple[str, Path, float]] = (),
    ) -> Members:
        """A manifest of trained trials.

        Args:
            trials: files and weight of each; weights are made to sum to 1.
            rules: post-processing of each organ.
            directory: where the manifest will lie; files are named relative to it.
            given: name, file and weight of other tools' predictions.

        Raises:
            RunError: a trial's file is damaged, or they differ in organs or gray scaling.
        """
        results = [TrialResult.load(files.result) for files, _ in trials]
        total = sum(weight for _, weight in trials) + sum(weight for *_, weight in given)
        first = results[0]
        for result in results:
            if (result.organs, result.gray) != (first.organs, first.gray):
                expected = f"{', '.join(first.organs)} in images scaled by {first.gray}"
                got = f"{', '.join(result.organs)} by {result.gray}"
                remedy = "choose trials of one run"
                raise RunError(f"trial {result.spec.key}", expected, got, remedy)
        for (files, _), result in zip(trials, results, strict=True):
            result.check(files.best)
        members = tuple(
            Member(
                trial=result.spec.key,
                fold=result.spec.fold,
                candidate=result.spec.candidate,
                weights=_relative(files.best, directory),
                sha256=file_sha256(files.best),
                weight=weight / total,
                result=seal_of(read_bytes(files.result)),
            )
            for (files, weight), result in zip(trials, results, strict=True)
        )
        prints = (first.spec.data_fingerprint, first.spec.folds_fingerprint)
        return cls(
            members,
            rules,
            *prints,
            organs=first.organs,
            gray=first.gray,
            channels=first.channels,
            axis=first.axis,
            extent=first.extent,
            given=tuple(
                Given(name, _relative(file, directory), file_sha256(file), weight / total)
                for name, file, weight in given
            ),
        )

    @classmethod
    def of_one(cls, files: TrialFiles) -> Members:
        """A single trial as an ensemble of one."""
        result = TrialResult.load(files.result)
        rules = (result.spec.candidate.postprocess,) * len(result.organs)
        return cls.of_trials([(files, 1.0)], rules, files.directory)


def manifest_path(path: Path) -> Path:
    """The manifest in an ensemble's directory; a trial's directory or a file as it is."""
    if path.is_dir() and not TrialFiles(path).result.is_file():
        return path / "members.json"
    return path


class Predictor:
    """The networks of an ensemble, loaded once.

    Args:
        members: the manifest.
        directory: where it lies; the members' files are relative to it.
        runtime: device and threads.

    Raises:
        RunError: weights are missing or changed since the manifest was written.
    """

    def __init__(self, members: Members, directory: Path, runtime: Runtime) -> None:
        self.members, self.device = members, runtime.torch_device()
        self.networks = [self._load(directory, member) for member in members.members]
        self.given = [(one, one.opened(directory)) for one in members.given]

    def _load(self, directory: Path, member: Member) -> nn.Module:
        weights = directory / member.weights
        if not weights.is_file():
            raise RunError(weights, "a member's weights", "none", "restore the trial")
        found = file_sha256(weights)
        if found != member.sha256:
            expected, got = f"SHA-256 {member.sha256[:12]}...", f"{found[:12]}..."
            raise RunError(weights, expected, got, "make the ensemble anew")
        organs, channels = self.members.organs, len(self.members.channels)
        return load_network(
            member.candidate, weights, self.device, organs=organs, channels=channels
        )

    @property
    def views(self) -> tuple[View, ...]:
        """What members see of slices, each once."""
        return tuple(sorted({m.candidate.input.view for m in self.members.members}))

    def masks(self, index: SliceIndex, scan: str) -> np.ndarray:
        """Masks of one scan at native size, boolean (organs, slices, height, width)."""
        if len(index.channels) != len(self.members.channels):
            expected = f"images of the channels {', '.join(self.members.channels)}"
            raise DataError(index.root, expected, ", ".join(index.channels), "pass such images")
        if index.axis != self.members.axis:
            expected, got = f"{self.members.axis} slices, as in training", f"{index.axis} ones"
            raise DataError(index.root, expected, got, "say slice_axis in its dataset.yaml")
        rows = index.rows_of_scan(scan)
        gray = self.members.gray
        images = {view: scan_images(index.root, rows, view, gray=gray) for view in self.views}
        numbers = rows["slice"].to_numpy()
        shape = len(self.members.organs), len(rows)
        said = [(one.said(store, scan, shape), one.weight) for one, store in self.given]
        return self.masks_of(images, NativeGrid.of_scan(rows), numbers, said)

    def masks_of(
        self,
        images: Mapping[View, np.ndarray],
        grid: NativeGrid,
        numbers: np.ndarray | None = None,
        said: Sequence[tuple[np.ndarray, float]] = (),
    ) -> np.ndarray:
        """Masks of a scan from anywhere, boolean (organs, slices, height, width).

        Args:
            images: uint8 (slices, size, size) of each of ``views``, scaled by the members'
                ``gray``.
            grid: the scan's own pixels.
            numbers: of the slices; by default the scan lacks none.
            said: what other tools said of it, and their shares; one each of the members' ``given``.

        Raises:
            DataError: another tool of the ensemble has not predicted this scan.
        """
        if len(said) != len(self.given):
            names = ", ".join(one.name for one in self.members.given)
            expected, got = "scans of a data set, that it predicted", "another scan"
            raise DataError(f"predictions of {names}", expected, got, "use an ensemble without it")
        seen = {view: torch.from_numpy(image).to(self.device) for view, image in images.items()}
        organs, flip = self.members.organs, self.members.flip
        mirrored = organs.mirrored if organs.pairs else None
        given = [Said(values, View(values.shape[-1]), weight) for values, weight in said]
        common = CommonView.of([*seen, *(one.view for one in given)], lambda: grid)

        def predicted(member: Member, network: nn.Module) -> Said:
            candidate = member.candidate
            precision, view = candidate.training.precision, candidate.input.view
            found = predict_scan(
                network,
                seen[view],
                candidate,
                resolve_precision(precision, self.device),
                flip=flip,
                mirrored=mirrored,
                numbers=numbers,
            )
            return Said(found, view, member.weight)

        own = starmap(predicted, zip(self.members.members, self.networks, strict=True))
        total = common.average(chain(own, given))
        return native_masks(total, replace(grid, window=common.window), self.members.postprocess)

    def rows(self, index: SliceIndex, scan: str) -> list[tuple[str, str, str]]:
        """Rows (id, class, run-length text) of one scan in a submission."""
        masks = self.masks(index, scan)
        return [
            (str(name), organ, rle.encode(masks[channel, place]))
            for place, name in enumerate(index.rows_of_scan(scan)["id"])
            for channel, organ in enumerate(self.members.organs)
        ]


def _relative(path: Path, directory: Path) -> str:
    return os.path.relpath(path.resolve(), directory.resolve())
