"""From the rows that a user's own data set yields to the `Rows` that every data set's become."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from lightning_moa.data.rows import Rows
from lightning_moa.errors import UserError

TEXTS = ("prompt", "response_0", "response_1")
"""A row's three texts, by their names in a mapping."""


class _Row(NamedTuple):
    texts: tuple[str | None, ...]
    labels: Mapping[str, Any]


def rows_of(given: Iterable[Any], where: str) -> Rows:
    """The rows of one split.

    Args:
        given: each (prompt, response_0, response_1, labels), or a mapping with `TEXTS` and the labels.
        where: what gave them, for errors.

    Raises:
        UserError: no rows, or one of another shape; rows are counted from 1. Labels' values are checked later.
    """
    import pandas as pd

    if not isinstance(given, Iterable):
        raise UserError(
            f"{where} gave {type(given).__name__}: rows are needed, such as a list or yield gives"
        )
    rows = [_row(each, f"{where}, row {number}") for number, each in enumerate(given, start=1)]
    if not rows:
        raise UserError(f"{where} gave no rows")
    names = list(dict.fromkeys(name for row in rows for name in row.labels))
    index = pd.MultiIndex.from_arrays([[where] * len(rows), range(1, len(rows) + 1)])
    labels = pd.DataFrame(
        {name: pd.Series([row.labels.get(name) for row in rows], index, dtype=object) for name in names},
        index,
    )
    prompts = [row.texts[0] for row in rows]
    return Rows(
        prompts=prompts,
        responses=[row.texts[1:] for row in rows],
        reasons=[None] * len(rows),
        keys=[prompt or "" for prompt in prompts],
        labels=labels,
    )


def _row(given: Any, where: str) -> _Row:
    if isinstance(given, Mapping):
        absent = [name for name in TEXTS if name not in given]
        if absent:
            raise UserError(f"{where} has no {absent[0]!r}; it has {', '.join(map(str, given)) or 'nothing'}")
        texts: Sequence[Any] = [given[name] for name in TEXTS]
        labels: Any = {name: value for name, value in given.items() if name not in TEXTS}
    elif isinstance(given, Sequence) and not isinstance(given, str):
        if len(given) != 4:
            raise UserError(
                f"{where} has {len(given)} values: (prompt, response_0, response_1, labels) are needed"
            )
        *texts, labels = given
    else:
        raise UserError(
            f"{where} is a {type(given).__name__}: (prompt, response_0, response_1, labels) or a mapping is needed"
        )
    for name, text in zip(TEXTS, texts, strict=True):
        if text is not None and not isinstance(text, str):
            raise UserError(f"{where}, {name}: text is expected, got {type(text).__name__}")
    if not isinstance(labels, Mapping):
        raise UserError(
            f"{where}: its labels must be a mapping of label to 0, 1 or None, got {type(labels).__name__}"
        )
    plain = {name: each.item() if isinstance(each, np.generic) else each for name, each in labels.items()}
    return _Row(tuple(texts), plain)
