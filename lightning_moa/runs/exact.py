"""The best policies of the grid's preferences, where a study's data let them be known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lightning_moa.errors import UserError
from lightning_moa.pareto import preference_grid
from lightning_moa.runs.loading import load_data
from lightning_moa.task_files import Progress

Spec = dict[str, Any]
Inputs = dict[str, Path]


def exact(spec: Spec, inputs: Inputs, out: Path, progress: Progress) -> None:
    """The best policies of the grid's preferences, and of a finer grid to draw a front through."""
    data = load_data(spec)
    m = len(data.objectives)
    finer = preference_grid(m, 0.02) if m == 2 else np.array(spec["grid"])
    for name, preferences in (("grid", np.array(spec["grid"])), ("front", finer)):
        front = data.exact_front(preferences, spec["beta"])
        if front is None:
            raise UserError(f"data={spec['data']['name']}: its best policies are not known")
        columns = {f"lambda_{objective}": preferences[:, i] for i, objective in enumerate(data.objectives)}
        columns |= {f"gold_{objective}": front.rewards[:, i] for i, objective in enumerate(data.objectives)}
        # The last kind of prompt is the one that the objectives are at odds on.
        kind, shares = list(front.modes.items())[-1]
        columns |= {f"{kind}_{mode}": shares[:, i] for i, mode in enumerate(front.mode_names)}
        frame = pd.DataFrame({**columns, "kl": front.kl, "value": front.values})
        frame.to_csv(out / f"{name}.csv", index=False, lineterminator="\n")
