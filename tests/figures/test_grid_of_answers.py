"""The grid of answers: all that have a name are in it, and what they say of themselves makes the method."""

from __future__ import annotations

import pytest

from lightning_moa.deployments import Alone, EachHead, InPrompt, Nearest, Steered
from lightning_moa.errors import UserError
from lightning_moa.figures.grid_of_answers import AXES, Cell, cells
from lightning_moa.methods.sections import TABLES


def test_all_that_have_a_name_are_in_the_grid():
    grid = cells()
    for kind, table in AXES.items():
        assert table is TABLES[kind]
        assert {getattr(cell, kind) for cell in grid} == set(table)
    names = {cell.name for cell in grid}
    assert len(names) == len(grid) == len(AXES["policy"]) * len(AXES["objective"]) * len(AXES["aggregation"])


def test_a_new_answer_is_in_it_by_itself(monkeypatch):
    monkeypatch.setitem(AXES["aggregation"], "mine", AXES["aggregation"]["linear"])
    assert Cell("lora", "dpo", "mine") in cells()
    method = Cell("lora", "dpo", "mine").method(2, 0.5)
    assert (method.aggregation.name, method.deployment) == ("mine", Nearest())


def test_a_part_of_the_grid():
    assert cells(["lora"], ["dpo", "rloo", "dpo"], ["mgda"]) == [
        Cell("lora", "dpo", "mgda"),
        Cell("lora", "rloo", "mgda"),
    ]
    with pytest.raises(UserError, match=r"learned_by=mgda: allowed are dpo, "):
        cells(objectives=["mgda"])


@pytest.mark.parametrize(
    ("cell", "method", "trained_on", "deployment"),
    [
        (Cell("svd_lora", "dpo", "mgda"), "panacea", "sampled", Steered),
        (Cell("prompted", "rloo", "tchebycheff"), "panacea", "sampled", Steered),
        (Cell("lora", "dpo", "epo"), "dps", "interior", Nearest),
        (Cell("lora", "modpo", "linear"), "dps", "interior", Nearest),
        (Cell("lora", "dpo", "pgapo"), "dps", "interior", Nearest),
        (Cell("lora", "dpo", "mgda"), "dps", "centre", Alone),
        (Cell("lora", "ppo", "pcgrad"), "dps", "centre", Alone),
        (Cell("heads", "ppo", "imtl_g"), "dps", "centre", Alone),
        (Cell("heads", "likelihood", "linear"), "dps", "interior", Nearest),
        (Cell("heads", "likelihood", "hypervolume"), "ham", "sampled", EachHead),
        (Cell("lora", "in_context", "linear"), "ric", "sampled", InPrompt),
    ],
)
def test_what_hears_the_preference_makes_the_method(cell, method, trained_on, deployment):
    made = cell.method(3, 0.25)
    assert (made.method.name, made.trained_on.kind, type(made.deployment)) == (method, trained_on, deployment)


def test_losses_are_kept_apart_and_heads_are_several_for_their_volume_alone():
    method = Cell("heads", "ppo", "linear").method(2, 0.5)
    assert method.objective.options == {"weigh": "surrogates"}
    assert method.policy.options == {"number": 1}
    assert Cell("heads", "likelihood", "hypervolume").method(2, 0.5).policy.options == {}
