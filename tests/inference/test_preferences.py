"""Preferences as users write them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lightning_moa.errors import UserError
from lightning_moa.inference.preferences import as_preference, parse_preference


@pytest.mark.parametrize(
    "given",
    [
        {"b": 0.7, "a": 0.3},
        [0.3, 0.7],
        (0.3, 0.7),
        np.array([0.3, 0.7]),
        torch.tensor([0.3, 0.7], requires_grad=True),
        parse_preference("b=.7, a=.3"),
        parse_preference(".3,.7"),
    ],
)
def test_forms(given):
    np.testing.assert_allclose(as_preference(given, ["a", "b"]), [0.3, 0.7], atol=1e-7)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"a": 1.0}, "'b' has no weight; the objectives are a, b"),
        ({"a": 0.5, "c": 0.5}, "'c' is no objective"),
        ([1.0], "one weight for each of a, b"),
        ([[0.5, 0.5]], "one weight for each of a, b"),
        (["x", "y"], "2 numbers are expected"),
        ([10**400, 0], "2 numbers are expected"),
        ([0.5, 0.6], "0.5"),
        ([-0.5, 1.5], "-0.5"),
    ],
)
def test_what_is_none(given, said):
    with pytest.raises(UserError, match=said):
        as_preference(given, ["a", "b"])


@pytest.mark.parametrize("text", ["a=x,b=1", "a=.3,.7", "a=.9,a=.3,b=.7", "", "x"])
def test_words_that_are_none(text):
    with pytest.raises(UserError, match="--preference"):
        parse_preference(text)
