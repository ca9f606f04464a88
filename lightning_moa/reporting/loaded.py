"""Runs as they lie on the disk: their points, what lies beside them, and several of one artefact as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lightning_moa.errors import UserError
from lightning_moa.folders import refuse_links_out
from lightning_moa.reporting.differences import DECIDING, differing, shown_names
from lightning_moa.reporting.exact_front import EXACT, known_beta, read_exact
from lightning_moa.reporting.foreign import is_foreign, read_foreign
from lightning_moa.reporting.fronts import by_seed, final_rows, objectives_of, preferences_of, rows_in
from lightning_moa.reporting.run_record import read_run_record
from lightning_moa.reporting.schema import ACCURACIES, METRICS, POINTS, Table

RECORD = "run.yaml"
Preferences = tuple[tuple[float, ...], ...]


@dataclass(frozen=True, eq=False)
class Run:
    """One points.csv, with what lies beside it; or several, as `merged` makes them. Its frames are not changed."""

    name: str
    path: Path
    points: pd.DataFrame
    accuracies: pd.DataFrame | None = None
    record: dict[str, Any] | None = None
    metrics: pd.DataFrame | None = None
    beta: float | None = None
    """Weight of the KL in its regrets; None: not known."""
    members: tuple[Run, ...] = ()
    """The runs that this one was merged of."""
    known: dict[Any, Any] = field(default_factory=dict, init=False, repr=False)
    """What was computed of it, to be used again where it is compared with many."""

    def rows(self, space: str) -> pd.DataFrame:
        """Final rows that have values in the space; none if nothing was measured there."""
        if space not in self.known:
            table = self.accuracies if space == "accuracy" else self.points
            self.known[space] = self.points[:0] if table is None else rows_in(final_rows(table), space)
        rows: pd.DataFrame = self.known[space]
        return rows

    def regret(self, method: str) -> dict[int, float]:
        """seed -> mean regret of a method's policies, where the best policies are known."""
        if self.metrics is None:
            return {}
        mine = self.metrics[(self.metrics["method"] == method) & (self.metrics["space"] == "gold")]
        known = mine[mine["mean_regret"].notna()]
        return {
            int(seed): float(value) for seed, value in zip(known["seed"], known["mean_regret"], strict=True)
        }

    def asked(self, method: str) -> dict[int, Preferences]:
        """seed -> the preferences that a method's mean regret is over, in order."""
        rows = self.rows("gold")
        mine = rows[(rows["method"] == method) & np.isfinite(preferences_of(rows)).all(axis=1)]
        return {
            seed: tuple(sorted(map(tuple, preferences_of(each).round(9).tolist())))
            for seed, each in by_seed(mine)
        }


def load_runs(paths: Sequence[str | Path], columns: Mapping[str, str] | None = None) -> list[Run]:
    """Runs from points.csv files, folders that hold one, or folders above such folders.

    Args:
        paths: of them; or CSV files of another form, with `columns`.
        columns: this schema's column to that of files of another form, as `read_foreign` takes it.

    Raises:
        UserError: nothing found, a broken file, or runs whose objectives differ.
    """
    files = list(dict.fromkeys(file for path in paths for file in _points_files(Path(path))))
    names = _short_names(files)
    runs = [_load(file, name, columns) for file, name in zip(files, names, strict=True)]
    first = runs[0]
    expected = objectives_of(first.points)
    for index, run in enumerate(runs):
        found = objectives_of(run.points)
        if set(found) != set(expected):
            raise UserError(
                f"{run.path}: objectives {', '.join(found)}, but {first.path} has {', '.join(expected)};"
                " fronts can only be compared over the same objectives"
            )
        # The same objectives in another order: check puts groups of columns in the order of the first group.
        if found != expected:
            runs[index] = reordered(run, expected)
    return runs


def merged(runs: Sequence[Run]) -> list[Run]:
    """The runs of one artefact and scale as one: its seeds, made on several machines.

    Raises:
        UserError: a method has a seed twice, or runs of one artefact differ in what their numbers hang on, so that
            their mean would be that of two things.
    """
    groups: dict[tuple[str, ...], list[Run]] = {}
    for run in runs:
        of = run.points[["paper", "artefact", "scale"]].drop_duplicates()
        groups.setdefault(tuple(sorted(map("/".join, of.to_numpy()))), []).append(run)
    return [group[0] if len(group) == 1 else _joined(group) for group in groups.values()]


def _joined(group: Sequence[Run]) -> Run:
    differences = differing([(run.name, run.record) for run in group], DECIDING)
    if differences:
        raise UserError(f"--merge: {differences[0]}; allowed are runs that differ in their seeds alone")
    if len(betas := betas_of(group)) > 1:
        raise UserError(f"--merge: {said_of(betas)}; allowed are runs that differ in their seeds alone")
    owners: dict[tuple[str, int], str] = {}
    for run in group:
        for method, seed in sorted(set(zip(run.points["method"], run.points["seed"], strict=True))):
            if owners.setdefault((method, int(seed)), run.name) != run.name:
                raise UserError(
                    f"--merge: seed {seed} of {method} is in {owners[method, int(seed)]} and in {run.name}; allowed is "
                    "each seed of a method once"
                )
    return replace(
        group[0],
        name=" + ".join(run.name for run in group),
        points=pd.concat([run.points for run in group], ignore_index=True),
        accuracies=_stacked([run.accuracies for run in group]),
        metrics=_stacked([run.metrics for run in group]),
        beta=next(iter(betas), None),
        members=tuple(group),
    )


def betas_of(runs: Sequence[Run]) -> dict[float, list[str]]:
    """Weight of the KL that regrets are under -> the runs that have such regrets; those that tell no weight are passed
    over."""
    found: dict[float, list[str]] = {}
    for run in runs:
        if run.beta is not None and run.metrics is not None and run.metrics["mean_regret"].notna().any():
            found.setdefault(run.beta, []).append(run.name)
    return found


def said_of(betas: Mapping[float, Sequence[str]]) -> str:
    """That regrets are under several weights, in words."""
    told = ", ".join(f"{beta:g} ({shown_names(names)})" for beta, names in betas.items())
    return f"regrets are under different weights of the KL: beta {told}"


def _stacked(frames: Sequence[pd.DataFrame | None]) -> pd.DataFrame | None:
    there = [frame for frame in frames if frame is not None]
    return pd.concat(there, ignore_index=True) if there else None


def _points_files(path: Path) -> list[Path]:
    if path.is_file():
        return [path.resolve()]
    if not path.is_dir():
        raise UserError(
            f"{path}: no such file or folder; allowed are points.csv files and folders of results"
        )
    files = list(path.rglob(POINTS.file))
    refuse_links_out(path, [each for file in files for each in file.parent.iterdir()])
    found = sorted(file.resolve() for file in files)
    if not found:
        raise UserError(
            f"{path}: no {POINTS.file} in it; allowed are folders of results, or folders above them"
        )
    return found


def _short_names(files: Sequence[Path]) -> list[str]:
    """The parts of the folders' paths that tell them apart, such as `figure4/tiny`."""
    folders = [
        file.parent.parts if file.name == POINTS.file else file.with_suffix("").parts for file in files
    ]
    common = 0
    while len(files) > 1 and all(len(f) > common + 1 and f[common] == folders[0][common] for f in folders):
        common += 1
    return ["/".join(folder[common:] if len(files) > 1 else folder[-3:]) for folder in folders]


def _load(file: Path, name: str, columns: Mapping[str, str] | None) -> Run:
    if is_foreign(file):
        return Run(name, file, read_foreign(file, columns or {}))
    record = read_run_record(file.with_name(RECORD))
    accuracies, metrics = (_beside(file, table) for table in (ACCURACIES, METRICS))
    exact = file.with_name(EXACT)
    beta = known_beta(record, read_exact(exact) if exact.exists() else None)
    return Run(name, file, POINTS.read(file), accuracies, record, metrics, beta)


def _beside(file: Path, table: Table) -> pd.DataFrame | None:
    path = file.with_name(table.file)
    return table.read(path) if path.exists() else None


def reordered(run: Run, objectives: tuple[str, ...]) -> Run:
    def reorder(frame: pd.DataFrame) -> pd.DataFrame:
        weights = [f"lambda_{objective}" for objective in objectives]
        return frame[weights + [name for name in frame.columns if name not in weights]]

    accuracies = run.accuracies
    return replace(
        run,
        points=POINTS.check(reorder(run.points), str(run.path)),
        accuracies=None if accuracies is None else ACCURACIES.check(reorder(accuracies), str(run.path)),
    )
