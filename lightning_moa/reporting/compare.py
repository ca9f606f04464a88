"""Comparing the fronts of several runs in one space, above one reference point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from lightning_moa import pareto
from lightning_moa.errors import UserError
from lightning_moa.pareto.dominance import dominated_by
from lightning_moa.reporting.differences import differing, shown_names, unsaid
from lightning_moa.reporting.fronts import by_seed, objectives_of, values_of
from lightning_moa.reporting.lacking import lacking
from lightning_moa.reporting.loaded import Preferences, Run, betas_of, said_of
from lightning_moa.reporting.schema import SPACES
from lightning_moa.reporting.verdicts import Estimate, estimate

BEST_FIRST = ("gold", "judge", "reward")
"""Spaces, the one that says most of a policy first."""


@dataclass(frozen=True)
class _Front:
    """A run's method in a space, whatever it is compared with; fields as those of `Entry`."""

    method: str
    values: dict[int, np.ndarray]
    non_dominated: float
    spacing: float
    regrets: dict[int, float]
    asked: dict[int, Preferences]
    edges: list[np.ndarray]
    """Of each seed the points that no other of them dominates."""
    outermost: np.ndarray
    """Of all seeds' points those that no other dominates: what dominates these dominates all."""
    highest: np.ndarray
    """(seeds, m): the largest value of each objective."""


@dataclass(frozen=True)
class Entry:
    """A run's method in the table."""

    run: str
    method: str
    front: dict[int, np.ndarray]
    """seed -> (n, m) values."""
    volumes: dict[int, float]
    """seed -> hypervolume."""
    hypervolume: Estimate
    non_dominated: float
    spacing: float
    regrets: dict[int, float]
    """seed -> mean regret; empty where the best policies are not known."""
    regret: Estimate | None
    difference: Estimate | None = None
    """Hypervolume less the baseline's, paired by seed."""
    regret_difference: Estimate | None = None
    pairs: int | None = None
    """Seeds that it and the baseline both have; None where it is held against none."""
    beta: float | None = None
    """Weight of the KL in its regret; None: not known."""
    asked: Mapping[int, Preferences] = field(default_factory=dict)
    """seed -> the preferences that its regret is the mean over."""

    @property
    def name(self) -> str:
        return f"{self.run}: {self.method}"

    @property
    def size(self) -> float:
        """Policies on the front of a seed."""
        return sum(len(values) for values in self.front.values()) / len(self.front)


@dataclass(frozen=True)
class Comparison:
    """What `compare` found. `dominated[i]`: the entries that entry i dominates."""

    space: str
    objectives: tuple[str, ...]
    reference: np.ndarray
    baseline: str | None
    entries: list[Entry]
    dominated: list[list[int]]
    warnings: list[str]


def compare(
    runs: Sequence[Run],
    space: str | None = None,
    reference: Sequence[float] | None = None,
    *,
    baseline: str | None = None,
) -> Comparison:
    """Hypervolume, evenness, regret and dominance of every run's methods.

    Hypervolume and regret are means over seeds, with the verdicts' own intervals, Student's t of 95% over seeds
    (none for one seed). One entry dominates another if for every pair of their seeds each point of the other's front is
    dominated by one of its own (HaM's sense).

    Args:
        runs: from `load_runs`.
        space: `gold`, `judge`, `reward` or `accuracy`; if not given, the first of BEST_FIRST that all runs have.
        reference: hypervolume's corner; `pareto.default_reference` of all compared points if not given.
        baseline: a method; the others' differences to it are paired by seed. It is the one of the same run, or else
            the only one of that name.

    Raises:
        UserError: a run without values in the space, a reference of another length, or no such baseline.
    """
    space = space or next((one for one in BEST_FIRST if all(len(run.rows(one)) for run in runs)), "reward")
    if space not in SPACES:
        raise UserError(f"space {space!r}; allowed are {', '.join(SPACES)}")
    for run in runs:
        if run.rows(space).empty:
            has = ", ".join(other for other in SPACES if len(run.rows(other))) or "none"
            raise UserError(f"{run.path}: no values in space {space!r}; it has {has}")
    objectives = objectives_of(runs[0].points)
    corner = _reference(runs, space, reference)
    fronts = [(run, front) for run in runs for front in _fronts(run, space)]
    entries = [_entry(run, front, corner) for run, front in fronts]
    if baseline is not None:
        entries = [_against(entry, _baseline(entry, entries, baseline)) for entry in entries]
    dominated = [
        [j for j, (theirs, b) in enumerate(fronts) if a is not b and _known_to_dominate(mine, a, theirs, b)]
        for mine, a in fronts
    ]
    left_out = [line for run in runs for line in lacking(run, space)]
    warnings = [*_warnings(runs, entries, corner), *_regret_warnings(runs, entries), *left_out]
    return Comparison(space, objectives, corner, baseline, entries, dominated, warnings)


def _reference(runs: Sequence[Run], space: str, reference: Sequence[float] | None) -> np.ndarray:
    fronts = [front for run in runs for front in _fronts(run, space)]
    values = np.concatenate([values for front in fronts for values in front.values.values()])
    if reference is None:
        return pareto.default_reference(values)
    objectives = objectives_of(runs[0].points)
    if len(reference) != len(objectives) or not np.isfinite(reference).all():
        given = ",".join(f"{value:g}" for value in reference)
        raise UserError(
            f"reference {given}; allowed is one finite number for each of {', '.join(objectives)}"
        )
    return np.asarray(reference, dtype=np.float64)


def _fronts(run: Run, space: str) -> list[_Front]:
    """What of a run hangs on no other run: made once."""
    key = ("fronts", space)
    if key not in run.known:
        run.known[key] = [
            _front(run, str(method), rows, space)
            for method, rows in run.rows(space).groupby("method", sort=False)
        ]
    fronts: list[_Front] = run.known[key]
    return fronts


def _front(run: Run, method: str, rows: pd.DataFrame, space: str) -> _Front:
    values = {seed: values_of(group, space) for seed, group in by_seed(rows)}
    together = np.concatenate(list(values.values()))
    edges = [each[pareto.is_non_dominated(each)] for each in values.values()]
    return _Front(
        method,
        values,
        float(np.mean([len(edge) for edge in edges])),
        float(np.mean([pareto.spacing(each) for each in values.values()])),
        run.regret(method),
        run.asked(method),
        edges,
        together[pareto.is_non_dominated(together)],
        np.stack([each.max(axis=0) for each in values.values()]),
    )


def _entry(run: Run, front: _Front, corner: np.ndarray) -> Entry:
    volumes = {seed: pareto.hypervolume(values, corner) for seed, values in front.values.items()}
    return Entry(
        run.name,
        front.method,
        front.values,
        volumes,
        estimate(volumes, "hypervolume"),
        front.non_dominated,
        front.spacing,
        front.regrets,
        estimate(front.regrets, "regret") if front.regrets else None,
        beta=run.beta,
        asked={seed: front.asked.get(seed, ()) for seed in front.regrets},
    )


def _baseline(entry: Entry, entries: Sequence[Entry], method: str) -> Entry:
    found = [each for each in entries if each.method == method]
    own = [each for each in found if each.run == entry.run] or found
    if not found:
        known = ", ".join(dict.fromkeys(each.method for each in entries))
        raise UserError(f"--baseline {method}: no such method; there are {known}")
    if len(own) > 1:
        raise UserError(
            f"--baseline {method}: {entry.run} has none of its own, and there are several: "
            f"{', '.join(each.run for each in own)}; allowed is one"
        )
    return own[0]


def _against(entry: Entry, other: Entry) -> Entry:
    if entry is other:
        return entry
    volumes = _paired(entry.volumes, other.volumes)
    regrets = _paired(entry.regrets, other.regrets) if _same_regret(entry, other) else {}
    return replace(
        entry,
        difference=estimate(volumes, "difference") if volumes else None,
        regret_difference=estimate(regrets, "difference") if regrets else None,
        pairs=len(volumes),
    )


def _paired(values: Mapping[int, float], others: Mapping[int, float]) -> dict[int, float]:
    """Differences of the seeds that both have."""
    return {seed: value - others[seed] for seed, value in values.items() if seed in others}


def _same_regret(entry: Entry, other: Entry) -> bool:
    """Whether two regrets are means over the same preferences, under one weight of the KL as far as it is known."""
    betas = {each.beta for each in (entry, other) if each.beta is not None}
    both = entry.asked.keys() & other.asked.keys()
    return len(betas) < 2 and all(entry.asked[seed] == other.asked[seed] for seed in both)


def _known_to_dominate(run: Run, a: _Front, other: Run, b: _Front) -> bool:
    """`_dominates`; of two fronts of one run, which may be compared with many, it is found once."""
    if run is not other:
        return _dominates(a, b)
    key = ("dominates", id(a), id(b))
    if key not in run.known:
        run.known[key] = _dominates(a, b)
    return bool(run.known[key])


def _dominates(a: _Front, b: _Front) -> bool:
    """Whether each front of a's seeds dominates each of b's, in HaM's sense."""
    # No front dominates one that goes beyond it in an objective, which is sooner seen.
    if (a.highest.min(axis=0) < b.highest.max(axis=0)).any():
        return False
    return all(dominated_by(b.outermost, mine).all() for mine in a.edges)


def _regret_warnings(runs: Sequence[Run], entries: Sequence[Entry]) -> list[str]:
    """Why regrets are not to be held against each other; their differences are left out."""
    found = []
    if len(betas := betas_of(runs)) > 1:
        found.append(f"{said_of(betas)}; they can't be held against each other")
    asked: dict[frozenset[Preferences], list[str]] = {}
    for entry in entries:
        if entry.regrets:
            asked.setdefault(frozenset(entry.asked.values()), []).append(entry.name)
    if len(asked) > 1:
        told = "; ".join(f"{len(set().union(*key))} ({shown_names(names)})" for key, names in asked.items())
        found.append(
            f"mean regrets are over different preferences: {told}; they can't be held against each other"
        )
    return found


def _warnings(runs: Sequence[Run], entries: Sequence[Entry], corner: np.ndarray) -> list[str]:
    """Why the numbers may not mean what they seem to."""
    found = []
    scales = {scale for run in runs for scale in run.points["scale"]}
    if len(scales) > 1:
        found.append(f"scales differ: {', '.join(sorted(scales))}")
    named = [(each.name, each.record) for run in runs for each in (run.members or (run,))]
    if len(named) > 1:
        found += [*differing(named), *unsaid(named)]
    together = np.concatenate([values for entry in entries for values in entry.front.values()])
    alike = np.ptp(together, axis=0) == 0
    flat = alike & (together[0] == corner)
    if alike.any():
        names = ", ".join(np.array(objectives_of(runs[0].points))[alike])
        what = "all hypervolumes are 0" if flat.any() else "hypervolumes tell them apart by the others alone"
        found.append(f"all points have the same {names}, so {what}")
    for entry in entries:
        below = sum(int((~((values > corner) | flat).all(axis=1)).sum()) for values in entry.front.values())
        if below:
            found.append(f"{entry.name}: {below} points aren't above the reference point and count nothing")
        seeds = len(entry.volumes)
        if entry.pairs is not None and entry.pairs < seeds:
            found.append(
                f"{entry.name}: {entry.pairs} of its {seeds} seeds are paired; the baseline lacks the others"
            )
    return found
