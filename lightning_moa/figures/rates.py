"""Learning rates that another study's tuning took, read from its `rates.csv`."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from lightning_moa.config import MethodConfig
from lightning_moa.errors import UserError
from lightning_moa.methods.products import Product
from lightning_moa.reporting.run_record import read_run_record
from lightning_moa.reporting.schema import Column, Table


def _rule(frame: pd.DataFrame, where: str, objectives: tuple[str, ...]) -> None:
    wrong = ~frame["taken"].isin(("True", "False"))
    if wrong.any():
        raise UserError(f"{where}: taken is {frame['taken'][wrong].iloc[0]!r}; allowed are True and False")
    taken = frame[frame["taken"] == "True"]
    if not (frame["lr"] > 0).all():
        raise UserError(f"{where}: lr is {frame['lr'].min():g}; allowed are numbers above 0")
    for method, mine in frame.groupby("method", sort=False):
        count = int((taken["method"] == method).sum())
        if count != 1:
            raise UserError(
                f"{where}: of {method} {count} of {len(mine)} rates are taken; one is, where a method was tuned"
            )


RATES = Table(
    "rates.csv",
    (
        *(Column(name, "text") for name in ("paper", "artefact", "scale", "method")),
        Column("lr", "number"),
        *(Column(name, "number?") for name in ("expected_utility", "mean_regret")),
        Column("taken", "text"),
    ),
    _rule,
)
"""A row for each method and learning rate that was tried; the higher `expected_utility` and the lower `mean_regret`,
the better."""


def known_rates(file: str) -> pd.DataFrame:
    """What a tuning tried and took: method, lr, expected utility, mean regret, taken.

    Raises:
        UserError: no such file, or one of another form.
    """
    frame = RATES.read(file).drop(columns=["paper", "artefact", "scale"])
    return frame.assign(taken=frame["taken"] == "True")


def check_tuned_apart(file: str, seeds: list[int]) -> None:
    """Raise a `UserError` where the record beside the file says that the rates were chosen on seeds to be reported."""
    record = read_run_record(Path(file).parent / "run.yaml") or {}
    said = record.get("config")
    given = said.get("tuning_seeds") if isinstance(said, Mapping) else None
    both = sorted({*seeds} & {*(given if isinstance(given, list) else ())})
    if both:
        raise UserError(
            f"rates={file}: its rates were chosen on seeds {', '.join(map(str, both))}, which would be reported; other "
            "seeds are needed"
        )


def at_rates(config: Any, methods: Mapping[str, Product], rates: pd.DataFrame) -> Any:
    """The configuration with the rate that was taken for each of the methods that `rates` speaks of.

    Raises:
        UserError: a method whose rate is set in the configuration, too.
    """
    own = deepcopy(config)
    for name, rate in rates[rates["taken"]].set_index("method")["lr"].items():
        if name not in methods:
            continue
        mine = own.methods.get(name, MethodConfig())
        if mine.lr is not None:
            raise UserError(
                f"methods.{name}.lr={mine.lr:g}: rates={config.rates} says its rate; give one of the two"
            )
        own.methods[name] = replace(mine, lr=float(rate))
    return own
