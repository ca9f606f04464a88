"""An update of several batches is the update of their rows together."""

from __future__ import annotations

import pytest
import torch

from lightning_moa.aggregation import Linear, Tchebycheff
from lightning_moa.errors import UserError
from lightning_moa.methods.accumulation import preference_of_batch, shares
from lightning_moa.methods.dps import DPS
from lightning_moa.methods.panacea import Panacea
from lightning_moa.objectives import DPO, Likelihood
from lightning_moa.policies import Policy
from tests.methods.fitting import adapter, labelled, sgd, state, train
from tests.objectives.batches import NAN, pairs, share
from tests.policies.models import shake, tiny

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers.*", "ignore:.*LeafSpec.*")

AT = [0.25, 0.75]
MISSING = [[0, 1], [1, NAN], [NAN, 0], [1, 1], [NAN, 0], [NAN, NAN], [0, NAN], [NAN, 1]]
"""The first objective has 3, 1 and 1 labels in halves and quarters of it, the second others."""


def halves_of(batch, parts: int):
    size = len(batch.labels) // parts
    return [share(batch, slice(i * size, (i + 1) * size)) for i in range(parts)]


def trained(make, batches, accumulate: int, steered: int = 0) -> torch.Tensor:
    policy = shake(adapter(steered))
    train(make(policy, accumulate=accumulate), batches)
    return state(policy)


def check(make, batch, parts: int, steered: int = 0) -> None:
    """Two updates in parts end where two on whole batches end, and not where they began."""
    whole = trained(make, [batch, batch], 1, steered)
    split = trained(make, 2 * halves_of(batch, parts), parts, steered)
    assert not torch.allclose(whole, state(shake(adapter(steered))), atol=1e-4)
    torch.testing.assert_close(split, whole, rtol=1e-4, atol=2e-6)


def dps(objective, aggregator=None):
    def make(policy, **options):
        return DPS(policy, objective, aggregator or Linear(), sgd(), m=2, seed=0, at=AT, **options)

    return make


class WithShared(DPO):
    """With responses' likelihood as a loss beside, whose tokens are not spread evenly."""

    def shared_loss(self, policy, part, preference):
        return Likelihood().losses(policy, part)[0]

    def shared_counts(self, part):
        return Likelihood().counts(part)


@pytest.mark.parametrize("parts", [2, 4])
@pytest.mark.parametrize("objective", [DPO(0.3), DPO(0.3, likelihood=0.1), WithShared(0.3), Likelihood()])
def test_labels_and_tokens_count_alike_in_whichever_batch_they_are(objective, parts):
    check(dps(objective), pairs(MISSING, 3, Policy(tiny())), parts)


@pytest.mark.parametrize("preferences", [1, 2, 4, 8])
def test_the_preferences_of_an_update_are_drawn_once(preferences):
    def make(policy, **options):
        return Panacea(
            policy, DPO(0.3), Linear(), sgd(), m=2, seed=0, preferences_per_batch=preferences, **options
        )

    check(make, labelled(8), 4, steered=2)


def test_a_preferences_missing_labels_count_in_its_own_share():
    def make(policy, **options):
        return Panacea(policy, DPO(0.3), Linear(), sgd(), m=2, seed=0, preferences_per_batch=2, **options)

    check(make, pairs(MISSING, 3, Policy(tiny())), 4, steered=2)


def test_what_is_not_linear_looks_at_each_batch_by_itself():
    batch, make = pairs(MISSING, 3, Policy(tiny())), dps(DPO(0.3), Tchebycheff())
    first, second = halves_of(batch, 2)
    policy = shake(adapter(0))
    before, sizes = state(policy), []
    for each in (first, second):
        total = Tchebycheff()(DPO(0.3).losses(policy, each, None), torch.tensor(AT))
        sizes.append(
            torch.cat([g.flatten() for g in torch.autograd.grad(total, policy.trainable_parameters())])
        )
    step = trained(make, [first, second], 2) - before
    torch.testing.assert_close(step, -0.1 * (sizes[0] + sizes[1]) / 2, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    ("groups", "batches", "expected"),
    [
        (2, 4, [0, 0, 1, 1]),
        (4, 4, [0, 1, 2, 3]),
        (8, 4, [[0, 1], [2, 3], [4, 5], [6, 7]]),
        (3, 1, [[0, 1, 2]]),
        (3, 2, [[0, 1, 2], [0, 1, 2]]),
    ],
)
def test_each_batch_has_the_preferences_of_its_rows(groups, batches, expected):
    preference = torch.arange(groups)[:, None].expand(-1, 2)
    found = [preference_of_batch(preference, part, batches)[..., 0].tolist() for part in range(batches)]
    assert found == expected


def test_shares_of_batches():
    counts = [torch.tensor([3, 0]), torch.tensor([1, 0])]
    assert [each.tolist() for each in shares(counts, 1)] == [[1.5, 0.0], [0.5, 0.0]]
    assert (
        shares(counts, 4)
        == shares([*counts, *counts[:1]], 2)[:2]
        == shares(counts[:1], 1) * 2
        == [None, None]
    )
    assert shares([None, None], 1) == [None, None]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"accumulate": 0}, "accumulate=0: allowed are whole numbers of at least 1"),
        ({"accumulate": 1.5}, "accumulate=1.5"),
        ({"seed": -1}, "seed=-1: allowed are whole numbers of at least 0"),
        ({"grad_clip": -1.0}, "grad_clip=-1.0"),
        ({"grad_clip": float("nan")}, "grad_clip=nan"),
        ({"objectives": ["a", "a"]}, "each name may be there once"),
    ],
)
def test_numbers_that_would_be_passed_over_are_refused(given, said):
    with pytest.raises(UserError, match=said):
        Panacea(adapter(2), DPO(0.1), **given)
