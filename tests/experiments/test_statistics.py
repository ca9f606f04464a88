"""Statistics of single scripts, by hand."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from lightning_moa.errors import UserError
from lightning_moa.figures.cluster_figures import margins_of_heads
from lightning_moa.study.planning import REFERENCE

from .made_up import TWO, made_up, tables_of
from .scripts import REPOSITORY, load, parts

SCRIPTS = REPOSITORY / "experiments" / "panacea"


def test_margins_of_heads_say_which_are_dominated():
    heads = pd.DataFrame(
        [(0, 0.0, 1.0), (0, 1.0, 0.0), (0, 0.75, 0.25), (1, 0.0, 0.0), (1, -0.5, -0.25), (1, 1.0, 1.0)],
        columns=["seed", "loglik_a", "loglik_b"],
    )
    # The third could fall by 1/4 before the second, which is better in a alone, were as good in b.
    assert margins_of_heads(heads) == {0: 0.25, 1: -1.25}
    assert margins_of_heads(heads, 0.5) == {0: 0.25, 1: -1.0}


def test_what_is_learned_early_is_a_share_of_the_most():
    module = load(SCRIPTS / "figure4.py")
    rows = [(REFERENCE, 0, 9, 1.0, 1.0), ("panacea", 0, 1, 2.0, 0.0), ("panacea", 0, 2, 4.0, 0.5)]
    rows += [("panacea", 0, 4, 5.0, 0.9), ("dps", 0, 4, 99.0, 99.0)]
    points = pd.DataFrame(rows, columns=["method", "seed", "step", "gold_a", "gold_b"])
    study = SimpleNamespace(space="gold"), SimpleNamespace(points=points)
    # 1 and 3 of 4; b never gains.
    assert module.learned_early(*study, "a") == {0: pytest.approx(0.5)}
    assert module.learned_early(*study, "b") == {0: 0.0}


def test_how_far_singular_values_lie_outside_the_papers_range():
    module = load(SCRIPTS / "figure7.py")

    def outside(low: float, high: float) -> float:
        values = np.geomspace(low, high, 201)
        return module.outside(pd.DataFrame({"seed": 0, "kind": "sigma", "value": -values}))[0]

    # Nine of ten lie between the 5% and the 95% quantile.
    assert outside(1e-5, 1e-2) == pytest.approx(-0.15, abs=1e-6)
    assert outside(1e-4, 1e0) == pytest.approx(1.8, abs=1e-6)
    assert outside(1e-8, 1e-4) == pytest.approx(2.8, abs=1e-6)


def test_singular_values_that_never_moved_have_no_magnitude():
    module = load(SCRIPTS / "figure7.py")
    row = {"method": "learned", "seed": 2, "layer": "model.layers.0.q_proj", "kind": "scale", "place": 1}
    frame = pd.DataFrame([row | {"value": 1e-3}, row | {"kind": "sigma", "value": 0.0}])
    with pytest.raises(UserError, match=r"seed 2: sigma of model.layers.0.q_proj is still 0"):
        module.size_claims(frame)


def test_dominated_points_are_asked_about_in_every_draw_of_prompts_or_in_none():
    module, rng = load(SCRIPTS / "figure4.py"), np.random.default_rng(0)
    ((_, _, methods),) = parts(module)
    collected = made_up(rng, methods, TWO, 0.5, snapshots=("panacea",))
    # On a line, so that none is below another.
    points = collected.points.copy()
    points["gold_helpful"], points["gold_harmless"] = points["lambda_helpful"], points["lambda_harmless"]
    collected = replace(collected, points=points)
    tables = tables_of("panacea", "figure4", collected)

    def asked(dominated: bool | None) -> int:
        rows = module.growth_claims(collected, tables, dominated)
        return sum(str(row["claim"]).startswith("dominated points") for row in rows)

    assert not module.any_dominated(module.growth_of(collected, tables))
    assert [asked(each) for each in (None, False, True)] == [0, 0, 1]
