"""Whether results of two scales say the same: claim by claim, and in the order of the methods. From tables alone."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
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
    """claim, statistic, value, ci_low, ci_high, verdict and `over`: seeds, or prompts where there are few."""
    file = folder / CLAIMS.file
    if not file.is_file():
        return pd.DataFrame(columns=["claim", "statistic", "value", "ci_low", "ci_high", "verdict", "over"])
    claims = CLAIMS.read(file).assign(over="seeds")
    if (folder / OVER_PROMPTS).is_file():
        drawn = pd.read_csv(folder / OVER_PROMPTS).assign(over="prompts")
        claims = pd.concat([claims[~claims["claim"].isin(drawn["claim"])], drawn], ignore_index=True)
    return claims[["claim", "statistic", "value", "ci_low", "ci_high", "verdict", "over"]]


@dataclass(frozen=True)
class Roles:
    """What the names of one scale stand for: another has other objectives and other prompts, in the same order."""

    of: dict[str, str]
    """`objective 1` by the name of the first objective, `part 1` by that of the first set of prompts or panel."""

    @classmethod
    def among(cls, folder: Path, claims: pd.DataFrame, parts: bool) -> Roles:
        """Those of a scale's folder; of its parts, too, where `parts`."""
        places = parts_of(folder, claims)
        of = {
            name: f"objective {i}"
            for place in places.values()
            if (place / METRICS.file).is_file()
            for i, name in enumerate(METRICS.objectives([*METRICS.read(place / METRICS.file)], str(place)), 1)
        }
        return cls(of | ({name: f"part {i}" for i, name in enumerate(places, 1)} if parts else {}))

    def __call__(self, text: str) -> str:
        """The text with each name replaced by what it stands for."""
        names = "|".join(re.escape(name) for name in sorted(self.of, key=len, reverse=True) if name)
        if not names:
            return text
        return re.sub(rf"(?<![^\W_])({names})(?![^\W_])", lambda found: self.of[found[0]], text)


def parts_of(folder: Path, claims: pd.DataFrame) -> dict[str, Path]:
    """name -> folder of what was measured: of each part, those first that the claims name first; `""` where there are
    none."""
    said = "\n".join(claims["claim"])
    places = sorted(path.parent for path in folder.glob(f"*/{METRICS.file}"))
    named = sorted(places, key=lambda path: said.find(path.name) % (len(said) + 1))
    return {path.name: path for path in named} or {"": folder}


def side_by_side(mine: Path, theirs: Path) -> tuple[pd.DataFrame, list[dict[str, object]]]:
    """An artefact's claims at two scales, and the orders of its methods, part by part: parts of the same name belong
    together, and where the other scale has names of its own, those at the same place."""
    small, other = claims_of(mine), claims_of(theirs)
    here, there = parts_of(mine, small), parts_of(theirs, other)
    own_names = not set(there) <= set(here)
    roles = [Roles.among(mine, small, own_names), Roles.among(theirs, other, own_names)]
    pairs = zip(here, there, strict=False) if own_names else ((name, name) for name in there)
    orders = []
    for ours, names in pairs:
        found = order(per_seed(here[ours], roles[0]), per_seed(there[names], roles[1]))
        orders += [] if found is None else [{"of_part": ours, "other_part": names, **found}]
    return compared_claims(small, other, *roles), orders


def compared_claims(
    mine: pd.DataFrame, theirs: pd.DataFrame, my_roles: Roles | None = None, their_roles: Roles | None = None
) -> pd.DataFrame:
    """Claims that both have, under the same words but for names that stand for the same (see `Roles`): a row each,
    `small_*` and `other_*`, and `together`: agree where both hold, both fail or both are level, disagree where one
    holds and the other fails, unknown elsewhere: what is level with its bound may yet hold or fail, by less than the
    margin."""
    asked = "claim_in_roles"
    left = mine.add_prefix("small_").assign(**{asked: mine["claim"].map(my_roles or Roles({}))})
    right = theirs.add_prefix("other_").assign(**{asked: theirs["claim"].map(their_roles or Roles({}))})
    both = left.merge(right, on=asked).drop(columns=asked).rename(columns={"small_claim": "claim"})
    verdicts = both[["small_verdict", "other_verdict"]]
    same = (both["small_verdict"] == both["other_verdict"]) & verdicts.isin([HOLDS, IS_LEVEL, FAILS]).all(
        axis=1
    )
    opposite = (both["small_verdict"] != both["other_verdict"]) & verdicts.isin([HOLDS, FAILS]).all(axis=1)
    return both.assign(together=np.select([same, opposite], [AGREE, DISAGREE], UNKNOWN))


def per_seed(folder: Path, roles: Roles) -> dict[int, pd.Series]:
    """seed -> hypervolume by method, named by its role, in the first of COMPARED that the scale has; empty without a
    metrics.csv."""
    file = folder / METRICS.file
    if not file.is_file():
        return {}
    metrics = METRICS.read(file)
    space = next((name for name in COMPARED if (metrics["space"] == name).any()), None)
    rows = metrics[metrics["space"] == space].assign(method=lambda found: found["method"].map(str).map(roles))
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
