"""A comparison as a table for the terminal, and as text for papers and programs.

For readers numbers are shortened; csv and json keep every digit.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pandas as pd
from rich.table import Table
from rich.text import Text

from lightning_moa.reporting.compare import Comparison, Entry
from lightning_moa.reporting.files import spreadsheet_text
from lightning_moa.reporting.markdown import markdown_table
from lightning_moa.reporting.verdicts import LEVEL, Estimate

_LATEX = {
    **{each: f"\\{each}" for each in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
}
Cells = list[list[str]]


def comparison_table(comparison: Comparison) -> Table:
    """A row per run and method; `dominates` names the numbers of the rows that it dominates."""
    header, *rows = cells_of(comparison)
    table = Table(title=Text(title_of(comparison)), title_justify="left")
    for heading in header:
        words = heading in ("run", "method", "dominates")
        table.add_column(
            Text(heading), justify="left" if words else "right", overflow="fold" if words else "ellipsis"
        )
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def as_markdown(comparison: Comparison) -> str:
    """The same as a table of GitHub's Markdown, what holds for all rows above it."""
    header, *rows = cells_of(comparison)
    return f"{title_of(comparison)}\n\n{markdown_table(header, rows)}"


def as_latex(comparison: Comparison) -> str:
    """The same as a `tabular` with the rules of the package booktabs."""
    header, *rows = [[_latex(cell) for cell in row] for row in cells_of(comparison)]
    aligned = "".join("l" if cell in ("run", "method", "dominates") else "r" for cell in header)
    lines = [
        f"% {title_of(comparison)}",
        rf"\begin{{tabular}}{{{aligned}}}",
        r"\toprule",
        f"{' & '.join(header)} \\\\",
        r"\midrule",
        *(f"{' & '.join(row)} \\\\" for row in rows),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def as_csv(comparison: Comparison) -> str:
    """A row per run and method, every digit."""
    flat = [{**row, "dominates": " ".join(map(str, row["dominates"]))} for row in _rows(comparison)]
    text: str = spreadsheet_text(pd.DataFrame(flat)).to_csv(index=False, lineterminator="\n")
    return text


def as_json(comparison: Comparison) -> str:
    """All of it, unknown values as null."""
    content = {
        "space": comparison.space,
        "reference": dict(zip(comparison.objectives, comparison.reference.tolist(), strict=True)),
        "interval": "Student's t over seeds",
        "level": 1 - LEVEL,
        "baseline": comparison.baseline,
        "warnings": comparison.warnings,
        "rows": _rows(comparison),
    }
    return json.dumps(_known(content), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


FORMATS: dict[str, Callable[[Comparison], Any]] = {
    "table": comparison_table,
    "markdown": as_markdown,
    "csv": as_csv,
    "latex": as_latex,
    "json": as_json,
}


def title_of(comparison: Comparison) -> str:
    corner = ", ".join(
        f"{objective} {value:.4g}"
        for objective, value in zip(comparison.objectives, comparison.reference, strict=True)
    )
    several = any(len(entry.front) > 1 for entry in comparison.entries)
    level = f"; intervals of {100 * (1 - LEVEL):g}%, Student's t over seeds" if several else ""
    paired = "" if comparison.baseline is None else f"; differences to {comparison.baseline}, paired by seed"
    return f"{comparison.space} space, reference point: {corner}{level}{paired}"


def cells_of(comparison: Comparison) -> Cells:
    """What readers see: a heading, and a row per entry."""
    columns: dict[str, Callable[[int, Entry], str]] = {
        "#": lambda i, entry: str(i + 1),
        "run": lambda i, entry: entry.run,
        "method": lambda i, entry: entry.method,
        "seeds": lambda i, entry: str(len(entry.front)),
        "hypervolume": lambda i, entry: _number(entry.hypervolume),
    }
    if comparison.baseline is not None:
        columns["hypervolume difference"] = lambda i, entry: _number(entry.difference)
    if any(entry.regret for entry in comparison.entries):
        columns["regret"] = lambda i, entry: _number(entry.regret)
        if comparison.baseline is not None:
            columns["regret difference"] = lambda i, entry: _number(entry.regret_difference)
    columns |= {
        "non-dominated": lambda i, entry: f"{entry.non_dominated:.1f} of {entry.size:.1f}",
        "spacing": lambda i, entry: "-" if math.isnan(entry.spacing) else f"{entry.spacing:.4g}",
        "dominates": lambda i, entry: ", ".join(f"#{j + 1}" for j in comparison.dominated[i]) or "-",
    }
    rows = [[cell(i, entry) for cell in columns.values()] for i, entry in enumerate(comparison.entries)]
    return [list(columns), *rows]


def _rows(comparison: Comparison) -> list[dict[str, Any]]:
    """What programs read."""
    return [
        {
            "number": i + 1,
            "run": entry.run,
            "method": entry.method,
            "seeds": len(entry.front),
            **_fields("hypervolume", entry.hypervolume),
            **_fields("hypervolume_difference", entry.difference),
            **_fields("regret", entry.regret),
            **_fields("regret_difference", entry.regret_difference),
            "pairs": entry.pairs,
            "non_dominated": entry.non_dominated,
            "policies": entry.size,
            "spacing": entry.spacing,
            "dominates": [j + 1 for j in comparison.dominated[i]],
        }
        for i, entry in enumerate(comparison.entries)
    ]


def _fields(name: str, found: Estimate | None) -> dict[str, float]:
    value = found or Estimate(math.nan, math.nan, math.nan, 0)
    return {name: value.value, f"{name}_ci_low": value.ci_low, f"{name}_ci_high": value.ci_high}


def _number(found: Estimate | None) -> str:
    if found is None:
        return "-"
    interval = f" [{found.ci_low:.4g}, {found.ci_high:.4g}]" if found.seeds > 1 else ""
    return f"{found.value:.4g}{interval}"


def _known(value: Any) -> Any:
    """JSON has no NaN."""
    if isinstance(value, dict):
        return {key: _known(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_known(each) for each in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _latex(text: str) -> str:
    return "".join(_LATEX.get(each, each) for each in text)
