"""MODPO: DPO where there is no margin, arithmetic where there is, and the exact optimum for whichever base."""

from __future__ import annotations

from itertools import permutations
from types import SimpleNamespace

import lightning as L
import numpy as np
import pytest
import torch

from lightning_moa.data import build
from lightning_moa.data.configs import SyntheticConfig
from lightning_moa.data.training import TrainingData
from lightning_moa.errors import UserError
from lightning_moa.methods.dps import DPS
from lightning_moa.objectives import DPO, MODPO
from lightning_moa.objectives.held_out import keep_reference
from lightning_moa.objectives.modpo import modpo_losses, pair_rewards
from lightning_moa.objectives.settings import MODPOConfig
from lightning_moa.policies import LoRA, Policy, SVDLoRA, build_model
from lightning_moa.rewards import RuleRewards
from tests.objectives.batches import NAN, pairs
from tests.policies.models import preferences, shake, tiny

BETA = 0.5
LABELS = [[0.0, 1.0, 1.0], [1.0, NAN, 0.0], [1.0, 1.0, NAN], [0.0, 0.0, 0.0]]


def batch():
    made = pairs(LABELS, reference=Policy(tiny()))
    made.rewards = torch.randn(8, 3, generator=torch.Generator().manual_seed(1))
    return made


@pytest.mark.parametrize("objective", range(3))
def test_at_a_corner_it_is_dpo_on_that_objective(objective):
    policy, corner = shake(SVDLoRA(tiny(), k=2, m=3, seed=0)), torch.eye(3)[objective]
    wanted = DPO(BETA, 0.3).losses(policy, batch(), corner)[objective]
    torch.testing.assert_close(MODPO(BETA, 0.3).losses(policy, batch(), corner), wanted[None])


def test_equal_rewards_of_both_responses_leave_dpo_with_beta_over_the_weight():
    policy, even = shake(LoRA(tiny(), 2, seed=0)), torch.tensor([0.25, 0.5, 0.25])
    made = batch()
    made.rewards = torch.ones(8, 3)
    wanted = DPO(BETA / 0.5).losses(policy, made, even)[1]
    torch.testing.assert_close(MODPO(BETA).losses(policy, made, even)[0], wanted)


def test_the_margin_by_hand():
    """w = (.6, .4), base 0: (beta d - .4 g_1) / .6 = (1 - .4 * 2) / .6 = 1/3, towards response 0."""
    found = modpo_losses(
        torch.tensor([1.0]),
        torch.tensor([[0.0, 1.0]]),
        torch.tensor([[9.0, 2.0]]),
        torch.tensor([[0.6, 0.4]]),
        torch.tensor([0]),
    )
    torch.testing.assert_close(found, -torch.nn.functional.logsigmoid(torch.tensor([-1 / 3])))


@pytest.mark.parametrize("base", [None, 1])
def test_each_share_of_a_batch_has_its_own_preference_and_base(base):
    policy, made, rows = shake(SVDLoRA(tiny(), k=2, m=3, seed=0)), batch(), preferences(2, 3)
    objective = MODPO(BETA, 0.2, base)
    together = objective.losses(policy, made, rows)
    assert together.shape == (2, 1)
    for share, row in enumerate(rows):
        part = batch()
        half = slice(2 * share, 2 * share + 2)
        for name in ("input_ids", "attention_mask", "response_mask", "ref_logps", "rewards"):
            sides = getattr(made, name).chunk(2)
            setattr(part, name, torch.cat([side[half] for side in sides]))
        part.labels, part.index = made.labels[half], made.index[half]
        torch.testing.assert_close(together[share], objective.losses(policy, part, row))


WEIGHTS = torch.tensor([0.5, 0.2, 0.3], dtype=torch.float64)


@pytest.mark.parametrize("base", range(3))
def test_whichever_the_base_the_least_loss_is_that_of_the_exact_optimum(base):
    """Five one-token answers, all ordered pairs of them, labels with the base's Bradley-Terry probabilities."""
    draw = torch.Generator().manual_seed(2)
    rewards = 2 * torch.randn(5, 3, generator=draw, dtype=torch.float64)
    ref_logps = torch.randn(5, generator=draw, dtype=torch.float64).log_softmax(0)
    first, second = torch.tensor(list(permutations(range(5), 2))).T
    gains = rewards[second] - rewards[first]
    chances = gains[:, base].sigmoid()
    of_base = torch.full((len(first),), base)
    logits = ref_logps.clone().requires_grad_()
    optimiser = torch.optim.LBFGS(
        [logits], max_iter=500, tolerance_grad=1e-12, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def loss():
        optimiser.zero_grad()
        ratios = logits.log_softmax(0) - ref_logps
        margins = BETA * (ratios[second] - ratios[first])
        sides = [torch.full((len(first), 3), label, dtype=torch.float64) for label in (0.0, 1.0)]
        of_0, of_1 = (modpo_losses(margins, side, gains, WEIGHTS.expand(20, 3), of_base) for side in sides)
        total = (chances * of_1 + (1 - chances) * of_0).mean()
        total.backward()
        return total

    optimiser.step(loss)
    exact = (ref_logps + rewards @ WEIGHTS / BETA).log_softmax(0)
    torch.testing.assert_close(logits.detach().log_softmax(0), exact, atol=1e-5, rtol=0)


def test_an_updates_batches_count_by_the_bases_labels():
    assert MODPO(BETA).counts(pairs([[0.0, 1.0], [1.0, 1.0]])).tolist() == [2]
    assert MODPO(BETA, base=1).counts(batch()).tolist() == [3]
    assert MODPO(BETA).count(3) == 1


def rules(names):
    return RuleRewards(
        {
            name: lambda p, r, i=i: np.array([float(len(text) + i) for text in r])
            for i, name in enumerate(names)
        }
    )


def test_a_study_scores_both_responses_of_each_training_pair(tmp_path):
    data = build(SyntheticConfig(pairs=60, eval_pairs=20, sft_rows=20), ["helpful", "harmless"])
    table = data.table("train")
    keep_reference(tmp_path, "train", np.zeros((len(table), 2)), data)
    run = SimpleNamespace(
        settings=MODPOConfig(base="harmless"),
        objectives=("helpful", "harmless"),
        data=data,
        options={},
        folder=lambda role: tmp_path,
        rewards=lambda size: rules(("helpful", "harmless")),
    )
    assert MODPO.build(run).base == 1
    scored = MODPO.batch_inputs(run)["rewards"]
    tokenizer = data.world_tokenizer()
    data.use(tokenizer, "pairs", batch_size=4, steps=1, seed=0, **MODPO.batch_inputs(run))
    (made,) = data.train_dataloader()
    assert made.rewards.shape == (8, 2)
    for row, index in enumerate(made.index):
        for side in (0, 1):
            assert made.rewards[row + 4 * side, 0] == len(table.responses[index][side])
    assert scored.shape == (len(table), 2, 2)
    np.testing.assert_array_equal(scored, pair_rewards(rules(("helpful", "harmless")), table))


def test_a_trainer_of_ones_own_has_the_pairs_scored_first():
    data = TrainingData("synthetic", batch_size=8, options={"pairs": 40, "eval_pairs": 16, "sft_rows": 20})
    model = build_model(tokenizer=data.tokenizer, hidden_size=16, layers=1, heads=2)
    trainer = L.Trainer(
        accelerator="cpu", max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False
    )
    objective = MODPO(BETA, rewards=rules(data.objectives))
    trainer.fit(DPS(LoRA(model, 2, seed=0), objective, m=2, at=[0.4, 0.6]), data)
    assert torch.isfinite(trainer.callback_metrics["loss"])
    assert torch.isfinite(trainer.callback_metrics["val/loss"]), "one loss is told once"
    with pytest.raises(UserError, match="MODPO: rewards="):
        MODPO(BETA).prepare(Policy(tiny()), SimpleNamespace(), [])


def test_a_base_that_cannot_be_is_refused():
    plan = SimpleNamespace(settings=MODPOConfig(base="brief"), objectives=("helpful", "harmless"))
    with pytest.raises(UserError, match=r"modpo\.base=brief: allowed are helpful, harmless"):
        MODPO.check(plan)
    policy = shake(LoRA(tiny(), 2, seed=0))
    with pytest.raises(UserError, match="has a weight of 0"):
        MODPO(BETA, base=1).losses(policy, batch(), torch.tensor([1.0, 0.0, 0.0]))
    for base in (5, -1):
        with pytest.raises(UserError, match=rf"MODPO\(base={base}\): allowed are the places 0 to 2 of 3 obj"):
            MODPO(BETA, base=base).counts(batch())
