"""What a study of one seed or two can say: its claims' intervals over prompts and pairs, not over trainings.

Prompts, and with them all responses to each, and held-out pairs are drawn with replacement, the same ones for every
policy (a paired bootstrap); points, measures and claims are worked out anew from each draw. Such an interval holds the
noise of what was asked, not that of training once more. Student's interval of two seeds is 18 of their standard
deviations wide, and says nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import cast

import numpy as np
import pandas as pd

from lightning_moa.reporting.claim_rows import relation_of
from lightning_moa.reporting.claims import EACH, Row
from lightning_moa.reporting.verdicts import LEVEL, Estimate, verdict
from lightning_moa.study.collect import Collected
from lightning_moa.study.results import Artefact, Tables
from lightning_moa.task_files import RULES, SCORES

COLUMNS = (
    *("claim", "where", "whose", "statistic", "draws"),
    *("value", "ci_low", "ci_high", "bound", "margin", "verdict"),
)
ENOUGH = 3
"""Seeds that speak for themselves."""
Place = tuple[str, str, int]
JudgeClaims = Callable[[Collected, Tables], Sequence[Row]]


def over_prompts(artefact: Artefact, collected: Collected, judge_claims: JudgeClaims) -> pd.DataFrame | None:
    """A row for each claim that rests on fewer seeds than `ENOUGH`, with an interval over prompts and pairs.

    Args:
        artefact: makes the tables of what was drawn; its configuration says how often, by `evaluation.draws`.
        collected: the study's rows.
        judge_claims: a script's claims of rows and their tables.

    Returns:
        Columns COLUMNS; `ci_low` to `ci_high` holds 95% of the draws, and `verdict` is what that says. `draws` counts
        those that have the claim, for some are asked only where there is something to ask; a claim that no draw has is
        left out. None where there are seeds enough, or no draws.
    """
    return over_prompts_of_all([(artefact, collected)], lambda drawn: judge_claims(*drawn[0]))


def over_prompts_of_all(
    studies: Sequence[tuple[Artefact, Collected]],
    judge_claims: Callable[[list[tuple[Collected, Tables]]], Sequence[Row]],
) -> pd.DataFrame | None:
    """The same for claims that rest on several studies together. Each study is drawn from a generator of its own with
    one seed for all, so that studies of the same prompts and pairs are drawn alike."""
    draws = min(artefact.config.evaluation.draws for artefact, _ in studies)
    if not draws or any(collected.points["seed"].nunique() >= ENOUGH for _, collected in studies):
        return None

    def judged(drawn: Iterable[Collected]) -> dict[Place, Row]:
        each = zip(studies, drawn, strict=True)
        return by_place(judge_claims([(rows, artefact.tables(rows)) for (artefact, _), rows in each]))

    said = judged(collected for _, collected in studies)
    redraws = [(Redraws(collected), np.random.default_rng(0)) for _, collected in studies]
    again = [judged(each.draw(random) for each, random in redraws) for _ in range(draws)]
    rows = []
    for place, row in said.items():
        values = np.array([_again(row, drawn[place]) for drawn in again if place in drawn])
        if not (1 <= int(str(row["seeds"])) < ENOUGH and len(values)):
            continue
        low, high = np.quantile(values, [LEVEL / 2, 1 - LEVEL / 2])
        rows.append(
            {**row, "draws": len(values), "ci_low": low, "ci_high": high, "verdict": _verdict(row, low, high)}
        )
    return pd.DataFrame(rows, columns=list(COLUMNS))


def by_place(rows: Iterable[Row]) -> dict[Place, Row]:
    """Rows by what tells them apart: the claim, where the paper has it, and which of those of both alike it is."""
    found: dict[Place, Row] = {}
    alike: Counter[tuple[str, str]] = Counter()
    for row in rows:
        key = (str(row["claim"]), str(row["where"]))
        found[*key, alike[key]] = row
        alike[key] += 1
    return found


def _again(row: Row, drawn: Row) -> float:
    """A row's value in a draw: of several comparisons that of the very same, though another speaks against it there."""
    each = cast(Mapping[str, float], drawn.get(EACH, {}))
    return float(each.get(str(row["statistic"]), cast(float, drawn["value"])))


def together(found: Iterable[pd.DataFrame | None]) -> pd.DataFrame | None:
    """The rows of an artefact's parts; None where no part has any."""
    known = [each for each in found if each is not None]
    return pd.concat(known, ignore_index=True) if known else None


def _verdict(row: Row, low: float, high: float) -> str:
    value, bound, margin = (float(str(row[name])) for name in ("value", "bound", "margin"))
    # Two, since the interval is there; draws are no seeds, and no p is made of them.
    return verdict(Estimate(value, low, high, 2), relation_of(str(row["statistic"])), bound, margin)


class Redraws:
    """The rows of a study with prompts and pairs drawn with replacement, as many as there were, again and again. A
    prompt that was drawn twice is two prompts of the same responses."""

    def __init__(self, collected: Collected) -> None:
        names, responses = list(collected.objectives), collected.responses
        scored = [name for name in map(str, responses) if name.startswith(SCORES) or name in RULES]
        told = responses.assign(kl=responses["log_ratio"])
        self.collected = collected
        prompts, place = np.unique(responses["prompt_index"].to_numpy(), return_inverse=True)
        self.points = _Means(collected.points, told, place, [*scored, "kl"], names)
        self.rows_of = [np.flatnonzero(place == i) for i in range(len(prompts))]
        self.accuracies = None
        if len(collected.ranked):
            self.pairs, place = np.unique(collected.ranked["pair"].to_numpy(), return_inverse=True)
            own = [f"accuracy_{name}" for name in names]
            self.accuracies = _Means(collected.accuracies, collected.ranked, place, own, names)

    def draw(self, random: np.random.Generator) -> Collected:
        """Its generator is advanced."""
        times = _times(len(self.rows_of), random)
        drawn = [self.rows_of[i] for i in np.repeat(np.arange(len(times)), times)]
        responses = self.collected.responses.take(np.concatenate(drawn)).reset_index(drop=True)
        responses["prompt_index"] = np.repeat(np.arange(len(drawn)), [len(rows) for rows in drawn])
        again = replace(self.collected, points=self.points.drawn(times), responses=responses)
        if self.accuracies is None:
            return again
        return replace(again, accuracies=self.accuracies.drawn(_times(len(self.pairs), random)))


def _times(units: int, random: np.random.Generator) -> np.ndarray:
    """(units,) how often each is drawn."""
    return random.multinomial(units, np.full(units, 1 / units))


class _Means:
    """A table of means by policy, seed, step and preference, worked out anew of the rows whose units were drawn, as
    often as they were."""

    def __init__(
        self,
        means: pd.DataFrame,
        each: pd.DataFrame,
        place: np.ndarray,
        columns: list[str],
        objectives: list[str],
    ) -> None:
        """`place`: (rows of `each`,) which unit; `columns`: those of `means` that get new values."""
        keys = ["method", "seed", "policy", "step", *(f"lambda_{name}" for name in objectives)]
        self.means, self.place, self.columns = means, place, columns
        self.values = each[columns].reset_index(drop=True)
        self.known = self.values.notna()
        self.group = each.groupby(keys, dropna=False, sort=False).ngroup().to_numpy()
        groups = each[keys].assign(group=self.group).drop_duplicates("group")
        self.of_means = means[keys].merge(groups, on=keys, how="left", validate="one_to_one")["group"]

    def drawn(self, times: np.ndarray) -> pd.DataFrame:
        weight = times[self.place].astype(np.float64)
        totals, counts = (
            frame.mul(weight, axis=0).groupby(self.group).sum() for frame in (self.values, self.known)
        )
        found = (totals / counts).reindex(self.of_means).set_index(self.means.index)
        return self.means.assign(**{name: found[name] for name in self.columns if name in self.means})
