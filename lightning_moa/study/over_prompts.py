"""What a study of one seed or two can say: its claims' intervals over prompts and pairs, not over trainings.

Prompts, and with them all responses to each, and held-out pairs are drawn with replacement, the same ones for every
policy (a paired bootstrap); points, measures and claims are worked out anew from each draw. Such an interval holds the
noise of what was asked, not that of training once more. Student's interval of two seeds is 18 of their standard
deviations wide, and says nothing.
"""

from __future__ import annotations

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
JudgeClaims = Callable[[Collected, Tables], Sequence[Row]]


def over_prompts(artefact: Artefact, collected: Collected, judge_claims: JudgeClaims) -> pd.DataFrame | None:
    """A row for each claim that rests on fewer seeds than `ENOUGH`, with an interval over prompts and pairs.

    Args:
        artefact: makes the tables of what was drawn; its configuration says how often, by `evaluation.draws`.
        collected: the study's rows.
        judge_claims: a script's claims of rows and their tables.

    Returns:
        Columns COLUMNS; `ci_low` to `ci_high` holds 95% of the draws, and `verdict` is what that says. None where there
        are seeds enough, or no draws.
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

    def judged(drawn: Iterable[Collected]) -> list[Row]:
        each = zip(studies, drawn, strict=True)
        return list(judge_claims([(rows, artefact.tables(rows)) for (artefact, _), rows in each]))

    said = judged(collected for _, collected in studies)
    randoms = [np.random.default_rng(0) for _ in studies]
    again = [
        judged(drawn_from(collected, random) for (_, collected), random in zip(studies, randoms, strict=True))
        for _ in range(draws)
    ]
    rows = []
    for place, row in enumerate(said):
        if not 1 <= int(str(row["seeds"])) < ENOUGH:
            continue
        values = np.array([_again(row, drawn[place]) for drawn in again])
        low, high = np.quantile(values, [LEVEL / 2, 1 - LEVEL / 2])
        rows.append(
            {**row, "draws": draws, "ci_low": low, "ci_high": high, "verdict": _verdict(row, low, high)}
        )
    return pd.DataFrame(rows, columns=list(COLUMNS))


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


def drawn_from(collected: Collected, random: np.random.Generator) -> Collected:
    """The rows with prompts and pairs drawn with replacement, as many as there were. A prompt that was drawn twice is
    two prompts of the same responses."""
    names, responses = list(collected.objectives), collected.responses
    times = _times(responses["prompt_index"], random)
    points = _redrawn(
        collected.points,
        responses.assign(kl=responses["log_ratio"]),
        times,
        [*_scored(responses), "kl"],
        names,
    )
    drawn = pd.DataFrame({"prompt_index": times.index.repeat(times), "place": range(len(times))})
    again = drawn.merge(responses, on="prompt_index").assign(prompt_index=lambda rows: rows["place"])
    collected = replace(collected, points=points, responses=again[list(responses)])
    if not len(collected.ranked):
        return collected
    own = [f"accuracy_{name}" for name in names]
    pairs = _times(collected.ranked["pair"], random)
    return replace(collected, accuracies=_redrawn(collected.accuracies, collected.ranked, pairs, own, names))


def _scored(responses: pd.DataFrame) -> list[str]:
    return [name for name in map(str, responses) if name.startswith(SCORES) or name in RULES]


def _times(units: pd.Series, random: np.random.Generator) -> pd.Series:
    """How often each of a column's different values is drawn; under the column's name."""
    different = np.unique(units.to_numpy())
    drawn = random.multinomial(len(different), np.full(len(different), 1 / len(different)))
    return pd.Series(drawn, index=pd.Index(different, name=units.name))


def _redrawn(
    means: pd.DataFrame, each: pd.DataFrame, times: pd.Series, columns: list[str], objectives: list[str]
) -> pd.DataFrame:
    """`means` with new values in `columns`: those of rows of `each` whose unit was drawn, as often as it was."""
    keys = ["method", "seed", "policy", "step", *(f"lambda_{name}" for name in objectives)]
    weight = each[times.index.name].map(times).to_numpy(np.float64)
    known = each[columns].notna()
    summed = (each[columns].mul(weight, axis=0)).assign(**{key: each[key] for key in keys})
    counted = known.mul(weight, axis=0).assign(**{key: each[key] for key in keys})
    totals, counts = (
        frame.groupby(keys, dropna=False, sort=False)[columns].sum() for frame in (summed, counted)
    )
    drawn = (totals / counts).reset_index()
    kept = means.drop(columns=columns).merge(drawn, on=keys, how="left", validate="one_to_one")
    return kept[list(means)]
