"""Figures by straight lines in the number of layers against those of all layers, run."""

from __future__ import annotations

import pytest

from lightning_moa.answers import load
from lightning_moa.forecast import passes
from lightning_moa.study.tasks import in_order
from tests.forecast.test_rows import plan, study


@pytest.mark.parametrize("checkpointing", [False, True])
def test_what_an_example_takes_while_it_is_made_is_that_of_all_layers(checkpointing):
    words = ("scale=tiny", f"model.gradient_checkpointing={str(checkpointing).lower()}")
    tasks = in_order(plan(study("panacea/figure4.py", *words)).targets())
    spec = next(dict(task.spec) for task in tasks if task.function.endswith(":align"))
    layers, rows, kind = 7, 3, load(spec["objective"], "objective")
    whole = passes._made_in_parts(spec, rows, layers, kind)
    assert passes._made(spec, rows, layers) == {"made": max(whole.values())}
    # The largest is not always of the same part: a line through the largest of few layers would not do.
    few = [max(passes._made_in_parts(spec, rows, each, kind).values()) for each in passes.FEW]
    assert few[1] > few[0]
