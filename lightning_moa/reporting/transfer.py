"""Whether results of two scales say the same: claim by claim, and in the order of the methods. From tables alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from lightning_moa.reporting.schema import CLAIMS, METRICS
from lightning_moa.reporting.verdicts import FAILS, HOLDS, IS_LEVEL

AGREE, DISAGREE, UNKNOWN = "agree", "disagree", "unknown"
OVER_PROMPTS = "over_prompts.csv"
COMPARED = ("gold", "judge", "reward")
"""Spaces of rewards, the first that a scale has: true rewards in a world, a judge's where there are none."""


def pairs_of(results: Path, small: str, other: str) -> Iterator[tuple[str, str, Path, Path]]:
    """(paper, artefact, folder of the small scale, folder of the other) of each artefact that has both; the other's
    name may go on with that of its data, `laptop-helpsteer2`."""
    for folder in sorted(path for path in results.glob("*/*") if path.is_dir()):
        mine = folder / small
        for theirs in sorted(folder.iterdir()):
            named = theirs.name == other or theirs.name.startswith(f"{other}-")
            if named and theirs.is_dir() and mine.is_dir():
                yield folder.parent.name, folder.name, mine, theirs


def claims_of(folder: Path) -> pd.DataFrame:
    """claim, statistic, value, ci_low, ci_high, verdict and `over`: seeds; or prompts, where there is but one seed."""
    file = folder / CLAIMS.file
    if not file.is_file():
        return pd.DataFrame(columns=["claim", "statistic", "value", "ci_low", "ci_high", "verdict", "over"])
    claims = CLAIMS.read(file).assign(over="seeds")
    if (folder / OVER_PROMPTS).is_file():
        drawn = pd.read_csv(folder / OVER_PROMPTS).assign(over="prompts")
        claims = pd.concat([claims[~claims["claim"].isin(drawn["claim"])], drawn], ignore_index=True)
    return claims[["claim", "statistic", "value", "ci_low", "ci_high", "verdict", "over"]]


def compared_claims(mine: pd.DataFrame, theirs: pd.DataFrame) -> pd.DataFrame:
    """Claims that both have, under the same words: a row each, `small_*` and `other_*`, and `together`: agree where
    both hold, both fail or both are level, disagree where one holds and the other fails, unknown elsewhere: what is
    level with its bound may yet hold or fail, by less than the margin."""
    left = mine.add_prefix("small_").rename(columns={"small_claim": "claim"})
    right = theirs.add_prefix("other_").rename(columns={"other_claim": "claim"})
    both = left.merge(right, on="claim")
    verdicts = both[["small_verdict", "other_verdict"]]
    same = (both["small_verdict"] == both["other_verdict"]) & verdicts.isin([HOLDS, IS_LEVEL, FAILS]).all(
        axis=1
    )
    opposite = (both["small_verdict"] != both["other_verdict"]) & verdicts.isin([HOLDS, FAILS]).all(axis=1)
    return both.assign(together=np.select([same, opposite], [AGREE, DISAGREE], UNKNOWN))


def per_seed(folder: Path) -> dict[int, pd.Series]:
    """seed -> hypervolume by method, in the first of COMPARED that the scale has; empty without a metrics.csv."""
    file = folder / METRICS.file
    if not file.is_file():
        return {}
    metrics = METRICS.read(file)
    space = next((name for name in COMPARED if (metrics["space"] == name).any()), None)
    rows = metrics[metrics["space"] == space]
    each = [mine.set_index("method") for _, mine in rows.groupby("seed")]
    return {int(mine["seed"].iloc[0]): mine["hypervolume"] for mine in each}


def order(mine: Mapping[int, pd.Series], theirs: Mapping[int, pd.Series]) -> dict[str, object] | None:
    """Kendall's tau-b between the hypervolumes of the methods that both scales have, of the means over seeds; and, as
    `lowest` and `highest`, among all pairs of a seed of the one and a seed of the other, which is no interval of
    confidence: two or three seeds give none. None where fewer than three methods are in both."""
    from scipy.stats import kendalltau

    if not mine or not theirs:
        return None
    means = [pd.concat(list(each.values()), axis=1).mean(axis=1) for each in (mine, theirs)]
    methods = sorted(set(means[0].index) & set(means[1].index))
    if len(methods) < 3:
        return None
    taus = [
        float(kendalltau(a.reindex(methods), b.reindex(methods)).statistic)
        for a, b in product(mine.values(), theirs.values())
    ]
    whole = float(kendalltau(means[0][methods], means[1][methods]).statistic)
    counts = {"methods": len(methods), "small_seeds": len(mine), "other_seeds": len(theirs)}
    return {**counts, "tau": whole, "lowest": min(taus), "highest": max(taus)}
