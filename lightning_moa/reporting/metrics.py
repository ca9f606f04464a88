"""From evaluated policies to measures of each method's front."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from lightning_moa import pareto
from lightning_moa.reporting.fronts import final_rows, objectives_of, preferences_of, rows_in, values_of
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
    * `igd` to the exact front, where there is one;
    * `coverage`: the share of the other methods' points of the same seed that this front equals or dominates;
    * `non_dominated`: how many of the method's points none of its own dominates;
    * `mean_regret`: mean over policies of J*(lambda) - J(policy, lambda), in the gold space, where known.

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
    tables = {"points": POINTS.check(points, "points")}
    known = reference_points(points, accuracies, fronts) | dict(references or {})
    tables["points"]["regret"] = np.nan if regret is None else np.asarray(regret, dtype=np.float64)
    if accuracies is not None:
        tables["accuracies"] = ACCURACIES.check(accuracies, "accuracies").assign(regret=np.nan)
    rows = []
    for space in SPACES:
        table = tables.get("accuracies" if space == "accuracy" else "points")
        found = None if table is None else rows_in(final_rows(table), space)
        if found is not None and len(found):
            rows += _space_rows(found, space, (fronts or {}).get(space), known[space])
    frame = pd.DataFrame(rows, columns=list(METRICS.names(objectives_of(points))))
    return METRICS.check(_with_costs(frame, costs), "metrics")


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


def _space_rows(
    rows: pd.DataFrame, space: str, front: ArrayLike | None, reference: ArrayLike
) -> list[dict[str, object]]:
    corner = dict(zip(objectives_of(rows), np.asarray(reference, dtype=np.float64), strict=True))
    measured = []
    for key, mine in rows.groupby(RUN, sort=False):
        values = values_of(mine, space)
        others = rows[(rows["seed"] == mine["seed"].iloc[0]) & (rows["method"] != mine["method"].iloc[0])]
        row: dict[str, object] = dict(zip(RUN, key, strict=True)) | {"space": space}
        row |= {f"reference_{objective}": value for objective, value in corner.items()}
        row |= {
            "hypervolume": pareto.hypervolume(values, list(corner.values())),
            "igd": np.nan if front is None else pareto.igd(values, front),
            "spacing": pareto.spacing(values),
            "sparsity": pareto.sparsity(values),
            "inner_product": _inner_product(preferences_of(mine), values),
            "coverage": pareto.coverage(values, values_of(others, space)),
            "non_dominated": int(pareto.is_non_dominated(values).sum()),
            "mean_regret": float(mine["regret"].mean()) if space == "gold" else np.nan,
        }
        measured.append(row)
    return measured


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
