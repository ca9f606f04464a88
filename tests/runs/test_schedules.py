"""Schedules are transformers' own of these names."""

import pytest
import torch
from transformers import get_scheduler

from lightning_moa.optimiser import SCHEDULES
from lightning_moa.runs.schedules import schedule


def rates(make):
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    built = make(optimiser)
    found = []
    for _ in range(12):
        found.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        built.step()
    return found


@pytest.mark.parametrize("warmup", [0, 3])
@pytest.mark.parametrize("kind", SCHEDULES)
def test_rates_are_those_of_transformers(kind, warmup):
    ours = rates(lambda optimiser: schedule(kind, optimiser, warmup, 12))
    theirs = rates(lambda optimiser: get_scheduler(kind, optimiser, warmup, 12))
    assert ours == pytest.approx(theirs, rel=1e-12)
    assert (ours[0] == 0) == (warmup > 0 and kind != "constant")
