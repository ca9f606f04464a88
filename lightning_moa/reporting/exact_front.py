"""exact_front.csv: the best policies of a world, and the weight of the KL that they are best under."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lightning_moa.errors import UserError
from lightning_moa.reporting.files import read_text
from lightning_moa.reporting.fronts import objectives_of, preferences_of, values_of

EXACT = "exact_front.csv"


def read_exact(file: Path) -> pd.DataFrame:
    """Its numbers.

    Raises:
        UserError: a file that can't be read, or a column with anything else.
    """
    try:
        return pd.read_csv(io.StringIO(read_text(file))).astype("float64")
    except ValueError as error:
        raise UserError(f"{file}: not a table of numbers ({' '.join(str(error).split())})") from error


def beta_of(exact: pd.DataFrame) -> float | None:
    """beta of J* = lambda . gold - beta kl, which `value` holds; None where it can't be told.

    Args:
        exact: `lambda_*`, `gold_*`, `kl` and `value`, a row for each preference.
    """
    names = objectives_of(exact)
    columns = [f"{kind}{name}" for kind in ("lambda_", "gold_") for name in names]
    whole = exact.reindex(columns=[*columns, "kl", "value"])
    kl = whole["kl"].to_numpy(np.float64)
    if not names or not np.isfinite(kl).any() or np.nanmax(kl) <= 0:
        return None
    farthest = int(np.nanargmax(kl))
    rewards = (preferences_of(whole) * values_of(whole, "gold")).sum(axis=1)
    beta = float((rewards - whole["value"].to_numpy(np.float64))[farthest] / kl[farthest])
    return beta if np.isfinite(beta) else None


def known_beta(record: Mapping[str, Any] | None, exact: pd.DataFrame | None) -> float | None:
    """The weight of the KL that a result's regrets are under: what its run.yaml says, or in older ones, which say
    nothing, that of the exact front beside it."""
    said = (record or {}).get("exact_beta")
    if isinstance(said, int | float) and np.isfinite(said):
        return float(said)
    beta = None if exact is None else beta_of(exact)
    # Such a quotient is off in its last digits.
    return None if beta is None else float(f"{beta:.9g}")
