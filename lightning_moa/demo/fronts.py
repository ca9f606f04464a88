"""Where a method was measured: the points that a page draws, of which one moves with the preference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from lightning_moa.errors import UserError
from lightning_moa.inference.found import TrainedMethod
from lightning_moa.reporting.fronts import final_rows, preferences_of, values_of
from lightning_moa.reporting.schema import POINTS


def measured_front(study: TrainedMethod | None) -> dict[str, Any] | None:
    """The points of one method and seed at the end of its training.

    Returns:
        `space`: gold where it is known, else reward; `points`: (preference (m,), mean rewards (m,)) of each; `exact`:
        mean gold rewards (m,) of the best policies, where exact_front.csv has them. None: there are no points with a
        preference beside run.yaml.
    """
    if study is None or not (study.results / POINTS.file).is_file():
        return None
    points = POINTS.read(study.results / POINTS.file)
    mine = final_rows(points[(points["method"] == study.method) & (points["seed"] == study.seed)])
    for space in ("gold", "reward"):
        if not any(str(name).startswith(f"{space}_") for name in mine):
            continue
        preferences, values = preferences_of(mine), values_of(mine, space)
        whole = np.isfinite(preferences).all(axis=1) & np.isfinite(values).all(axis=1)
        if whole.any():
            pairs = zip(preferences[whole].tolist(), values[whole].tolist(), strict=True)
            exact = _exact(study, [f"gold_{name}" for name in _objectives(mine)]) if space == "gold" else []
            return {"space": space, "points": list(pairs), "exact": exact}
    return None


def _objectives(points: pd.DataFrame) -> list[str]:
    return [str(name).removeprefix("lambda_") for name in points if str(name).startswith("lambda_")]


def _exact(study: TrainedMethod, columns: list[str]) -> list[list[float]]:
    file = study.results / "exact_front.csv"
    if not file.is_file():
        return []
    try:
        found = pd.read_csv(file, usecols=columns).to_numpy(np.float64)
    except ValueError as error:
        raise UserError(f"{file}: not an exact front of these objectives, {error}") from error
    return found[np.isfinite(found).all(axis=1)].tolist()
