"""From collected rows to the files of `results/<paper>/<artefact>/<scale>/`, and the table that a user sees."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console

from lightning_moa.config import SYNTHETIC, StudyConfig
from lightning_moa.errors import UserError
from lightning_moa.folders import check_writable
from lightning_moa.reporting.claims import OF_RULE, Row, claims_frame, sensitivity_frame
from lightning_moa.reporting.files import remove, write_atomically
from lightning_moa.reporting.metrics import metrics_frames, reference_points
from lightning_moa.reporting.run_record import write_run_record
from lightning_moa.reporting.schema import ACCURACIES, CLAIMS, COSTS, METRICS, POINTS, REWARD_MODELS, TIMINGS
from lightning_moa.reporting.study_tables import (
    claims_lines,
    claims_table,
    methods_table,
    noise_lines,
    reward_model_lines,
    sensitivity_lines,
)
from lightning_moa.study.collect import Collected
from lightning_moa.study.kept import differing, other_parts, recorded, refuse_to_replace
from lightning_moa.study.provenance import place_of

LONGEST = 120
"""Letters of a folder's name that say which methods were asked for."""
REFERENCES = (OF_RULE, "corner", "far")
"""The reference points of hypervolumes: by the rule; at the corner of the box that the best single-objective policies
span (0 for accuracies; the rule's where neither is known); and ten times as far off as the rule has it."""
FAR = 1.0
SENSITIVITY, OVER_PROMPTS = "sensitivity.csv", "over_prompts.csv"


@dataclass(frozen=True)
class Tables:
    """The tables of an artefact, in the schema's columns."""

    points: pd.DataFrame
    accuracies: pd.DataFrame
    metrics: pd.DataFrame
    regret: np.ndarray
    """(n,) regret of each row of points, NaN where the best policy is not known."""
    elsewhere: Mapping[str, pd.DataFrame]
    """name in REFERENCES -> the metrics with that reference point."""

    def at(self, reference: str) -> Tables:
        """The same, with hypervolumes above another reference point."""
        return replace(self, metrics=self.elsewhere[reference])


@dataclass(frozen=True)
class Judged:
    """An artefact's claims, and what becomes of them elsewhere."""

    claims: pd.DataFrame
    """Of the schema."""
    sensitivity: pd.DataFrame | None = None
    """Of `sensitivity_frame`; None where no claim rests on a reference point."""
    over_prompts: pd.DataFrame | None = None
    """Of `over_prompts`; None where there are seeds enough."""

    def write(self, folder: Path) -> None:
        """claims.csv, sensitivity.csv and over_prompts.csv."""
        CLAIMS.write(self.claims, folder / CLAIMS.file)
        _leave(folder / SENSITIVITY, self.sensitivity)
        _leave(folder / OVER_PROMPTS, self.over_prompts)


def judged(rows_at: Callable[[str], Sequence[Row]], over_prompts: pd.DataFrame | None = None) -> Judged:
    """All claims of an artefact. `rows_at` makes them for each name in REFERENCES, as `lambda name:
    rows(tables.at(name))` does; once they are what is claimed, and then what becomes of them elsewhere. `over_prompts`
    is what the function of that name gives."""
    return Judged(claims_frame(rows_at(OF_RULE)), sensitivity_frame(rows_at, REFERENCES), over_prompts)


@dataclass(frozen=True)
class Artefact:
    """One figure or table of a paper, and when its making began."""

    paper: str
    name: str
    config: StudyConfig
    started: datetime
    part: str = ""
    """A folder below the artefact's, where it is made of several studies; their claims lie together above."""
    home: str = SYNTHETIC
    """The data set that the artefact is about at the small scales: its results bear no name of data."""
    chosen: str = ""
    """Its methods, or its panels, where they are not all of the script's own."""
    begun: StudyConfig | None = None
    """The configuration as it was then, which the folder's record is of."""

    @staticmethod
    def begin(
        paper: str, name: str, config: StudyConfig, part: str = "", home: str = SYNTHETIC, chosen: str = ""
    ) -> Artefact:
        """Note the time.

        Raises:
            UserError: the folder can't be written, or holds results of another configuration, and `replace` is not
                set.
        """
        artefact = Artefact(paper, name, config, datetime.now(UTC), part, home, chosen, deepcopy(config))
        check_writable(artefact.folder)
        refuse_to_replace(artefact.folder, config)
        return artefact

    @property
    def scale(self) -> str:
        """The scale's name in files and folders; other data than `home` have a name of their own."""
        data = self.config.data.name
        own = data == self.home or self.config.scale in ("gpu", "paper")
        chosen = self.chosen
        if len(chosen) > LONGEST:
            # A file system takes 255 bytes; who wants to read it all reads metrics.csv.
            chosen = f"{chosen[:LONGEST]}+{hashlib.sha256(chosen.encode()).hexdigest()[:8]}"
        parts = [self.config.scale, *([] if own else [data.replace(":", ".")]), *filter(None, [chosen])]
        return "-".join(parts)

    @property
    def folder(self) -> Path:
        """Where its files lie."""
        return Path(str(self.config.results_dir)) / self.paper / self.name / self.scale / self.part

    def tables(self, collected: Collected) -> Tables:
        """The schema's tables of the collected rows."""
        named = {"paper": self.paper, "artefact": self.name, "scale": self.scale}
        points = POINTS.check(collected.points[_columns(POINTS, collected, named)].assign(**named), "points")
        accuracies = collected.accuracies
        if len(accuracies):
            accuracies = accuracies[_columns(ACCURACIES, collected, named)].assign(**named)
            accuracies = ACCURACIES.check(accuracies, "accuracies")
        regret = regret_of(points, collected)
        known = accuracies if len(accuracies) else None
        gold = [f"gold_{name}" for name in collected.objectives]
        fronts = {} if collected.exact is None else {"gold": collected.exact.front[gold].to_numpy()}
        corners = {"accuracy": np.zeros(len(collected.objectives))}
        if collected.exact is not None:
            best = collected.exact.grid[(collected.exact.grid.filter(like="lambda_") == 1).any(axis=1)]
            corners["gold"] = best[gold].min().to_numpy()
        places = (None, corners, reference_points(points, known, fronts, FAR))
        metrics = metrics_frames(
            points,
            known,
            fronts=fronts,
            regret=regret,
            costs=collected.costs,
            places=dict(zip(REFERENCES, places, strict=True)),
        )
        return Tables(points, accuracies, metrics[OF_RULE], regret, metrics)

    def write(
        self,
        collected: Collected,
        tables: Tables,
        judged: Judged | None,
        others: Mapping[str, pd.DataFrame] | None = None,
    ) -> None:
        """All CSVs and run.yaml, each whole or not at all.

        Args:
            collected: the study's rows.
            tables: made of them.
            judged: the claims (`judged(...)` makes them); None where there are none, or they are judged for several
                parts together.
            others: file name -> frame, for what a figure shows beyond the schema; gets the columns `paper`,
                `artefact` and `scale` in front.
        """
        if not isinstance(judged, Judged | None):
            raise UserError(
                f"write: judged is a {type(judged).__name__}; allowed are what judged(...) makes, and None"
            )
        # The record last, and the former one gone before anything: of a start that ends on the way it would tell lies.
        remove(self.folder / "run.yaml")
        self._write_others(others or {})
        POINTS.write(tables.points, self.folder / POINTS.file)
        METRICS.write(tables.metrics, self.folder / METRICS.file)
        TIMINGS.write(collected.timings, self.folder / TIMINGS.file)
        for schema, frame in (
            (ACCURACIES, tables.accuracies),
            (COSTS, collected.costs),
            (REWARD_MODELS, collected.reward_models),
        ):
            if len(frame):
                schema.write(frame, self.folder / schema.file)
            else:
                (self.folder / schema.file).unlink(missing_ok=True)
        if judged is not None:
            judged.write(self.folder)
        _leave(self.folder / "exact_front.csv", None if collected.exact is None else collected.exact.front)
        beta = {} if collected.exact is None else {"exact_beta": collected.exact.beta}
        measured = {**collected.measured_with, "rewards": _rewards(collected), **beta}
        self._write_record(measured, list(collected.trained.values()), collected.evaluated)

    def write_computed(self, judged: Judged | None, others: Mapping[str, pd.DataFrame], rewards: str) -> None:
        """What an artefact leaves that is computed and trains nothing: its own CSVs, claims and run.yaml.

        Args:
            judged: the claims, on the others; None where nothing is claimed.
            others: as in `write`.
            rewards: what its numbers are rewards of.
        """
        remove(self.folder / "run.yaml")
        self._write_others(others)
        if judged is not None:
            judged.write(self.folder)
        self.write_record(rewards)

    def write_record(self, rewards: str) -> None:
        """run.yaml of what trained nothing itself; last, once all else is written.

        Args:
            rewards: what its numbers are rewards of.
        """
        data = {key: getattr(self.config.data, key) for key in ("name", "revision", "labels")}
        self._write_record({"data": data, "rewards": {"computed": rewards}}, [])

    def begin_parts(self, parts: Mapping[str, StudyConfig]) -> None:
        """Ask for the folders of all parts before the first is trained. The record is gone until `end_parts`: of parts
        that are written anew above, claims and pictures are of before.

        Args:
            parts: folder below this one -> configuration.

        Raises:
            UserError: one can't be written or holds results of another configuration, or there are parts that this
                start does not make, and `replace` is not set.
        """
        for part, own in parts.items():
            Artefact.begin(self.paper, self.name, own, part, self.home, self.chosen)
        others = other_parts(self.folder, parts)
        if others and not self.config.replace:
            raise UserError(
                f"{self.folder}: holds {others[0].relative_to(self.folder)}, which is no part of what is asked for; "
                "replace=true takes it away, another results_dir keeps it"
            )
        remove(self.folder / "run.yaml")

    def end_parts(self, parts: Iterable[str]) -> None:
        """Take away parts that this start has not made, and leave the record of them all."""
        for folder in other_parts(self.folder, parts):
            shutil.rmtree(folder)
        self.write_record("those of its parts")

    def _write_others(self, others: Mapping[str, pd.DataFrame]) -> None:
        named = {"paper": self.paper, "artefact": self.name, "scale": self.scale}
        for file, frame in others.items():
            whole = frame.assign(**named)[[*named, *frame.columns]]
            write_atomically(self.folder / file, whole.to_csv(index=False, lineterminator="\n"))

    def _write_record(
        self,
        measured_with: Mapping[str, Any],
        policies: Sequence[Mapping[str, Any]],
        evaluated: Mapping[str, Mapping[str, int]] | None = None,
    ) -> None:
        config = recorded(self.config)
        changed = [] if self.begun is None else list(differing(self.begun, config))
        if changed:
            # It would be taken for another one's results when the script is started again.
            raise UserError(
                f"{self.folder}: the configuration was changed after Artefact.begin ({changed[0]}); change it before"
            )
        write_run_record(
            self.folder / "run.yaml",
            config,
            measured_with=measured_with,
            runs=place_of(Path(str(self.config.runs_dir)), self.folder) if policies else None,
            policies=policies,
            evaluated=evaluated,
            started=self.started,
            duration=(datetime.now(UTC) - self.started).total_seconds(),
        )


def _leave(file: Path, frame: pd.DataFrame | None) -> None:
    """The file as it is to be; where there is nothing to say, none that an earlier start has left, either."""
    if frame is None:
        file.unlink(missing_ok=True)
    else:
        write_atomically(file, frame.to_csv(index=False, lineterminator="\n"))


def _rewards(collected: Collected) -> dict[str, Any]:
    """What each group of reward columns comes from, in words, and what sets its sources apart."""
    learned = [f"{name}: {words}" for name, words in collected.rewards.items()]
    gold = "none" if collected.exact is None else "the world's own"
    sources = collected.measured_with.get("rewards", {})
    return {"reward": "; ".join(learned) or "none", "gold": gold, "sources": sources}


def _columns(table: object, collected: Collected, named: dict[str, str]) -> list[str]:
    frame = collected.accuracies if table is ACCURACIES else collected.points
    names = table.names(collected.objectives, list(map(str, frame)))  # type: ignore[attr-defined]
    return [name for name in names if name not in named]


def regret_of(points: pd.DataFrame, collected: Collected) -> np.ndarray:
    """J*(lambda) - (lambda . gold - beta kl) of each row, in units of reward."""
    exact = collected.exact
    if exact is None:
        return np.full(len(points), np.nan)
    weights = [f"lambda_{name}" for name in collected.objectives]
    gold = points[[f"gold_{name}" for name in collected.objectives]].to_numpy()
    known = exact.grid[weights].round(9).to_numpy().tolist()
    best = {tuple(place): value for place, value in zip(known, exact.grid["value"], strict=True)}
    preferences = points[weights].to_numpy()
    values = np.array([best.get(tuple(row), np.nan) for row in preferences.round(9).tolist()])
    return values - ((preferences * gold).sum(axis=1) - exact.beta * points["kl"].to_numpy())


def print_summary(
    console: Console,
    artefact: Artefact,
    collected: Collected,
    tables: Tables,
    judged: Judged,
    pictures: list[Path],
) -> None:
    """The short table at the end of a script: hypervolumes per method, a verdict per claim, where the files are."""
    print_methods(console, artefact, collected, tables)
    print_claims(console, judged, pictures)


def print_methods(console: Console, artefact: Artefact, collected: Collected, tables: Tables) -> None:
    """Hypervolumes and costs of each method."""
    title = f"{artefact.paper} {artefact.name} {artefact.part}".rstrip()
    console.print(methods_table(title, tables.metrics, collected.timings))
    for line in reward_model_lines(collected.reward_models):
        console.print(line, highlight=False, markup=False)


def print_claims(console: Console, judged: Judged, pictures: list[Path]) -> None:
    """A verdict per claim, what noise rules out, how many would hold by chance, what hangs on the reference point,
    where the pictures are."""
    console.print(claims_table(judged.claims))
    for line in noise_lines(judged.claims):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    for line in (*claims_lines(judged.claims), *sensitivity_lines(judged.sensitivity)):
        console.print(line, highlight=False, markup=False)
    for picture in pictures:
        print_place(console, "picture", picture)


def print_place(console: Console, what: str, path: Path) -> None:
    """Where a file lies, as it is: what stands in brackets there is no markup."""
    console.print(f"{what}: {path}", highlight=False, markup=False, soft_wrap=True)
