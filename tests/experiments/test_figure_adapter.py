"""Panacea's adapters: what is judged of made-up results."""

from __future__ import annotations

import numpy as np
import pandas as pd

from .made_up import SEEDS, TWO, made_up, volumes_of
from .scripts import REPOSITORY, load


def test_one_singular_value_a_matrix_says_nothing_of_what_varies_within_one():
    module = load(REPOSITORY / "experiments" / "panacea" / "figure_adapter.py")
    collected = made_up(np.random.default_rng(0), module.METHODS, TWO, step=0.5)
    values = pd.DataFrame(
        {
            "method": module.PANACEA,
            "seed": seed,
            "layer": layer,
            "kind": "sigma",
            "value": 0.1 + layer + place,
        }
        for seed in SEEDS
        for layer in range(3)
        for place in range(2)
    )
    of_two, of_one = (
        {row["claim"] for row in module.judge_claims(collected, volumes_of(collected), rows)}
        for rows in (values, values.drop_duplicates(["seed", "layer"]))
    )
    assert of_two - of_one == {"singular values' magnitudes differ across matrices"}
