"""The picture of a comparison: all runs' fronts in one panel."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from lightning_moa.reporting.loaded import Run
from lightning_moa.reporting.plots import front_figure


def comparison_figure(runs: Sequence[Run], space: str) -> Figure:
    """Fronts of all runs in a space; a method that several runs have is named with its run."""
    tables = [run.rows(space) for run in runs]
    count = Counter(name for table in tables for name in set(table["method"]))

    def shown(run: Run, method: str) -> str:
        """Its name in a legend, in which a dollar sign begins no formula."""
        return (f"{run.name}: {method}" if count[method] > 1 else method).replace("$", r"\$")

    named = [
        table.assign(method=[shown(run, method) for method in table["method"]])
        for run, table in zip(runs, tables, strict=True)
    ]
    points = pd.concat(named, ignore_index=True)
    return front_figure(points, points if space == "accuracy" else None, spaces=[space])
