"""The one schema of all results: which columns a CSV has, what they hold, how they are read and written.

| file | one row per |
|---|---|
| points.csv | evaluated policy |
| accuracies.csv | evaluated policy, beside points.csv where implicit accuracies are measured |
| metrics.csv | method, seed and space (accuracy, gold, reward) |
| timings.csv | method and seed: what was measured on a clock, and so differs from run to run |
| reward_models.csv | reward model, seed and objective, where reward models were trained here |
| costs.csv | method and seed: models, parameters and steps of its training |
| claims.csv | claim: a sentence of the paper, or a question of ours |

All but timings.csv are byte-identical for equal seeds. Numbers are written with the shortest digits that read
back as the same float64, never rounded; an empty cell is an unknown value. A `*` in a column's name stands
for the objectives, in one order throughout a file.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lightning_moa.errors import UserError
from lightning_moa.pareto.preferences import TOLERANCE
from lightning_moa.reporting.claim_rows import check_verdicts
from lightning_moa.reporting.files import read_text, write_atomically

SPACES = ("accuracy", "gold", "judge", "reward")
"""What a front is drawn in: implicit accuracies, gold rewards, those of a model that no policy learns from, or those
that policies learn from."""

LARGEST = 1e100
"""Of a number: measures take squares and products of them."""

PAPER, OURS = "paper", "ours"
"""Whose a claim is: a sentence of the paper, or a question that the paper does not ask."""

ALLOWED = {
    "text": "printable text",
    "label": "printable text or nothing",
    "whole": "whole numbers",
    "whole?": "whole numbers or nothing",
    "number": f"finite numbers of at most {LARGEST:g} in size",
    "number?": f"finite numbers of at most {LARGEST:g} in size, or nothing",
}


@dataclass(frozen=True)
class Column:
    """A column, or with a `*` in its name one column per objective; `kind` is a key of ALLOWED."""

    name: str
    kind: str
    optional: bool = False
    """Whether a file may be without it."""


@dataclass(frozen=True)
class Table:
    """One kind of CSV file."""

    file: str
    columns: tuple[Column, ...]
    rule: Callable[[pd.DataFrame, str, tuple[str, ...]], None]

    def objectives(self, names: list[str], where: str) -> tuple[str, ...]:
        """The objectives that the column names speak of; UserError if two groups of columns disagree."""
        groups: dict[str, tuple[str, ...]] = {}
        for column in self.columns:
            if "*" in column.name:
                prefix = column.name.removesuffix("*")
                found = tuple(name.removeprefix(prefix) for name in names if name.startswith(prefix))
                if found or not column.optional:
                    groups[prefix] = found
        for prefix, found in groups.items():
            first, expected = next(iter(groups.items()))
            if not found:
                raise UserError(f"{where}: no column {prefix}<objective>; allowed is one per objective")
            if set(found) != set(expected):
                raise UserError(
                    f"{where}: mixed objectives, columns {prefix}* name {', '.join(found)}"
                    f" but columns {first}* name {', '.join(expected)}"
                )
        return next(iter(groups.values()), ())

    def names(self, objectives: tuple[str, ...], found: Collection[str] = ()) -> dict[str, str]:
        """Column name -> kind, in the order of the file; of optional ones those that are `found`."""
        names: dict[str, str] = {}
        for column in self.columns:
            each = objectives if "*" in column.name else ("",)
            own = {column.name.replace("*", objective): column.kind for objective in each}
            if not column.optional or not own.keys().isdisjoint(found):
                names |= own
        return names

    def check(self, frame: pd.DataFrame, where: str) -> pd.DataFrame:
        """A copy with exactly the table's columns, in their order and dtypes; UserError naming `where`."""
        found = [str(name) for name in frame.columns]
        for name in found:
            if found.count(name) > 1:
                raise UserError(f"{where}: column {name!r} twice; allowed is once")
        objectives = self.objectives(found, where)
        names = self.names(objectives, found)
        missing = [name for name in names if name not in found]
        if missing:
            raise UserError(f"{where}: missing column {', '.join(missing)}")
        unknown = [name for name in found if name not in names]
        if unknown:
            raise UserError(f"{where}: unknown column {', '.join(unknown)}; allowed are {', '.join(names)}")
        checked = pd.DataFrame({name: _convert(frame[name], kind, where) for name, kind in names.items()})
        self.rule(checked, where, objectives)
        return checked

    def write(self, frame: pd.DataFrame, path: str | Path) -> None:
        """Check and write `frame`, whole or not at all; equal frames give equal bytes."""
        checked = self.check(frame, str(path))
        write_atomically(path, checked.to_csv(index=False, lineterminator="\n"))

    def read(self, path: str | Path) -> pd.DataFrame:
        """Read and check a file; UserError of one line that names the file and the column."""
        try:
            rows = list(csv.reader(io.StringIO(read_text(path), newline=""), strict=True))
        except csv.Error as error:
            raise UserError(f"{path}: not a CSV file, {error}") from error
        if not rows:
            raise UserError(f"{path}: empty; allowed is a header and rows")
        header, *body = rows
        for number, row in enumerate(body, 1):
            if len(row) != len(header):
                raise UserError(f"{path}: row {number} has {len(row)} cells, the header {len(header)}")
        columns = list(zip(*body, strict=True)) if body else [()] * len(header)
        frame = pd.DataFrame(dict(enumerate(columns)), dtype=object)
        frame.columns = pd.Index(header)
        return self.check(frame, str(path))


def _convert(column: pd.Series, kind: str, where: str) -> pd.Series:
    """The column in its kind's dtype: str, int64, Int64 or float64."""
    if column.dtype == _DTYPES.get(kind) and kind in _AS_THEY_ARE and _AS_THEY_ARE[kind](column.to_numpy()):
        return pd.Series(column.to_numpy(copy=True))
    convert = _CONVERTERS[kind.removesuffix("?")]
    values = []
    for number, cell in enumerate(column, 1):
        empty = cell == "" if isinstance(cell, str) else pd.api.types.is_scalar(cell) and bool(pd.isna(cell))
        if empty and not (kind.endswith("?") or kind == "label"):
            raise UserError(
                f"{where}: column {column.name!r}, row {number} is empty; allowed are {ALLOWED[kind]}"
            )
        try:
            values.append(("" if kind == "label" else None) if empty else convert(cell))
        except (TypeError, ValueError, OverflowError) as error:
            raise UserError(
                f"{where}: column {column.name!r}, row {number} is {cell!r}; allowed are {ALLOWED[kind]}"
            ) from error
    return pd.Series(values, dtype=_DTYPES.get(kind, "str"))


def _text(cell: Any) -> str:
    # Line ends inside a cell would tear rows apart in readers simpler than ours.
    if not isinstance(cell, str) or not cell.isprintable():
        raise ValueError
    return cell


def _whole(cell: Any) -> int:
    if isinstance(cell, (bool, np.bool_)) or (not isinstance(cell, str) and cell != int(cell)):
        raise ValueError
    return int(cell)


def _number(cell: Any) -> float:
    value = float(cell)
    if not abs(value) <= LARGEST:
        raise ValueError
    return value


_DTYPES = {"whole": "int64", "whole?": "Int64", "number": "float64", "number?": "float64"}
_AS_THEY_ARE: dict[str, Callable[[np.ndarray], bool]] = {
    "whole": lambda values: True,
    "number": lambda values: bool((np.abs(values) <= LARGEST).all()),
    "number?": lambda values: not (np.abs(values) > LARGEST).any(),
}
"""Whether all numbers of a column are allowed, of kinds that need no look at each cell where the dtype is right."""
_CONVERTERS: dict[str, Callable[[Any], Any]] = {
    "text": _text,
    "label": _text,
    "whole": _whole,
    "number": _number,
}


def _policy_rule(*groups: str) -> Callable[[pd.DataFrame, str, tuple[str, ...]], None]:
    """Rows of policies: named or with a preference, whole groups, no policy twice."""

    def rule(frame: pd.DataFrame, where: str, objectives: tuple[str, ...]) -> None:
        if frame.empty:
            raise UserError(f"{where}: no rows; allowed is one per evaluated policy")
        for prefix in ("lambda_", *groups):
            known = frame[[prefix + objective for objective in objectives]].notna().to_numpy()
            partly = np.asarray(known.any(axis=1) & ~known.all(axis=1))
            _refuse(partly, where, f"{prefix}* is known in part", "all or none")
        preferences = frame[[f"lambda_{objective}" for objective in objectives]].to_numpy()
        unnamed = np.asarray(np.isnan(preferences).all(axis=1) & (frame["policy"] == "").to_numpy())
        _refuse(unnamed, where, "neither policy nor lambda_* is given", "at least one of them")
        sums = preferences.sum(axis=1)
        outside = np.any(preferences < 0, axis=1) | (np.abs(sums - 1) > TOLERANCE)
        _refuse(outside, where, "lambda_* is off the simplex", "weights >= 0 that sum to 1")
        _refuse((frame["n"] < 1).to_numpy(), where, "n is below 1", "the number of evaluated prompts")
        keys = ["paper", "artefact", "scale", "method", "seed", "step", "policy"]
        keys += [f"lambda_{objective}" for objective in objectives]
        _refuse(
            frame.duplicated(keys).to_numpy(), where, "the policy has a row already", "one row per policy"
        )

    return rule


def _refuse(bad: np.ndarray, where: str, what: str, allowed: str) -> None:
    if bad.any():
        raise UserError(f"{where}: row {int(np.argmax(bad)) + 1}: {what}; allowed is {allowed}")


def _metrics_rule(frame: pd.DataFrame, where: str, objectives: tuple[str, ...]) -> None:
    if frame.empty:
        raise UserError(f"{where}: no rows; allowed is one per method, seed and space")
    _refuse(~frame["space"].isin(SPACES).to_numpy(), where, "unknown space", " or ".join(SPACES))
    keys = ["paper", "artefact", "scale", "method", "seed", "space"]
    _refuse(
        frame.duplicated(keys).to_numpy(), where, "the method has a row already", "one per seed and space"
    )


def _timings_rule(frame: pd.DataFrame, where: str, objectives: tuple[str, ...]) -> None:
    twice = frame.duplicated(["method", "seed"]).to_numpy()
    _refuse(twice, where, "the method has a row already", "one per seed")


def _reward_models_rule(frame: pd.DataFrame, where: str, objectives: tuple[str, ...]) -> None:
    twice = frame.duplicated(["model", "seed", "objective"]).to_numpy()
    _refuse(twice, where, "the model has a row already", "one per seed and objective")


def _claims_rule(frame: pd.DataFrame, where: str, objectives: tuple[str, ...]) -> None:
    _refuse(~frame["whose"].isin((PAPER, OURS)).to_numpy(), where, "unknown whose", f"{PAPER} or {OURS}")
    check_verdicts(frame, where)


def _columns(kind: str, *names: str) -> tuple[Column, ...]:
    return tuple(Column(name, kind) for name in names)


_RUN = (*_columns("text", "paper", "artefact", "scale", "method"), Column("seed", "whole"))
_POLICY = (*_RUN, Column("step", "whole"), Column("policy", "label"), Column("lambda_*", "number?"))

POINTS = Table(
    "points.csv",
    (
        *_POLICY,
        *_columns("number?", "reward_*", "gold_*", "kl"),
        Column("n", "whole"),
        *(Column(name, "number?", optional=True) for name in ("judge_*", "length", "repetition", "ended")),
    ),
    _policy_rule("reward_", "gold_"),
)
"""Mean rewards of each evaluated policy over `n` prompts (higher is better) and its KL from the reference, in
nats per response. `lambda_*` is empty where a method knows no preference, and then `policy` names the policy;
`reward_*` or `gold_*` is empty where there is no such reward. Scores of models that each seed trains on its pairs are
differences to the mean of the same seed's reference policy. Where they were asked for: `judge_*`, rewards of a model
that no policy learns from; mean `length` in tokens; `repetition`, the share of a response's three-word sequences that
stood in it before; `ended`, the share of responses that came to their end."""

ACCURACIES = Table(
    "accuracies.csv",
    (*_POLICY, Column("accuracy_*", "number"), Column("n", "whole")),
    _policy_rule("accuracy_"),
)
"""Implicit accuracy of each policy: the share, in [0, 1], of `n` held-out pairs that it orders as objective *
does."""

METRICS = Table(
    "metrics.csv",
    (
        *_RUN,
        Column("space", "text"),
        *_columns("number", "hypervolume", "reference_*"),
        *_columns("number?", "igd", "spacing", "sparsity", "inner_product", "coverage"),
        Column("non_dominated", "whole"),
        Column("mean_regret", "number?"),
        *_columns("whole?", "trained_models", "trained_parameters", "training_steps"),
    ),
    _metrics_rule,
)
"""Measures of one method's front of one seed; see `metrics.metrics_frame` for each."""

TIMINGS = Table(
    "timings.csv",
    (
        Column("method", "text"),
        Column("seed", "whole"),
        *_columns("number?", "seconds", "peak_memory_mib"),
        Column("trained_parameters", "whole?"),
    ),
    _timings_rule,
)
"""Wall-clock seconds of training, those of starts that were ended on the way included, and the last process's peak
memory in MiB."""

REWARD_MODELS = Table(
    "reward_models.csv",
    (
        Column("model", "text"),
        Column("seed", "whole"),
        Column("objective", "text"),
        *_columns("number?", "accuracy", "ci_low", "ci_high"),
        Column("pairs", "whole"),
    ),
    _reward_models_rule,
)
"""How the models that were trained on pairs order held-out ones: `model` is `reward`, which policies learn from, or
`judge`, which none does; `accuracy` is the share of `pairs` with a label for the objective whose better response has
the higher score, its interval Wilson's at 95%. Chance is .5."""

COSTS = Table(
    "costs.csv",
    (
        Column("method", "text"),
        *_columns("whole", "seed", "trained_models", "trained_parameters", "training_steps"),
    ),
    _timings_rule,
)
"""What a method trains for its whole front, summed over its policies. Set by the configuration: nothing to judge."""

CLAIMS = Table(
    "claims.csv",
    (
        *_columns("text", "claim", "where", "whose", "statistic"),
        Column("seeds", "whole"),
        Column("value", "number"),
        *_columns("number?", "ci_low", "ci_high"),
        Column("bound", "number"),
        Column("margin", "number?", optional=True),
        Column("p", "number?"),
        *_columns("text", "verdict", "verdict_holm"),
    ),
    _claims_rule,
)
"""`statistic` ends with its relation to the bound, such as `... > bound`, which is what the claim asserts. `whose` is
PAPER or OURS; `seeds` is 0 for a number that no seed changes; `margin`, which files of before do not have, is how far
from the bound is of no account, empty where a row has none; `verdict_holm` is the verdict that is left where all rows
of the file are looked at together."""
