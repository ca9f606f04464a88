"""Panacea's section 4.2 in tiny worlds: the script at its smallest, and its claims on tables made up to fail."""

from __future__ import annotations

import importlib.util
import io
import sys

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from lightning_moa.errors import UserError
from lightning_moa.reporting.schema import CLAIMS
from tests.conftest import REPOSITORY


def load(name):
    spec = importlib.util.spec_from_file_location(name, REPOSITORY / "experiments" / "panacea" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


THEORY = load("theory")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("theory")
    words = ["scale=smoke", "comparisons=300", f"results_dir={root}", f"runs_dir={root}"]
    THEORY.main(THEORY.STUDY.read(words)[0], Console(file=io.StringIO()))
    folder = root / "panacea" / "theory" / "smoke"
    frames = [pd.read_csv(folder / f"{name}.csv") for name in ("fronts", "distances", "mixtures")]
    return folder, *frames


def test_it_leaves_every_file(made):
    folder, fronts, distances, _ = made
    names = {f"{name}.csv" for name in ("fronts", "distances", "mixtures", "claims")}
    assert {path.name for path in folder.iterdir()} == names | {"theory.png", "theory.pdf", "run.yaml"}
    assert fronts["kind"].value_counts().to_dict() == {
        "front": 101,
        "linear": 11,
        "tchebycheff": 11,
        "eq. 13": 11,
    }
    assert distances["setting"].value_counts().to_dict() == {
        "RLHF, 3 objectives": 36,
        "RLHF, 2 objectives": 9,
        "DPO, z = 0": 9,
        "DPO, z = the best": 9,
    }
    assert len(CLAIMS.read(folder / "claims.csv")) == 8


def test_weighted_distances_are_equal_with_two_objectives_and_the_best_ideal_point(made):
    distances = next(frame for frame in made[1:] if "setting" in frame)
    worst = distances.groupby("setting")["spread"].max()
    assert worst[["RLHF, 2 objectives", "DPO, z = the best"]].max() < 0.01
    assert worst[["RLHF, 3 objectives", "DPO, z = 0"]].min() > 0.01


def test_optima_are_on_the_front_and_others_below(made):
    _, fronts, _, _ = made
    depth = fronts.groupby("kind")["depth"].max()
    assert depth["front"] == pytest.approx(0, abs=1e-12)
    assert depth[["linear", "tchebycheff"]].max() < 1e-3
    assert depth["eq. 13"] > 0.01
    assert fronts["depth"].min() > -1e-9


def test_no_policy_drawn_by_chance_is_above_the_front(made):
    _, fronts, _, _ = made
    listing = THEORY.Listing.of(THEORY.World.build(0, size=THEORY.Size.tiny()), THEORY.OBJECTIVES[:2])
    line = fronts[fronts["kind"] == "front"]
    weights, best = line[["lambda_1", "lambda_2"]].to_numpy(), line[["J_1", "J_2"]].to_numpy()
    rng = np.random.default_rng(0)
    for _ in range(50):
        scores = listing.rewards @ rng.normal(size=2) + 0.1 * rng.normal(size=listing.logps.shape)
        values = THEORY.objectives_of(listing, listing.tilted(scores, 0.3), 0.3)
        assert ((weights * best).sum(axis=1) >= weights @ values).all()


def test_dpos_best_policy_beats_those_near_it():
    """In closed form, against other margins of the same pairs."""
    rng = np.random.default_rng(0)
    pairs = THEORY.Comparisons(np.zeros((50, 3), dtype=int), rng.uniform(0.1, 0.9, (50, 2)))
    weights = np.array([0.3, 0.7])
    share = pairs.better @ weights
    for other in (share + 0.05, share - 0.05, rng.uniform(0.1, 0.9, 50)):
        each = pairs.better * np.log(other)[:, None] + (1 - pairs.better) * np.log1p(-other)[:, None]
        assert weights @ each.mean(axis=0) < weights @ pairs.best(weights)


def tables(rate):
    """Of three worlds; rate 0 is what the paper says, 1 is far from it."""
    grid = np.linspace(0, 1, 101)
    front = pd.DataFrame({"kind": "front", "J_1": grid, "J_2": 1 - grid**2, "depth": 0.0})
    points = [front]
    for kind in ("linear", "tchebycheff", "eq. 13"):
        every = 10 if rate == 0 else 50 + 50 * (kind == "tchebycheff")
        points.append(front.iloc[::every].assign(kind=kind, depth=0.5 * rate))
    seeds = (0, 1, 2)
    settings = ("RLHF, 2 objectives", "RLHF, 3 objectives", "DPO, z = 0", "DPO, z = the best")
    spread = [{"setting": name, "spread": 0.6 * rate + 0.001} for name in settings]
    sign = 1 - 2 * rate
    mixed = pd.DataFrame(
        {"alpha": [0.5], "mismatch": [0.3 * rate], "excess": [0.1 * sign], "best_loss": [0.5 * rate]}
    )
    frames = (pd.concat(points), pd.DataFrame(spread), mixed)
    return [pd.concat([shaken(frame, seed) for seed in seeds]) for frame in frames]


def shaken(frame, seed):
    """One world's: seeds that agree exactly show nothing of the noise."""
    moving = [name for name in ("spread", "mismatch", "excess", "best_loss", "depth") if name in frame]
    moved = {name: frame[name] + 1e-4 * seed for name in moving}
    if "kind" in frame:
        lower = frame["kind"].map({"front": 0, "tchebycheff": 2}).fillna(1) * 1e-3 * seed
        moved |= {name: frame[name] - lower for name in ("J_1", "J_2")}
    return frame.assign(**moved, seed=seed)


def test_every_claim_can_hold_and_can_fail():
    held, failed = (
        {row["claim"]: row["verdict"] for row in THEORY.judge_claims(*tables(rate))} for rate in (0, 1)
    )
    assert set(failed.values()) == {"fails"}
    better = [claim for claim in held if "smaller gaps" in claim]
    assert {verdict for claim, verdict in held.items() if claim not in better} == {"holds"}


def test_other_data_are_refused(tmp_path):
    config = THEORY.STUDY.read(["scale=smoke", "data=pku_saferlhf", f"results_dir={tmp_path}"])[0]
    with pytest.raises(UserError, match="its best policies are not known; allowed is synthetic"):
        THEORY.main(config, Console(file=io.StringIO()))


def test_other_objectives_are_refused(tmp_path):
    words = ["scale=smoke", "objectives=[helpful,concise]", f"results_dir={tmp_path}"]
    with pytest.raises(UserError, match=r"objectives=.*: here they are always helpful, harmless, humorous"):
        THEORY.main(THEORY.STUDY.read(words)[0], Console(file=io.StringIO()))
