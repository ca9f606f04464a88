"""What the picture of multiplied rewards shows of all methods."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from lightning_moa.figures.multiplied import Part, movement_of
from tests.experiments import scripts

scale = scripts.load(scripts.REPOSITORY / "experiments" / "cross" / "figure_scale.py")


def test_bars_are_the_movement_of_the_table_where_preferences_move_against_each_other():
    rows = [
        {
            **dict.fromkeys(("paper", "artefact", "scale"), "x"),
            **{"factor": factor, "method": "panacea_ppo", "seed": 0},
            **{"lambda_a": weight, "lambda_b": 1 - weight, "kl": 0.0},
            **{"gold_a": a, "gold_b": 0.0, "gain_a": a, "gain_b": 0.0},
        }
        for weight, way in ((0.0, 1.0), (1.0, -1.0))
        for factor, a in ((1.0, 0.0), (8.0, 2 * way))
    ]
    part = Part(("a", "b"), "a", "gold", pd.DataFrame(rows), np.zeros(2), None)
    plane, bars, _ = scale.draw(part).axes
    assert bars.patches[0].get_height() == pytest.approx(2.0) == movement_of(part)["movement"].iloc[0]
    assert plane.lines[-1].get_xydata().tolist() == [[0, 0], [0, 0]], "the plane has means over preferences"
