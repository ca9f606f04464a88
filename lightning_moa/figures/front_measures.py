"""How far each method's policies are from the best that exist, seed by seed, where these are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from lightning_moa.figures.tuning import utilities
from lightning_moa.pareto import hypervolume, igd_plus
from lightning_moa.study.collect import Collected
from lightning_moa.study.results import Tables


def front_measures(collected: Collected, tables: Tables) -> pd.DataFrame:
    """A row for each method and seed, the reference policy among them, whose best policies are known.

    Returns:
        `method`, `seed`; `hypervolume_share`, the gold hypervolume over the exact front's, above the corner of
        `tables.metrics`, and `igd_plus` to that front. With three or more objectives the front is that of the grid's
        preferences alone, so that the share is an upper bound of that of the whole front. `expected_utility` and
        `maximum_utility_loss` as `utilities` has them; `mean_regret` and `worst_regret` over the preferences of the
        grid, NaN of a method that was not asked for all of them, since others' would be of other preferences; `kl`,
        nats a response.
    """
    assert collected.exact is not None
    gold = [f"gold_{name}" for name in collected.objectives]
    best = collected.exact.front[gold].to_numpy()
    references = [f"reference_{name}" for name in collected.objectives]
    corner: np.ndarray = tables.metrics.loc[tables.metrics["space"] == "gold", references].to_numpy()[0]
    most = hypervolume(best, corner)
    rows: list[dict[str, Any]] = []
    for _, mine in tables.points.assign(regret=tables.regret).groupby(["method", "seed"], sort=False):
        method, seed = str(mine["method"].iloc[0]), int(mine["seed"].iloc[0])
        values = mine[gold].to_numpy()
        utility, loss = utilities(collected, method, seed)
        regret = mine["regret"] if asked_for_all(collected, mine) else pd.Series([np.nan])
        rows.append(
            {
                "method": method,
                "seed": seed,
                "hypervolume_share": hypervolume(values, corner) / most,
                "expected_utility": utility,
                "maximum_utility_loss": loss,
                "mean_regret": regret.mean(skipna=False),
                "worst_regret": regret.max(skipna=False),
                "igd_plus": igd_plus(values, best),
                "kl": mine["kl"].mean(),
            }
        )
    return pd.DataFrame(rows)


def asked_for_all(collected: Collected, mine: pd.DataFrame) -> bool:
    """Whether the points of a method and seed are those of all preferences of the grid, each once."""
    assert collected.exact is not None
    weights = [f"lambda_{name}" for name in collected.objectives]
    one, other = (
        sorted(frame[weights].round(9).to_numpy().tolist()) for frame in (mine, collected.exact.grid)
    )
    return one == other
