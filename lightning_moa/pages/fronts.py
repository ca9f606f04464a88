"""The points that a browser draws: numbers of JSON, with the look that methods have in every figure."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from lightning_moa.reporting.exact_front import beta_of
from lightning_moa.reporting.fronts import objectives_of, preferences_of, rows_in, values_of
from lightning_moa.reporting.loaded import Run
from lightning_moa.reporting.schema import SPACES
from lightning_moa.reporting.styles import styles_of

SYMBOLS = {
    **{"o": "circle", "s": "square", "D": "diamond", "d": "diamond-tall", "^": "triangle-up"},
    **{"v": "triangle-down", "<": "triangle-left", ">": "triangle-right", "P": "cross", "X": "x"},
    **{"+": "cross-thin-open", "x": "x-thin-open", "*": "star", "p": "pentagon", "h": "hexagon"},
}
"""matplotlib's marker to plotly's."""
MOST = 20_000
"""Points of a space that a page holds."""
DIGITS = 6


def front_data(run: Run, exact: pd.DataFrame | None = None) -> dict[str, Any]:
    """What the plots of a run's fronts are drawn from.

    Args:
        run: its points.
        exact: exact_front.csv beside them: `lambda_*`, `gold_*`, and for regret `kl` and `value`.

    Returns:
        `objectives`: names; `methods`: name, label, colour, symbol and seeds of each; `spaces`: space -> a list for
        each policy's last step: number of the method, seed, policy's name, preference (m,) or None, values (m,), KL,
        regret, step; None is unknown; `left_out`: rows beyond MOST; `exact`: (k, m) gold rewards of the exact front,
        with the preference (m,) of each, where it is known.
    """
    objectives = objectives_of(run.points)
    spaces = {space: run.rows(space) for space in SPACES if len(run.rows(space))}
    styles = styles_of(name for rows in spaces.values() for name in rows["method"])
    numbers = {name: number for number, name in enumerate(styles)}
    front = None if exact is None else rows_in(exact.reindex(columns=_exact_columns(objectives)), "gold")
    drawn = {}
    for space, rows in spaces.items():
        regret = regrets(rows, front) if space != "accuracy" else np.full(len(rows), np.nan)
        drawn[space] = _rows(rows[:MOST], space, numbers, regret)
    return {
        "objectives": list(objectives),
        "methods": [
            {
                "name": name,
                "label": style.label,
                "colour": style.colour,
                "symbol": SYMBOLS.get(style.marker, "circle"),
            }
            for name, style in styles.items()
        ],
        "spaces": drawn,
        "left_out": sum(max(len(rows) - MOST, 0) for rows in spaces.values()),
        "exact": [] if front is None else _exact(front),
    }


def regrets(points: pd.DataFrame, exact: pd.DataFrame | None) -> np.ndarray:
    """J*(lambda) - (lambda . gold - beta kl) of each row, in units of reward; 0 is best.

    beta is that of the exact front, whose best policies have J* = lambda . gold - beta kl. NaN where no best policy of
    the row's preference is known.

    Args:
        points: `lambda_*`, `gold_*` and `kl`.
        exact: the same and `value`, J*, of the best policies; of the same objectives.

    Returns:
        (n,)
    """
    unknown = np.full(len(points), np.nan)
    if exact is None or not len(exact) or not {"gold_" + objectives_of(points)[0], "kl"} <= {*points.columns}:
        return unknown
    beta = beta_of(exact)
    if beta is None:
        return unknown
    weights = preferences_of(exact)
    best = {tuple(row): value for row, value in zip(weights.round(9).tolist(), exact["value"], strict=True)}
    preferences = preferences_of(points)
    known = np.array([best.get(tuple(row), np.nan) for row in preferences.round(9).tolist()])
    value = (preferences * values_of(points, "gold")).sum(axis=1) - beta * points["kl"].to_numpy(np.float64)
    return np.asarray(known - value)


def _exact_columns(objectives: tuple[str, ...]) -> list[str]:
    return [*(f"{kind}{name}" for kind in ("lambda_", "gold_") for name in objectives), "kl", "value"]


def _exact(front: pd.DataFrame) -> list[list[list[float | None]]]:
    pairs = zip(values_of(front, "gold"), preferences_of(front), strict=True)
    return [[_numbers(values), _numbers(preference)] for values, preference in pairs]


def _rows(rows: pd.DataFrame, space: str, numbers: dict[str, int], regret: np.ndarray) -> list[list[Any]]:
    preferences, values = preferences_of(rows), values_of(rows, space)
    kl = rows["kl"].to_numpy(np.float64) if "kl" in rows.columns else np.full(len(rows), np.nan)
    return [
        [
            numbers[method],
            int(seed),
            policy,
            None if np.isnan(preferences[i]).any() else _numbers(preferences[i]),
            _numbers(values[i]),
            _number(kl[i]),
            _number(regret[i]),
            int(step),
        ]
        for i, (method, seed, policy, step) in enumerate(
            zip(rows["method"], rows["seed"], rows["policy"], rows["step"], strict=True)
        )
    ]


def _numbers(values: np.ndarray) -> list[float | None]:
    return [_number(value) for value in values]


def _number(value: float) -> float | None:
    return float(f"{value:.{DIGITS}g}") if np.isfinite(value) else None
