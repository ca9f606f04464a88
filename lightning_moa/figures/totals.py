"""One policy for all preferences against several for one each, at equal terms: as many updates as each of them has, and
as many as all of them have together. Light: no torch."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import TypeVar

import pandas as pd

from lightning_moa.config import MethodConfig, StudyConfig
from lightning_moa.errors import UserError
from lightning_moa.fields import option
from lightning_moa.methods.products import Product
from lightning_moa.reporting.claims import OURS, Row, judge
from lightning_moa.reporting.margins import of_metric
from lightning_moa.reporting.statistics import metric_difference
from lightning_moa.study.planning import objectives_of


@dataclass
class TotalsConfig(StudyConfig):
    """A study in which one policy for all preferences may have the updates of several others together."""

    equal_totals: bool | None = option(
        None,
        "beside as many updates as each policy of a baseline has, train the one policy for all preferences with as "
        "many as all of a baseline's policies have together; empty: where updates are given as steps, not as epochs",
    )


S = TypeVar("S", bound=TotalsConfig)


def total_name(method: str, baseline: str) -> str:
    """The name of a method that has as many updates as all policies of a baseline together."""
    return f"{method}_as_all_of_{baseline}"


def with_totals(
    config: S, methods: Mapping[str, Product], section: str, one: str, baselines: tuple[str, ...]
) -> tuple[S, Mapping[str, Product]]:
    """The study with the method `one` a second time for each baseline, with the sum of its policies' updates.

    Args:
        config: the script's; its own copy comes back, with the settings of what is added.
        methods: by name.
        section: the objective's, whose `steps` hold where a method says nothing of its own.
        one: a method that trains one policy.
        baselines: methods that train several.

    Raises:
        UserError: `equal_totals=true` where updates are given in epochs, which no sum can be made of before the rows
            are counted.
    """
    if config.equal_totals is False:
        return config, methods
    own, more = deepcopy(config), dict(methods)
    m = len(objectives_of(config))
    mine = config.methods.get(one, MethodConfig())
    for baseline in baselines:
        if baseline not in methods:
            continue
        steps = config.methods.get(baseline, MethodConfig()).steps or getattr(config, section).steps
        if steps is None and config.equal_totals is None:
            return config, methods
        if steps is None:
            raise UserError(
                f"equal_totals=true: {section}.steps is needed, not epochs; allowed is equal_totals=false"
            )
        policies = len(methods[baseline].trained_on.preferences(m, config.evaluation.grid_step))
        name = total_name(one, baseline)
        more[name] = methods[one]
        own.methods[name] = replace(mine, steps=steps * policies, snapshots=[])
    return own, more


def total_rows(
    metrics: pd.DataFrame,
    one: str,
    title: str,
    baselines: Mapping[str, str],
    space: str,
    where: str,
    regret_margin: float | None,
) -> list[Row]:
    """Ours: what the method `one` comes to with the updates of all of a baseline's policies together. (At as many
    updates a policy, as papers train them, a script's own claims compare the two.)

    Args:
        metrics: a METRICS table; a baseline that nothing was trained beside is passed over.
        one: a method.
        title: its name for readers.
        baselines: method -> its name for readers.
        space: of the hypervolumes; regret is asked where it is known.
        where: the place in the paper.
        regret_margin: of the function of that name.
    """
    rows = []
    for baseline, label in baselines.items():
        name = total_name(one, baseline)
        mine = metrics[(metrics["method"] == name) & (metrics["space"] == space)]
        if mine.empty:
            continue
        head = f"{title}, with the updates of all policies of {label},"
        volume = metric_difference(metrics, "hypervolume", name, baseline, space)
        what = f"hypervolume difference ({space})"
        margin = of_metric(metrics, "hypervolume", name, baseline, space)
        rows.append(judge(f"{head} beats {label}", where, what, volume, ">", 0, margin=margin, whose=OURS))
        if mine["mean_regret"].notna().all():
            regret = metric_difference(metrics, "mean_regret", name, baseline, space)
            claim = f"{head} has less regret than {label}"
            what = "mean regret difference"
            rows.append(judge(claim, where, what, regret, "<", 0, margin=regret_margin, whose=OURS))
    return rows
