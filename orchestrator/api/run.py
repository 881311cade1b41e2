"""A run as an object: its ranking, curves, comparisons, out-of-fold masks and ensembles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from gitract_core.progress import Progress, silent

if TYPE_CHECKING:
    import pandas as pd

    from gitract_core.metrics.score import Mixture
    from gitract_core.spec import Candidate
    from orchestrator.api.adding import AddedLine
    from orchestrator.api.comparison import Comparison
    from orchestrator.api.ensemble import RunEnsemble
    from orchestrator.api.out_of_fold import OutOfFold
    from orchestrator.out_of_fold.annotation_audit import Audit
    from orchestrator.results.candidate_scores import CandidateScores
    from orchestrator.results.leaderboard import Leaderboard
    from orchestrator.results.status import RunStatus
    from orchestrator.results.verdict import Verdict
    from orchestrator.storage.run_storage import RunStorage
    from orchestrator.sweeps.fold_plans import NamedFolds
    from orchestrator.sweeps.registration import Registration
    from orchestrator.sweeps.run_directory import SweepDirectory


def open_run(
    path: str | Path | None = None,
    *,
    bulky: bool = True,
    margin: float | None = None,
    score: str | None = None,
    plugins: Sequence[str | Path] = (),
) -> Run:
    """A run that ``sweep`` made.

    >>> run = open_run("runs/paper")  # doctest: +SKIP

    Args:
        path: run directory, or ``s3://BUCKET/FOLDER``, of which this machine keeps a mirror; the
            newest directory under ``runs/`` if left out.
        bulky: also bring weights and probabilities here from an object store.
        margin: of score, for "no worse than the best by more than"; what is registered, or .005.
        score: by which its candidates are ranked, such as ``"0.4*dice + 0.6*hd95_mm"``; the run's
            if left out.
        plugins: Python files with networks and losses of its candidates; executed, and needed for
            what predicts. What ``sweep`` was given is known to its process.

    Raises:
        RunError: there is no run.
        GitractError: a margin or a score that is none, a file that is no plugin.
    """
    if plugins:
        from gitract_core.plugins import load_plugins

        load_plugins(plugins)
    from orchestrator.storage.local_folder import LocalRun
    from orchestrator.storage.opening import existing_run, storage_at
    from orchestrator.sweeps.run_directory import SweepDirectory

    if path is None:
        newest = SweepDirectory.existing(None)
        return Run(newest, LocalRun(newest.path), margin, score=score)
    storage = storage_at(Path(path))
    return Run(existing_run(storage, bulky=bulky), storage, margin, score=score)


@dataclass(frozen=True)
class Run:
    """A run of a sweep, finished or not.

    Figures are read once and kept: open the run again to see what a sweep adds meanwhile.

    Attributes:
        directory: its files.
        storage: where it lives.
        shown: the candidates that ``board`` and all that follows from it is about; those that the
            last sweep asked for if None. See ``showing``.
        margin: of score, for "no worse than the best by more than"; None for what is registered,
            or .005.
        score: by which candidates are ranked; None for the run's.
    """

    directory: SweepDirectory
    storage: RunStorage
    margin: float | None = None
    shown: tuple[Candidate, ...] | None = None
    score: str | None = None

    def showing(
        self, space: str | Path | Mapping[str, Any] | None = None, *, every: bool = False
    ) -> Run:
        """The same run with other candidates on its board.

        >>> open_run("runs/paper").showing(every=True).leaderboard()  # doctest: +SKIP

        Args:
            space: those of a search space; as in ``sweep``.
            every: all candidates that were ever asked for.

        Raises:
            SpaceError: no such space.
            RunError: the run has no candidate of the space.
        """
        from orchestrator.api.shown_candidates import of_space

        if space is not None:
            return replace(self, shown=of_space(self.directory, space))
        return replace(self, shown=self.directory.record().candidates if every else None)

    @property
    def path(self) -> Path:
        """The run directory."""
        return self.directory.path

    @cached_property
    def board(self) -> Leaderboard:
        """The candidates with their results, best first."""
        from orchestrator.results.leaderboard import build_leaderboard

        self.score_trials()
        return build_leaderboard(self.directory, self.shown, self.measure)

    @cached_property
    def measure(self) -> Mixture:
        """The score by which candidates are ranked.

        Raises:
            GitractError: no such score, or an organ that the data set does not have.
        """
        from gitract_core.metrics.score_expression import parse_score

        record = self.directory.record()
        return record.measure if self.score is None else parse_score(self.score, record.organs)

    def score_trials(self, progress: Progress = silent) -> int:
        """Score again, from out-of-fold probabilities, what lacks sums of the score; how many.

        Args:
            progress: called with (trials done, all of them).
        """
        from orchestrator.api.scoring import score_finished

        record = self.directory.record()
        own = record.last_asked if self.shown is None else self.shown
        specs = record.specs((*own, *self.directory.added()))
        return score_finished(self.directory, specs, self.measure, progress)

    @cached_property
    def verdict(self) -> Verdict | None:
        """What the ranking is worth; None where nothing is ranked."""
        from orchestrator.api.registering import margin_of, registered_in_words
        from orchestrator.results.verdict import judge

        registered = self.registration
        margin = margin_of(registered, self.margin)
        words = registered_in_words(registered, self.directory.record(), margin, self.measure)
        return judge(self.board, margin, words)

    @cached_property
    def registration(self) -> Registration | None:
        """What was decided before anything was trained; None if nothing was registered.

        Raises:
            RunError: ``registration.json`` is damaged.
        """
        from orchestrator.sweeps.registration import read_registration

        return read_registration(self.directory)

    @cached_property
    def letters(self) -> dict[str, CandidateScores]:
        """The candidates by letter: ``A``, ``B``, ... in order of first appearance in the run."""
        from orchestrator.api.comparison import by_letter

        return by_letter(self.board)

    @property
    def failures(self) -> dict[str, tuple[str, ...]]:
        """Why candidates are not ranked, by label, a line for each missing fold."""
        return {line.label: line.reasons for line in self.board.unranked}

    def leaderboard(self) -> pd.DataFrame:
        """One row a candidate, ranked ones first.

        Columns are named as in scikit-learn's ``cv_results_`` where it has a name for them:
        ``rank_test_score``, ``mean_test_score``, ``std_test_score``, ``split0_test_score``, ...,
        ``param_<knob>``; beside them ``letter``, ``candidate``, ``score_low`` and ``score_high``
        (95 % interval over patients), ``tied_with_first``, ``epoch_rule`` (``training.keep``),
        ``score_announced``, ``score_cross_fitted`` and ``flattered_by`` (the difference of the two;
        missing where it is not known), Dice and Hausdorff score of each organ, costs, and
        ``reason`` where a candidate is not ranked.
        """
        import pandas as pd

        from orchestrator.api.scikit_learn_names import as_scikit_learn
        from orchestrator.report.tables import table_rows

        letters = {line.label: name for name, line in self.letters.items()}
        rows = [as_scikit_learn(row) for row in table_rows(self.board, self.verdict)]
        table = pd.DataFrame(rows)
        table.insert(1, "letter", [letters.get(label, "") for label in table["candidate"]])
        table["rank_test_score"] = table["rank_test_score"].astype("Int64")
        return table

    def compare(self, a: str | int, b: str | int) -> pd.DataFrame:
        """The difference of two candidates, or of two values of a knob; positive if ``a`` leads.

        Args:
            a: a rank (``1``), a letter (``"A"``), a candidate's label, or ``"knob=value"``. With a
                knob, every pair of ranked candidates that agree in all other knobs counts.
            b: likewise. ``compare_with`` compares with another run.

        Returns:
            One row: ``difference`` of mean scores, ``low`` and ``high`` (95 % interval over
            patients, with the luck of training), ``p`` (two-sided signed-rank test over patients),
            ``pairs`` of candidates, ``cases``, ``folds``, what ``a`` and ``b`` stand for, and
            ``why_no_interval``: under 10 patients there is none, and no ``p``.

        Raises:
            RunError: no such candidate, a candidate that is not ranked, or no pair.
        """
        import pandas as pd

        return pd.DataFrame([self.comparison(str(a), str(b)).to_json()]).drop(columns="each")

    def comparison(self, a: str, b: str) -> Comparison:
        """As ``compare``; where the board does not have both, all of the run's candidates count."""
        from gitract_core.errors import RunError
        from orchestrator.api.comparison import compare

        try:
            return compare(self.board, a, b)
        except RunError:
            if not self.board.others or a.isdecimal() or b.isdecimal():
                raise
        return compare(self.showing(every=True).board, a, b)

    def add(
        self,
        name: str,
        predictions: str | Path,
        *,
        folds_table: str | Path | None = None,
        declared: bool = False,
        epoch_rule: str = "not said",
        replace: bool = False,
        test_predictions: str | Path | None = None,
        test_images: str | Path | None = None,
        progress: Progress = silent,
    ) -> AddedLine:
        """Take another tool's out-of-fold predictions into the run as a candidate.

        Args:
            name: what it is called.
            predictions: nnU-Net's results, a table, NIfTI files or probabilities, see
                ``gitract_core.prediction.rivals.reading``.
            folds_table: the folds that it was trained on; see ``adding.AddRequest``.
            declared: it was trained on the run's own folds, without a table that says so.
            epoch_rule: whose patients chose its epochs, as of ``training.keep``, or other words.
            replace: take the place of what was added by this name.
            test_predictions: of scans of the test set, which ensembles with it can then predict.
            test_images: those scans; ``test`` in the data set's folder if left out.
            progress: called with (folds done, all folds).

        Returns:
            What was added; open the run again to see it on a board that was read before.

        Raises:
            GitractError: see ``adding.add_predictions``; nothing is written then.
        """
        from orchestrator.api.adding import AddRequest, add_predictions

        paths = (folds_table, test_predictions, test_images)
        table, test, images = (None if path is None else Path(path) for path in paths)
        request = AddRequest(
            name,
            Path(predictions),
            table,
            declared=declared,
            epoch_rule=epoch_rule,
            replace=replace,
            test_predictions=test,
            test_images=images,
        )
        return add_predictions(self.directory, request, progress)

    def remove(self, candidate: str | int) -> None:
        """Remove a candidate and the trials that are its alone; its letter is not given again.

        Args:
            candidate: as in ``compare``.

        Raises:
            RunError: no such candidate, the only one, a sweep is at work, or an ensemble uses it.
        """
        from orchestrator.api.removal import plan_removal, remove

        remove(self.directory, plan_removal(self.directory, str(candidate)))

    def compare_with(self, other: Run, candidate: str | int | None = None) -> pd.DataFrame:
        """The same candidates of this run and of another on the same folds, this one first.

        Args:
            other: a run on the same folds, for example of another version or machine; ranked by
                this run's score.
            candidate: as in ``compare``; every candidate that is ranked in both if left out.

        Returns:
            One row as of ``compare``.

        Raises:
            RunError: other folds, no such candidate, or none that is ranked in both.
        """
        import pandas as pd

        from orchestrator.api.comparison import compare_runs

        names = self.path.name, other.path.name
        name = None if candidate is None else str(candidate)
        alike = other.measure.text == self.measure.text
        other = other if alike else replace(other, score=self.measure.text)
        found = compare_runs(self.board, other.board, names, name)
        return pd.DataFrame([found.to_json()]).drop(columns="each")

    def detect(self, difference: float) -> pd.DataFrame:
        """How many patients find a difference between two candidates, by number of repeats.

        Args:
            difference: of score.

        Returns:
            A row a number of ``repeats``: the fewest ``patients`` that find the difference with a
            chance of 80 % (two-sided test at 5 %, one pair chosen beforehand), missing where no
            number does.

        Raises:
            GitractError: not a difference above 0 and under 1.
            RunError: the run has too few candidates or patients to tell its noise.
        """
        import pandas as pd

        from orchestrator.api.detecting import detect

        rows = detect(difference, self.board).cases_needed
        return pd.DataFrame(rows, columns=["repeats", "patients"]).astype("Int64")

    def history(self) -> pd.DataFrame:
        """One row an epoch of every finished trial: ``candidate``, ``letter``, ``fold``, metrics.

        Raises:
            RunError: no trial is finished.
        """
        from dataclasses import asdict

        import pandas as pd

        from orchestrator.results.histories import read_histories

        letters = {line.label: name for name, line in self.letters.items()}
        return pd.DataFrame(
            {
                "candidate": line.label,
                "letter": letters[line.label],
                "fold": trial.fold,
                **asdict(record),
            }
            for line in read_histories(self.directory).candidates
            for trial in line.trials
            for record in trial.records
        )

    def folds(self) -> pd.DataFrame:
        """The fold of each scan: ``scan``, ``patient``, ``fold``; ``repeat`` where there are many.

        Raises:
            DataError: the data set is not there, or another one.
        """
        return self.named_folds().table

    def named_folds(self) -> NamedFolds:
        """The folds with the scans that they part; ``text`` gives them as other tools take them.

        Raises:
            DataError: the data set is not there, or another one.
        """
        from gitract_core.data.slices import case_of_scan
        from orchestrator.report.run_slices import run_index
        from orchestrator.sweeps.fold_plans import NamedFolds

        record = self.directory.record()
        return NamedFolds(self.directory.plans(record), case_of_scan(run_index(record)))

    def out_of_fold(self, scan: str, candidate: str | int = 1) -> OutOfFold:
        """What a candidate's networks say of a scan whose patient they have not seen.

        Args:
            scan: its name, for example ``case123_day20``.
            candidate: as in ``compare``; the first of the ranking if left out.

        Raises:
            DataError: no such scan.
            RunError: no such candidate, or its probabilities are damaged.
        """
        from orchestrator.api.comparison import ranked_candidate
        from orchestrator.api.out_of_fold import read_out_of_fold

        return read_out_of_fold(self.directory, ranked_candidate(self.board, str(candidate)), scan)

    def ensemble(
        self,
        top: int = 3,
        *,
        weights: Literal["equal", "greedy"] = "equal",
        tune: bool = False,
        flip: bool = False,
        progress: Progress = silent,
    ) -> RunEnsemble:
        """Average the best candidates, and score the average out of fold.

        Args:
            top: number of candidates; with greedy weights the number of steps.
            weights: ``equal``, or ``greedy`` selection (Caruana 2004).
            tune: also choose threshold and post-processing for each organ.
            flip: try averaging with mirrored slices; kept if it scores higher.
            progress: called with (steps done, all steps).

        Raises:
            RunError: fewer candidates are complete.
        """
        from orchestrator.api.ensemble import RunEnsemble
        from orchestrator.ensembles.making import make_ensemble
        from orchestrator.ensembles.selection import Method

        method = Method(top, weights, tune, flip)
        return RunEnsemble(make_ensemble(self.directory, self.board, method, progress), self.board)

    def audit(self, top: int = 3, progress: Progress = silent) -> Audit:
        """Scans and slices whose annotation contradicts out-of-fold predictions most.

        Args:
            top: number of candidates whose predictions are averaged.
            progress: called with (scans done, all scans).
        """
        from orchestrator.out_of_fold.annotation_audit import audit_run

        return audit_run(self.directory, self.board, top, progress)

    def status(self) -> RunStatus:
        """How far every trial is, from the run's files as they are now."""
        from orchestrator.results.status import read_status

        return read_status(self.directory)

    def report(
        self,
        *,
        csv: Path | None = None,
        markdown: Path | None = None,
        html: Path | None = None,
        progress: Progress = silent,
    ) -> list[Path]:
        """Write the ranked table or the page with everything; returns the files written."""
        from orchestrator.report import write_csv, write_markdown

        if csv:
            write_csv(self.board, Path(csv), self.verdict)
        if markdown:
            write_markdown(self.board, Path(markdown), self.verdict)
        if html:
            from orchestrator.report.page import write_page

            write_page(self.directory, self.board, self.verdict, Path(html), progress)
        return [Path(file) for file in (csv, markdown, html) if file]

    def write_report(self) -> list[Path]:
        """Write all of ``report`` into ``RUN/report``."""
        folder = self.path / "report"
        return self.report(
            csv=folder / "leaderboard.csv",
            markdown=folder / "leaderboard.md",
            html=folder / "report.html",
        )

    def store(self) -> None:
        """Make reports and ensembles safe where the run lives; of no effect in a local folder."""
        for name in ("report", "ensembles", "added"):
            if (self.path / name).is_dir():
                self.storage.push(name)

    def to_json(self) -> dict[str, Any]:
        """Ranking and statistics as plain values: what ``report --json`` prints."""
        from orchestrator.report.tables import table_rows
        from orchestrator.results.board_words import added_in_words
        from orchestrator.results.epoch_words import epochs_in_words

        lines = (*self.board.ranked, *self.board.unranked)
        return {
            "run": str(self.path),
            "score": {"text": self.measure.text, "name": self.measure.name},
            "leaderboard": [
                {**row, "epoch_choice": line.epoch_choice.to_json()}
                for row, line in zip(table_rows(self.board, self.verdict), lines, strict=True)
            ],
            "not_shown": list(self.board.others),
            "added": added_in_words(self.board),
            "epoch_choice": epochs_in_words(self.board),
            "statistics": self.verdict and self.verdict.to_json(),
            "registration": self.registration and self.registration.to_json(),
        }

    def _repr_html_(self) -> str:
        from orchestrator.api.notebook import run_html

        return run_html(self.path, self.board, self.verdict)
