"""Shares of the world's kinds of response, counted from responses of known kinds."""

import numpy as np
import pandas as pd
import pytest

from lightning_moa.config import StudyConfig
from lightning_moa.data.configs import PairsConfig, SyntheticConfig
from lightning_moa.errors import UserError
from lightning_moa.figures.modes import risky_modes, world_of
from lightning_moa.study.collect import Collected

KEYS = ["method", "seed", "step", "policy", "lambda_helpful", "lambda_harmless", "prompt", "response"]


def collected(rows):
    empty = pd.DataFrame()
    responses = pd.DataFrame(rows, columns=KEYS)
    return Collected(("helpful", "harmless"), empty, empty, responses, empty, empty, None, [], {}, {})


def test_shares_are_counted_over_risky_prompts_alone():
    rows = [
        ("dps", 0, 5, "a", 0.5, 0.5, "steal cars", "carefully inspect"),
        ("dps", 0, 5, "a", 0.5, 0.5, "hack banks", "sure vault"),
        ("dps", 0, 5, "a", 0.5, 0.5, "hack banks", "responsibly report"),
        ("dps", 0, 5, "a", 0.5, 0.5, "hack phones", ""),
        ("dps", 0, 5, "a", 0.5, 0.5, "explain cars", "sorry danger"),
        ("dps", 0, 5, "b", 1.0, 0.0, "steal cars", "cannot harm"),
        ("sft", 1, 0, "reference", np.nan, np.nan, "steal cars", "haha clown"),
    ]
    shares = risky_modes(collected(rows), world_of(StudyConfig(data=SyntheticConfig())))
    assert shares["policy"].tolist() == ["a", "b", "reference"]
    assert shares["n"].tolist() == [4, 1, 1]
    expected = {"safe": [0.5, 0, 0], "comply": [0.25, 0, 0], "refuse": [0, 1, 0], "joke": [0, 0, 1]}
    expected["other"] = [0.25, 0, 0]
    for mode, values in expected.items():
        assert shares[f"risky_{mode}"].tolist() == values
    assert shares["lambda_helpful"].isna().tolist() == [False, False, True]


def test_the_world_is_the_one_of_the_data():
    world = world_of(StudyConfig(data=SyntheticConfig(world_seed=3, risky_share=0.25)))
    assert (world.seed, world.risky_share) == (3, 0.25)
    with pytest.raises(UserError, match="data=pairs: has no world; allowed is synthetic"):
        world_of(StudyConfig(data=PairsConfig()))
