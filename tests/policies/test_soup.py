"""Rewarded Soups: exact interpolation of updates."""

from __future__ import annotations

import copy

import pytest
import torch

from lightning_moa.errors import UserError
from lightning_moa.policies import Heads, LoRA, RewardedSoup, SVDLoRA
from tests.policies.models import preferences, shake, tiny, tokens


@pytest.fixture
def members(tmp_path):
    """Three saved members of different kinds and ranks on one base, and their merged weights."""
    base = tiny()
    policies = [
        shake(LoRA(copy.deepcopy(base), 2, scaling=0.7), 1),
        shake(SVDLoRA(copy.deepcopy(base), 3, 0, scaling=1.3), 2),
        shake(LoRA(copy.deepcopy(base), 5), 3),
    ]
    folders = [tmp_path / f"member-{i}" for i in range(3)]
    for policy, folder in zip(policies, folders, strict=True):
        policy.save(folder)
    return base, folders, [policy.merge() for policy in policies]


def averaged(merged, weights):
    model = copy.deepcopy(merged[0])
    for name, parameter in model.named_parameters():
        parameters = [dict(one.named_parameters())[name].detach() for one in merged]
        parameter.data = sum(weight * one for weight, one in zip(weights, parameters, strict=True))
    return model


def test_soup_is_the_average_of_the_merged_weights(members):
    base, folders, merged = members
    soup = RewardedSoup.from_folders(base, folders)
    assert soup.m == 3
    assert not soup.trainable_parameters()
    ids, mask = tokens()
    for weights in (*preferences(3, 3), *torch.eye(3)):
        expected = averaged(merged, weights)(input_ids=ids, attention_mask=mask).logits
        torch.testing.assert_close(soup(ids, mask, weights), expected, atol=1e-4, rtol=1e-5)
        plain = soup.merge(weights)
        torch.testing.assert_close(
            plain(input_ids=ids, attention_mask=mask).logits, expected, atol=1e-4, rtol=1e-5
        )


def test_soup_is_not_the_average_of_the_factors(tmp_path):
    base = tiny()
    policies = [shake(LoRA(copy.deepcopy(base), 3), seed) for seed in (1, 2)]
    for i, policy in enumerate(policies):
        policy.save(tmp_path / str(i))
    soup = RewardedSoup.from_folders(copy.deepcopy(base), [tmp_path / "0", tmp_path / "1"])
    halves = LoRA(base, 3)
    states = [policy.trained_state() for policy in policies]
    halves.load_trained_state({name: (states[0][name] + states[1][name]) / 2 for name in states[0]})
    ids, mask = tokens()
    assert (soup(ids, mask, torch.tensor([0.5, 0.5])) - halves(ids, mask)).abs().max() > 0.1


def test_a_soup_takes_preferences_per_example(members):
    base, folders, _ = members
    soup = RewardedSoup.from_folders(base, folders)
    ids, mask = tokens(4)
    rows = preferences(4, 3)
    together = soup(ids, mask, rows)
    for i, row in enumerate(rows):
        torch.testing.assert_close(together[i], soup(ids, mask, row)[i], atol=1e-4, rtol=1e-5)


def test_a_soup_needs_a_preference(members):
    base, folders, _ = members
    soup = RewardedSoup.from_folders(base, folders)
    with pytest.raises(UserError, match="none was given"):
        soup(*tokens())


def test_refuses_steered_members_and_leaves_the_base_usable(tmp_path):
    SVDLoRA(tiny(), 2, 2).save(tmp_path)
    base = tiny()
    with pytest.raises(UserError, match="know no preference"):
        RewardedSoup.from_folders(base, [tmp_path])
    LoRA(base, 2)


def test_refuses_members_with_heads_of_their_own(tmp_path):
    Heads(tiny(), 2, 2, seed=0).save(tmp_path)
    with pytest.raises(UserError, match="heads of its own"):
        RewardedSoup.from_folders(tiny(), [tmp_path])


def test_refuses_members_that_adapt_other_layers(tmp_path):
    LoRA(tiny(), 2).save(tmp_path / "a")
    LoRA(tiny(), 2, targets="layers.").save(tmp_path / "b")
    with pytest.raises(UserError, match="other layers"):
        RewardedSoup.from_folders(tiny(), [tmp_path / "a", tmp_path / "b"])
    with pytest.raises(UserError, match="at least one"):
        RewardedSoup.from_folders(tiny(), [])
