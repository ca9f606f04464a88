"""What of a `Trainer`'s arguments a method can honour: refusals that need no training. Those that do are in
`test_own_trainer`."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.optim import LBFGS, SGD, AdamW
from torch.optim.lr_scheduler import LinearLR, ReduceLROnPlateau

from lightning_moa.errors import UserError
from lightning_moa.methods.switches import number_of_objectives, optimiser_of, stepped, tell_left_over


def parameters(number=2):
    return [nn.Parameter(torch.ones(2)) for _ in range(number)]


def test_an_optimiser_comes_alone_or_with_its_schedule():
    given = parameters()
    optimiser, schedule = optimiser_of(AdamW, iter(given))
    assert isinstance(optimiser, AdamW)
    assert schedule is None
    assert optimiser.param_groups[0]["params"] == given
    assert stepped(AdamW, given).keys() == {"optimizer"}

    def both(parameters):
        made = SGD(parameters, lr=1.0)
        return made, LinearLR(made)

    optimiser, schedule = optimiser_of(both, given)
    assert isinstance(schedule, LinearLR)
    assert stepped(both, given)["lr_scheduler"]["interval"] == "step"
    # Some of them may stay as they are.
    assert optimiser_of(lambda all_of_them: (SGD(all_of_them[1:]), None), given)[1] is None


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (list, "an optimiser and its schedule; list came"),
        (lambda given: (AdamW(given),), r"its schedule; tuple of AdamW came"),
        (lambda given: (AdamW(given), 3), r"its schedule; tuple of AdamW, int came"),
        (lambda given: (LinearLR(AdamW(given)), None), r"its schedule; tuple of LinearLR, NoneType came"),
        (lambda given: (SGD(given), ReduceLROnPlateau(SGD(given))), "ReduceLROnPlateau waits for a metric"),
        (LBFGS, "LBFGS evaluates its losses several times"),
        (lambda given: SGD(parameters()), "none of the parameters that it was called with"),
    ],
)
def test_what_cannot_be_stepped_once_an_update_is_refused(make, said):
    with pytest.raises(UserError, match=f"^optimiser: .*{said}"):
        optimiser_of(make, parameters())


def test_a_policy_of_which_nothing_is_trained_is_refused():
    frozen = parameters()
    for each in frozen:
        each.requires_grad_(False)
    for none in (frozen, []):
        with pytest.raises(UserError, match=r"^nothing would be trained: no parameter has requires_grad"):
            optimiser_of(AdamW, none)


def test_batches_that_were_left_over_are_told(capsys):
    tell_left_over(0, 4, 0)
    tell_left_over(0, 4, 3)
    assert not capsys.readouterr().err
    tell_left_over(1, 4, 3)
    assert capsys.readouterr().err.startswith("warning: accumulate=4: the last 1 batches were too few")
    with pytest.raises(UserError, match=r"^accumulate=4: there were 3 batches, and no update was made"):
        tell_left_over(3, 4, 0)


def test_the_number_of_objectives_is_said_once():
    assert number_of_objectives(None, ("a", "b"), 2, "DPS") == 2
    assert number_of_objectives(None, None, 3, "DPS") == 3
    assert number_of_objectives(2, None, None, "DPS") == 2
    with pytest.raises(UserError, match=r"^DPS: how many objectives .* give objectives="):
        number_of_objectives(None, None, None, "DPS")
    with pytest.raises(UserError, match=r"^objectives=\['a'\]: 2 names are needed"):
        number_of_objectives(2, ("a",), None, "DPS")
