"""HaM's Proposition 1 and section 3.6 without training: best policies, Adam, and claims that can fail."""

from __future__ import annotations

import importlib.util
import sys
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from lightning_moa import pareto
from lightning_moa.errors import UserError
from lightning_moa.world import Size, World
from tests.conftest import REPOSITORY


@pytest.fixture(scope="module")
def theory():
    place = REPOSITORY / "experiments" / "ham" / "theory.py"
    spec = importlib.util.spec_from_file_location("ham_theory", place)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def objectives(theory):
    return theory.Objectives.of(World.build(0, size=Size.tiny()), 4.0, 2.0)


def test_the_front_is_the_best_of_each_preference(theory, objectives):
    front, grid = objectives.front(), pareto.preference_grid(2, theory.STEP)
    rng = np.random.default_rng(0)
    for _ in range(20):
        logits = objectives.logps + rng.normal(size=objectives.logps.shape)
        values = objectives.values(logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)))
        assert ((grid * front).sum(axis=1) >= grid @ values - 1e-12).all()
    assert objectives.values(objectives.logps).min() == pytest.approx(0.5)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_the_best_policies_are_those_of_all_choices(theory, k):
    angles = np.linspace(0, np.pi / 2, 9)
    front = np.column_stack([np.cos(angles), np.sin(angles)])
    every = [pareto.hypervolume(front[list(each)], [0, 0]) for each in combinations(range(9), k)]
    assert theory.best_volume(front, k) == pytest.approx(max(every))
    assert max(every) * (1 - 1 / np.e) <= theory.greedy_volume(front, k) <= max(every) + 1e-12


def test_adam_raises_the_hypervolume(theory, objectives):
    start = objectives.values(objectives.logps).prod()
    values = theory.ascended(objectives, 2, "all", 15, 0.05, seed=0)
    best = theory.best_volume(objectives.front(), 2)
    assert start < pareto.hypervolume(values, [0, 0]) <= best * (1 + 1e-3)


def tables(rate):
    """Of three worlds; rate 0 is what is claimed, 1 is far from it, 2 lies at the bounds."""
    seeds = (0, 1, 2)
    shares = {"first": (0.99, 0.5, 0.95), "all": (0.995, 0.4, 0.95), "greedy": (0.99, 0.6, 0.95)}
    optimised = [
        {
            "seed": seed,
            "k": 5,
            "how": how,
            "share": share[rate] - 1e-4 * seed * len(how),
            "alive": (0.9, 0.2, 0.5)[rate] - 1e-4 * seed,
        }
        for seed in seeds
        for how, share in shares.items()
    ]
    errors = [
        {
            "seed": seed,
            "objectives": j,
            "directions": 64,
            "error": 2 ** (j * ((0.3, 0.9, 0.5)[rate] + 1e-4 * seed)),
        }
        for seed in seeds
        for j in (2, 4, 8)
    ]
    estimates = pd.DataFrame(errors)
    return pd.DataFrame(optimised), estimates.assign(relative=estimates["error"])


def test_every_claim_can_hold_and_can_fail(theory):
    for rate, verdict in ((0, "holds"), (1, "fails")):
        rows = theory.judge_claims(*tables(rate))
        assert {row["verdict"] for row in rows} == {verdict}
        assert rows[-1]["value"] == pytest.approx((0.3, 0.9)[rate], abs=1e-3)


def test_other_objectives_are_refused(theory, tmp_path):
    words = ["scale=smoke", "objectives=[helpful,concise]", f"results_dir={tmp_path}"]
    with pytest.raises(UserError, match=r"objectives=.*: here they are always harmless, helpful"):
        theory.main(theory.STUDY.read(words)[0], Console(quiet=True))
