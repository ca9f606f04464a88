"""The room's names: each leads to its class, whose sections are the table's, and which a study can build."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from lightning_moa.answers import load
from lightning_moa.errors import UserError
from lightning_moa.policies import LoRA, Policy, SVDLoRA, load_policy
from lightning_moa.policies.files import kind_of
from lightning_moa.policies.names import POLICIES
from lightning_moa.policies.settings import AdapterConfig, HeadsConfig, RiCConfig
from tests.policies.models import shake, tiny, tokens
from tests.policies.test_prompted import Letters


def run(m=2, seed=0, options=(), **sections):
    """What a training hands to `Policy.build`."""
    own = {"adapter": AdapterConfig(rank=3), "heads": HeadsConfig(number=3), "ric": RiCConfig()}
    settings, model = own | sections, tiny().requires_grad_(False)
    return SimpleNamespace(
        m=m,
        seed=seed,
        options=dict(options),
        model=model,
        tokenizer=Letters(),
        section=lambda name: settings[name],
    )


@pytest.mark.parametrize("name", POLICIES)
def test_a_name_leads_to_its_class_and_the_class_names_its_sections(name):
    known = POLICIES[name]
    kind = load(known.path)
    assert issubclass(kind, Policy)
    assert kind.sections == known.sections
    assert kind_of(kind) == known.path


@pytest.mark.parametrize("name", POLICIES)
def test_what_a_study_builds_is_trained_saved_and_built_again(name, tmp_path):
    plain = {"targets": "all-linear"} if name == "heads" else {}
    policy = shake(load(POLICIES[name].path).build(run(adapter=AdapterConfig(rank=3, **plain))))
    assert policy.trainable_parameters()
    policy.save(tmp_path)
    again = load_policy(tiny(), tmp_path)
    half = torch.tensor([0.4, 0.6])
    for (first, member), (second, other) in zip(policy.members(), again.members(), strict=True):
        assert first == second
        assert torch.equal(member(*tokens(), half), other(*tokens(), half))
    assert len(policy.members()) == (3 if name == "heads" else 1)
    assert policy.several == (3 if name == "heads" else None)


def test_settings_reach_the_svd_lora():
    adapter = AdapterConfig(rank=3, scaling=2.0, targets="layers.", dropout=0.1, orthogonality=0.2)
    policy = SVDLoRA.build(run(m=4, adapter=adapter))
    assert (policy.k, policy.m, policy.orthogonality_weight) == (3, 4, 0.2)
    assert len(policy.targets) == 14
    assert policy.options()["scaling"] == 2.0
    assert policy.options()["dropout"] == 0.1
    fixed = SVDLoRA.build(run(adapter=AdapterConfig(rank=3, fixed_scale=0.1)))
    assert fixed.options()["fixed_scale"] == 0.1


def test_unsteered_the_svd_lora_has_one_more_singular_value_and_no_fixed_scale():
    policy = SVDLoRA.build(run(options={"steered": False}, adapter=AdapterConfig(rank=3, fixed_scale=0.1)))
    assert (policy.k, policy.m) == (4, 0)
    assert policy.options()["fixed_scale"] is None


@pytest.mark.parametrize("name", ["lora", "heads", "prompted"])
def test_a_policy_without_singular_vectors_refuses_their_penalty(name):
    kind = load(POLICIES[name].path)
    told = rf"adapter.orthogonality=0.5: {kind.__name__} has no singular vectors; allowed is 0"
    with pytest.raises(UserError, match=told):
        kind.build(run(adapter=AdapterConfig(orthogonality=0.5)))


class Own(LoRA):
    """Built by the form's default: the fields of its section are its arguments."""

    sections = {"own": AdapterConfig}  # noqa: RUF012
    build = classmethod(Policy.build.__func__)

    def __init__(self, model, rank, scaling, targets, dropout, fixed_scale, orthogonality, m, more):
        super().__init__(model, rank, scaling=scaling, targets=targets, dropout=dropout)
        self.given = (m, more, orthogonality)


def test_by_default_a_policy_is_built_of_its_sections_fields_and_what_the_method_says():
    settings = {"own": AdapterConfig(rank=5, orthogonality=0.3)}
    policy = Own.build(run(m=3, options={"more": "x", "rank": 4}, **settings))
    assert policy.given == (3, "x", 0.3)
    assert policy.options()["rank"] == 4
