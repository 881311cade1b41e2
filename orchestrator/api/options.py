"""What a sweep can be asked for: one frozen value for Python and for the command line."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from gitract_core.errors import GitractError, SpaceError, suggestion

if TYPE_CHECKING:
    from orchestrator.sweeps.preparation import SweepRequest

DEMO_DATA = Path("data/phantom-demo")
DEMO_CASES, DEMO_SLICES = 11, 16  # two cases in every fold, so that there are intervals


@dataclass(frozen=True, kw_only=True)
class SweepOptions:
    """The options of ``sweep`` and ``plan``.

    Attributes:
        data: the folder of a data set, in any layout of ``docs/data.md``; None for the demo's
            phantom.
        space: name of a search space, a YAML file, or what such a file holds as a dictionary;
            None for ``demo`` without ``data`` and ``paper`` with it.
        patients: which patient a scan is of, where the layout does not say it: ``one-a-file``, a
            regular expression whose first group is the patient, or a table with columns ``scan``
            and ``patient``.
        out: run directory or ``s3://BUCKET/FOLDER``; ``runs/SPACE`` if left out.
        folds: number of folds; by default the space's.
        repeats: number of fold plans; by default as many as the run has, or one.
        exclude: scans to leave out; ``faulty`` for the known faulty scans of the contest.
        knobs: values by dotted name that replace those of every candidate.
        precision: ``auto``, ``bf16`` or ``fp32``; by default the space's.
        address: of a running Ray cluster, or ``auto``; None for a Ray session of its own.
        local: worker processes of this machine in place of Ray.
        trials_per_gpu: a number, or ``auto``: measured where there is a GPU.
        cpus_per_trial: processors, and threads, of a trial; by default shared out.
        oof: ``keep`` out-of-fold probabilities, or ``none``: predicted again when needed.
        checkpoint_minutes: how often a trial saves its state inside an epoch; 0: after epochs.
        keep_state: keep the last state of trials, so that more epochs go on from there.
        race: drop candidates between folds that have no chance of being among the best.
        race_keep: the number of best candidates that the race looks for.
        race_levels: knobs by dotted name of which the race keeps one candidate a level, or ``all``
            for every knob that varies: who asks about a knob needs all its levels in the end.
        retries: further attempts of a failed trial.
        grace: how long after SIGTERM running trials may take to save their state: a text such as
            ``30s``, or seconds; 0: none is saved then.
        tensorboard: write event files to ``RUN/tensorboard``.
        mlflow: also log to the MLflow at this address.
        register: write score, margin, candidates and exclusions to ``RUN/registration.json`` before
            anything trains, so that the report can say what deviates.
        margin: of score, for "no worse than the best by more than"; what is registered, or .005.
        score: by which candidates are ranked: ``contest``, or a sum such as ``0.4*dice +
            0.6*hd95_mm`` (``gitract_core.metrics.score_expression``); as the run has it, or the
            contest's, if left out.
        plugins: Python files of one's own with networks and losses; executed (``docs/plugins.md``).
    """

    data: Path | None = None
    patients: str | None = None
    space: str | Path | Mapping[str, Any] | None = None
    out: Path | None = None
    folds: int | None = None
    repeats: int | None = None
    exclude: tuple[str, ...] = ()
    knobs: Mapping[str, Any] = field(default_factory=dict)
    precision: str | None = None
    address: str | None = None
    local: bool = False
    trials_per_gpu: str | int = "auto"
    cpus_per_trial: int | None = None
    oof: Literal["keep", "none"] = "keep"
    checkpoint_minutes: float = 10.0
    keep_state: bool = True
    race: bool = False
    race_keep: int = 3
    race_levels: tuple[str, ...] = ()
    retries: int = 1
    grace: str | float = "30s"
    tensorboard: bool = True
    mlflow: str | None = None
    register: bool = False
    margin: float | None = None
    score: str | None = None
    plugins: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        for name in ("data", "out"):
            value = getattr(self, name)
            object.__setattr__(self, name, None if value is None else Path(value))
        object.__setattr__(self, "exclude", tuple(self.exclude))
        named: Any = self.plugins
        named = [named] if isinstance(named, str | Path) else named
        object.__setattr__(self, "plugins", tuple(Path(file) for file in named))
        object.__setattr__(self, "race_levels", checked_levels(self.race_levels, race=self.race))
        if self.margin is not None:
            from orchestrator.statistics.questions.margin import checked_margin

            object.__setattr__(self, "margin", checked_margin(self.margin))
        if self.score is not None:
            from gitract_core.metrics.score_expression import parse_terms

            parse_terms(self.score)  # is checked; organs once the data is known
        if self.oof not in ("keep", "none"):
            raise GitractError("oof", "keep or none", repr(self.oof), "pass one of them")
        _ = self.grace_seconds  # is checked

    @property
    def grace_seconds(self) -> float:
        """``grace`` as a number.

        Raises:
            GitractError: it is no time.
        """
        from orchestrator.capacity.time_budget import parse_budget

        if str(self.grace).strip() in ("0", "0s", "0.0"):
            return 0.0
        plain = not isinstance(self.grace, str)
        return parse_budget(f"{self.grace}s" if plain else str(self.grace), "--grace")

    @property
    def is_demo(self) -> bool:
        """Whether the demo's phantom stands in for a data set."""
        return self.data is None

    def on(self, data: Path) -> SweepOptions:
        """The same options on a data set; the space stays that of the demo where it was."""
        space = self.space if self.space is not None else ("demo" if self.is_demo else "paper")
        return dataclasses.replace(self, data=data, space=space)

    def request(self, command: str) -> SweepRequest:
        """What is to be trained.

        Args:
            command: how the sweep was asked for, for the run's record.

        Raises:
            SpaceError: no such space, or a bad knob.
            GitractError: a plugin that cannot be executed.
        """
        from gitract_core.plugins import load_plugins
        from orchestrator.sweeps.preparation import SweepRequest
        from search_spaces import load_space

        plugins = load_plugins(self.plugins)
        asked = self.on(DEMO_DATA if self.data is None else self.data)
        assert asked.data is not None
        assert asked.space is not None
        space = load_space(asked.space)
        if self.folds is not None:
            space = dataclasses.replace(space, folds=self.folds)
        overrides = dict(self.knobs)
        if self.precision is not None:
            overrides["training.precision"] = self.precision
        return SweepRequest(
            data=asked.data,
            space=space,
            out=self.out or Path("runs") / space.name,
            exclude=excluded_scans(asked.data, self.exclude),
            overrides=tuple(overrides.items()),
            command=command,
            patients=self.patients,
            repeats=self.repeats,
            score=self.score,
            plugins=plugins,
        )


def excluded_scans(data: Path, named: Sequence[str]) -> tuple[str, ...]:
    """Names of scans to leave out; ``faulty`` stands for the known faulty ones that are there."""
    from gitract_core.data.folds import ORGANIZERS_BLACKLIST

    names = [scan for scan in named if scan != "faulty"]
    if "faulty" in named:
        train = data / "train"
        names += [scan for scan in ORGANIZERS_BLACKLIST if any(train.glob(f"*/{scan}"))]
    return tuple(dict.fromkeys(names))


def checked_levels(given: str | Sequence[str], *, race: bool) -> tuple[str, ...]:
    """Knobs of which a race keeps every level.

    Args:
        given: dotted names, or ``all``.
        race: whether there is a race.

    Raises:
        SpaceError: no such knob, or no race.
    """
    from gitract_core.spec import knob_defaults

    names = (given,) if isinstance(given, str) else tuple(given)
    for name in names:
        if name != "all" and name not in knob_defaults():
            remedy = suggestion(name, ["all", *knob_defaults()])
            raise SpaceError("--race-levels", "a knob's dotted name or all", repr(name), remedy)
    if names and not race:
        raise SpaceError("--race-levels", "--race too", "none", "pass --race, or leave it out")
    return names


def knobs_of_texts(settings: list[str]) -> dict[str, Any]:
    """Knobs by dotted name from texts ``KNOB=VALUE``, as the command line has them.

    Raises:
        SpaceError: no ``=``, or a value that is not plain.
    """
    from search_spaces.loader import plain_value

    knobs = {}
    for text in settings:
        name, equals, value = text.partition("=")
        if not equals:
            remedy = "write training.epochs=10, for example"
            raise SpaceError("--set", "KNOB=VALUE", repr(text), remedy)
        knobs[name.strip()] = plain_value(value)
    return knobs
