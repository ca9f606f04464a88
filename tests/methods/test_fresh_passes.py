"""Gradients of a forward pass each: the same update as of one shared pass, and no pass is gone back through twice."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from lightning_moa.config import MethodConfig
from lightning_moa.data.configs import SyntheticConfig
from lightning_moa.errors import UserError
from lightning_moa.methods.products import GAPO_P1_PPO, LINEAR_PPO
from lightning_moa.methods.watching import GradientWatch
from lightning_moa.policies import PROBES
from lightning_moa.study.chosen import schema_of
from lightning_moa.study.planning import plan_study
from tests.methods.fitting import state, train
from tests.methods.test_gapo_methods import method, names, objective, policy
from tests.objectives.rollouts import prompts

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers.*", "ignore:.*LeafSpec.*")


@pytest.mark.parametrize("probe", PROBES)
@pytest.mark.parametrize("kind", ["mgda", "gapo_p1", "pgapo"])
def test_the_update_is_that_of_one_shared_pass(kind, probe):
    after = []
    for fresh in (False, True):
        trained = policy()
        train(method(kind, 3, trained, probe=probe, fresh_passes=fresh), [prompts(8)])
        after.append(state(trained))
    torch.testing.assert_close(after[1], after[0], rtol=1e-6, atol=1e-7)
    assert not torch.equal(after[0], state(policy()))


def test_each_pass_is_gone_back_through_once(monkeypatch):
    trained, made = policy(), objective(3)
    passes = []
    losses = made.losses
    monkeypatch.setattr(made, "losses", lambda *given: passes.append(losses(*given)) or passes[-1])
    train(method("gapo_p1", 3, trained, made, fresh_passes=True), [prompts(4)])
    assert len(passes) == 4
    for one in passes:
        with pytest.raises(RuntimeError, match="second time"):
            one.sum().backward()


def test_a_watch_is_refused():
    trained = policy()
    with pytest.raises(UserError, match="watch with probe_passes=fresh"):
        method("mgda", 2, trained, watch=GradientWatch(trained, names(2), 1), fresh_passes=True)


def test_a_study_says_which_passes_and_refuses_to_watch_fresh_ones():
    methods = {"gapo": GAPO_P1_PPO, "linear": LINEAR_PPO}
    config = schema_of(methods)(data=SyntheticConfig(), seeds=[0], probe_passes="fresh")
    policies = plan_study(config, methods).seeds[0].policies
    assert policies["gapo"][0].spec["fresh_passes"] is True
    assert policies["linear"][0].spec["fresh_passes"] is False
    config.methods["gapo"] = replace(MethodConfig(), watch=5)
    told = r"methods.gapo.watch=5: with probe_passes=fresh, and with ZeRO-3, it must be 0"
    with pytest.raises(UserError, match=told):
        plan_study(config, methods)
