"""Where methods that know no preference end, in units that make objectives comparable. Light: no torch."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lightning_moa.figures.margins import spans
from lightning_moa.reporting.statistics import PerSeed
from lightning_moa.study.collect import Collected
from lightning_moa.study.planning import REFERENCE


def units(collected: Collected) -> dict[int, np.ndarray]:
    """seed -> (m,) what one unit of each objective's gain is, in its reward.

    Where the best policies are known, the range of the objective's gold reward over the best policies for one
    objective each. Elsewhere the standard deviation of its reward over the reference policy's responses; 1 where these
    don't differ.
    """
    columns = [f"{collected.space}_{name}" for name in collected.objectives]
    reference = collected.responses[collected.responses["method"] == REFERENCE]
    seeds = sorted({int(seed) for seed in reference["seed"]})
    if collected.exact is not None:
        return dict.fromkeys(seeds, spans(collected.exact, reference, collected.space, collected.objectives))
    found = {}
    for seed in seeds:
        deviation = reference[reference["seed"] == seed][columns].to_numpy().std(axis=0)
        found[seed] = np.where(deviation > 0, deviation, 1.0)
    return found


def gains(collected: Collected) -> pd.DataFrame:
    """What each method that knows no preference has gained over the reference policy of its seed, at its last step.

    Returns:
        `method`, `seed`, `<space>_<objective>`, `kl` in nats per response, `gain_<objective>` in `units`, and of these
        gains `least_gain`, `mean_gain` and `spread`, the largest less the smallest.
    """
    points, names = collected.points, collected.objectives
    columns = [f"{collected.space}_{name}" for name in names]
    alone = points[points[[f"lambda_{name}" for name in names]].isna().all(axis=1)]
    last = alone[alone["step"] == alone.groupby(["method", "seed", "policy"])["step"].transform("max")]
    start = last[last["method"] == REFERENCE].set_index("seed")[columns]
    ends = last[last["method"] != REFERENCE][["method", "seed", *columns, "kl"]].reset_index(drop=True)
    unit = units(collected)
    scale = np.stack([unit[int(seed)] for seed in ends["seed"]])
    gained = (ends[columns].to_numpy() - start.loc[ends["seed"]].to_numpy()) / scale
    for i, name in enumerate(names):
        ends[f"gain_{name}"] = gained[:, i]
    return ends.assign(
        least_gain=gained.min(axis=1), mean_gain=gained.mean(axis=1), spread=np.ptp(gained, axis=1)
    )


def column(frame: pd.DataFrame, method: str, name: str) -> PerSeed:
    """One column of a method's rows, by seed."""
    rows = frame[frame["method"] == method]
    return {int(seed): float(value) for seed, value in zip(rows["seed"], rows[name], strict=True)}


def distance(frame: pd.DataFrame, method: str, other: str) -> PerSeed:
    """How far apart two methods of a `gains` table end: ||gain - gain of other||, by seed. Differences between single
    runs that nothing but their noise sets apart add to it, too: it is never below 0."""
    columns = [name for name in frame.columns if name.startswith("gain_")]
    mine, theirs = (
        frame[frame["method"] == name].set_index("seed")[columns].sort_index() for name in (method, other)
    )
    apart = np.linalg.norm(mine.to_numpy() - theirs.loc[mine.index].to_numpy(), axis=1)
    return {int(seed): float(value) for seed, value in zip(mine.index, apart, strict=True)}
