"""From evaluated policies to measures of each method's front."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from lightning_moa import pareto
from lightning_moa.reporting.fronts import (
    final_rows,
    mean_regret_of,
    objectives_of,
    preferences_of,
    rows_in,
    values_of,
)
from lightning_moa.reporting.schema import ACCURACIES, METRICS, POINTS, SPACES

MARGIN = 0.1
"""How far below the lowest value of an objective its reference lies, as a share of the objective's range."""
COSTS = ("trained_models", "trained_parameters", "training_steps")
RUN = ["paper", "artefact", "scale", "method", "seed"]


def metrics_frame(
    points: pd.DataFrame,
    accuracies: pd.DataFrame | None = None,
    *,
    fronts: Mapping[str, ArrayLike] | None = None,
    regret: ArrayLike | None = None,
    costs: pd.DataFrame | None = None,
    references: Mapping[str, ArrayLike] | None = None,
) -> pd.DataFrame:
    """The METRICS table of a POINTS table: a row for each method, seed and space in which it has values.

    Each policy counts with its last step. Measures, all in the space's own units:

    * `hypervolume` above `reference_*`, one point for all methods and seeds of a space (see `reference_points`), so
      that the rows can be compared; spacing, sparsity, inner product over all of the method's points (see
      `lightning_moa.pareto`), the inner product empty where a method knows no preference;
    * `igd` to the exact front, where there is one: with three or more objectives, to the grid's preferences on it;
    * `coverage`: the share of the other methods' points of the same seed that this front equals or dominates;
    * `non_dominated`: how many of the method's points none of its own dominates;
    * `mean_regret`: mean over policies of J*(lambda) - J(policy, lambda), in the gold space, where known;
      empty where a policy's KL is no number.

    Args:
        points: a POINTS table.
        accuracies: an ACCURACIES table of the same objectives.
        fronts: space -> (k, m) samples of the exact front.
        regret: (n,) regret of each row of `points`, NaN where unknown.
        costs: columns `method`, `seed` and any of COSTS.
        references: space -> (m,) reference point; a space not named gets that of `reference_points`.

    Raises:
        UserError: tables that don't keep to the schema.
    """
    places = {"": references}
    return metrics_frames(points, accuracies, fronts=fronts, regret=regret, costs=costs, places=places)[""]


def metrics_frames(
    points: pd.DataFrame,
    accuracies: pd.DataFrame | None = None,
    *,
    places: Mapping[str, Mapping[str, ArrayLike] | None],
    fronts: Mapping[str, ArrayLike] | None = None,
    regret: ArrayLike | None = None,
    costs: pd.DataFrame | None = None,
) -> dict[str, pd.DataFrame]:
    """The same table for several reference points: name -> table, where `places` has name -> `references`."""
    tables = {"points": POINTS.check(points, "points")}
    by_rule = reference_points(points, accuracies, fronts)
    tables["points"]["regret"] = np.nan if regret is None else np.asarray(regret, dtype=np.float64)
    if accuracies is not None:
        tables["accuracies"] = ACCURACIES.check(accuracies, "accuracies").assign(regret=np.nan, kl=np.nan)
    final = {name: final_rows(table) for name, table in tables.items()}
    measured = []
    for space in SPACES:
        table = final.get("accuracies" if space == "accuracy" else "points")
        if table is not None and len(found := rows_in(table, space)):
            measured += _measured(found, space, (fronts or {}).get(space))
    columns = list(METRICS.names(objectives_of(points)))
    frames = {}
    for name, references in places.items():
        known = by_rule | dict(references or {})
        frame = pd.DataFrame([front.row(known[front.space]) for front in measured], columns=columns)
        frames[name] = METRICS.check(_with_costs(frame, costs), "metrics")
    return frames


def reference_points(
    points: pd.DataFrame,
    accuracies: pd.DataFrame | None = None,
    fronts: Mapping[str, ArrayLike] | None = None,
    margin: float = MARGIN,
) -> dict[str, np.ndarray]:
    """Hypervolume's corner in each space, by one rule for all figures that leaves none of the points outside.

    Of each objective the lowest value of all points, of every method, seed and step and of the exact front, minus
    `margin` times the range that they span (`pareto.default_reference`).

    Args:
        points: a POINTS table.
        accuracies: an ACCURACIES table.
        fronts: space -> (k, m) samples of the exact front.
        margin: share of the range.

    Returns:
        space -> (m,), for the spaces that have values.
    """
    found = {}
    for space in SPACES:
        table = accuracies if space == "accuracy" else points
        rows = points[:0] if table is None or not len(table) else rows_in(table, space)
        if len(rows):
            values = values_of(rows, space)
            more = [np.asarray(fronts[space])] if fronts and space in fronts else []
            found[space] = pareto.default_reference(np.concatenate([values, *more]), margin)
    return found


@dataclass(frozen=True)
class _Front:
    """One method's points of one seed in one space, and what is measured of them whatever the reference point."""

    space: str
    objectives: tuple[str, ...]
    values: np.ndarray
    """(n, m)."""
    measures: Mapping[str, object]

    def row(self, reference: ArrayLike) -> dict[str, object]:
        """Its row of METRICS, above a reference point (m,)."""
        corner = np.asarray(reference, dtype=np.float64).tolist()
        named = {f"reference_{name}": value for name, value in zip(self.objectives, corner, strict=True)}
        return {**self.measures, **named, "hypervolume": pareto.hypervolume(self.values, corner)}


def _measured(rows: pd.DataFrame, space: str, front: ArrayLike | None) -> list[_Front]:
    values, preferences, names = values_of(rows, space), preferences_of(rows), objectives_of(rows)
    seeds, methods, regret, kl = (rows[name].to_numpy() for name in ("seed", "method", "regret", "kl"))
    keys = rows[RUN].to_numpy()
    group = rows.groupby(RUN, sort=False).ngroup().to_numpy()
    found = []
    for number in range(group.max() + 1):
        at = group == number
        first = int(at.argmax())
        # Column by column, as frames have them: sums of another order differ in their last digit.
        mine, others = (
            np.asfortranarray(values[at]),
            values[(seeds == seeds[first]) & (methods != methods[first])],
        )
        measures: dict[str, object] = dict(zip(RUN, keys[first], strict=True)) | {
            "space": space,
            "igd": np.nan if front is None else pareto.igd(mine, front),
            "spacing": pareto.spacing(mine),
            "sparsity": pareto.sparsity(mine),
            "inner_product": _inner_product(preferences[at], mine),
            "coverage": pareto.coverage(mine, others),
            "non_dominated": int(pareto.is_non_dominated(mine).sum()),
            "mean_regret": mean_regret_of(regret[at], kl[at]) if space == "gold" else np.nan,
        }
        found.append(_Front(space, names, mine, measures))
    return found


def _inner_product(preferences: np.ndarray, values: np.ndarray) -> float:
    return np.nan if np.isnan(preferences).any() else pareto.inner_product(preferences, values)


def _with_costs(frame: pd.DataFrame, costs: pd.DataFrame | None) -> pd.DataFrame:
    if costs is None:
        return frame
    known = [name for name in COSTS if name in costs.columns]
    kept = frame.drop(columns=known)
    return kept.merge(
        costs[["method", "seed", *known]], on=["method", "seed"], how="left", validate="many_to_one"
    )
