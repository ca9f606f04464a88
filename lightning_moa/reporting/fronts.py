"""Taking fronts out of frames of points or accuracies."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from lightning_moa.errors import UserError


def objectives_of(frame: pd.DataFrame) -> tuple[str, ...]:
    """The objectives, in the order of the `lambda_*` columns."""
    return tuple(str(c).removeprefix("lambda_") for c in frame.columns if str(c).startswith("lambda_"))


def values_of(frame: pd.DataFrame, space: str) -> np.ndarray:
    """(n, m) values of the rows in a space (`gold`, `reward` or `accuracy`), higher is better."""
    return frame[[f"{space}_{objective}" for objective in objectives_of(frame)]].to_numpy(np.float64)


def preferences_of(frame: pd.DataFrame) -> np.ndarray:
    """(n, m) preferences of the rows, NaN where a method knows none."""
    return frame[[f"lambda_{objective}" for objective in objectives_of(frame)]].to_numpy(np.float64)


def rows_in(frame: pd.DataFrame, space: str) -> pd.DataFrame:
    """The rows that have values in a space; none if the frame has no such columns."""
    if f"{space}_{objectives_of(frame)[0]}" not in frame.columns:
        return frame[:0]
    return frame[np.isfinite(values_of(frame, space)).all(axis=1)]


def mean_regret_of(regret: np.ndarray, kl: np.ndarray) -> float:
    """The mean of the regrets (n,) that are known. NaN where a policy's KL (n,) is no number, since its own is then not
    known either and the others' mean would flatter its method."""
    return np.nan if np.isnan(kl).any() else float(pd.Series(regret).mean())


def final_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """Each policy's rows of its own last step: what a front is made of where training was followed over steps."""
    keys = [name for name in ("paper", "artefact", "scale") if name in frame] + ["method", "seed", "policy"]
    keys += [f"lambda_{objective}" for objective in objectives_of(frame)]
    last = frame.groupby(keys, dropna=False, sort=False)["step"].transform("max")
    return frame[frame["step"] == last]


def method_rows(frame: pd.DataFrame, method: str, space: str) -> pd.DataFrame:
    """A method's final rows in a space; UserError if it has none."""
    rows = rows_in(final_rows(frame), space)
    mine = rows[rows["method"] == method]
    if mine.empty:
        known = ", ".join(dict.fromkeys(rows["method"])) or "none"
        raise UserError(f"points: no method {method!r} with values in space {space!r}; there are {known}")
    return mine


def by_seed(rows: pd.DataFrame) -> Iterator[tuple[int, pd.DataFrame]]:
    """(seed, its rows), seeds ascending."""
    for seed, group in rows.groupby("seed", sort=True):
        yield int(str(seed)), group
