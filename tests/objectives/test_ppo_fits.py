"""What PPO reaches: the exact optimum of one-token answers, and a higher score in the synthetic world."""

import numpy as np
import torch

from lightning_moa.aggregation import Linear
from lightning_moa.batches import PromptBatch
from lightning_moa.data import build
from lightning_moa.data.configs import SyntheticConfig
from lightning_moa.methods.dps import DPS
from lightning_moa.methods.panacea import Panacea
from lightning_moa.objectives import PPO, PPOSettings
from lightning_moa.objectives.rollout import Sampling
from lightning_moa.policies import SVDLoRA, build_model
from lightning_moa.policies.critic import Critic
from lightning_moa.rewards import RuleRewards
from tests.methods.fitting import adam, train
from tests.objectives.rollouts import ppo, prompts
from tests.policies.models import VOCABULARY, tiny

HALF = torch.tensor([0.3, 0.7])

TABLE = torch.rand(VOCABULARY, 2, generator=torch.Generator().manual_seed(3)) * 2


def of_token(objective):
    """The table's reward of a one-token answer; an answer without a word (EOS) gets 0."""

    def rule(prompts, responses):
        tokens = [int(text[1:]) if text else -1 for text in responses]
        return np.array([float(TABLE[token, objective]) if token >= 0 else 0.0 for token in tokens])

    return rule


def regrets(policy, batch, grid, beta):
    """Exact regret of one-token answers at each preference, value(pi*) - (lambda . E[r] - beta KL)."""
    rewards = TABLE.double().clone()
    rewards[:3] = 0.0
    with torch.no_grad():
        out = []
        for preference in grid:
            logits = policy(batch.input_ids, batch.attention_mask, preference, last=1)[:, 0].double()
            with policy.reference():
                reference = policy(batch.input_ids, batch.attention_mask, last=1)[:, 0].double()
            logps, ref_logps = logits.log_softmax(-1), reference.log_softmax(-1)
            utility = rewards @ preference.double()
            kl = (logps.exp() * (logps - ref_logps)).sum(-1)
            best = beta * (ref_logps + utility / beta).logsumexp(-1)
            out.append((best - (logps.exp() @ utility - beta * kl)).mean())
    return torch.stack(out)


def train_on_table(method, policy, at, steps, beta):
    objective = ppo(
        2,
        tokens=1,
        kl_coeff=beta,
        critic_m=policy.m,
        weigh="advantages",
        rules={"first": of_token(0), "second": of_token(1)},
    )
    options = {} if at else {"preferences_per_batch": 8}
    module = method(policy, objective, Linear(), adam(2e-2), m=2, seed=0, at=at, **options)
    train(module, [many_prompts()] * steps)


def many_prompts():
    """Each of four prompts 32 times, so that a batch holds many draws of each."""
    batch = prompts(4)
    return PromptBatch(
        batch.input_ids.repeat(32, 1),
        batch.attention_mask.repeat(32, 1),
        batch.prompts * 32,
        torch.arange(128),
    )


def test_one_preferences_policy_comes_close_to_the_exact_optimum():
    policy, beta = SVDLoRA(soft(), k=4, m=0, seed=0), 0.3
    grid = HALF[None]
    before = regrets(policy, prompts(4), grid, beta)
    train_on_table(DPS, policy, HALF.tolist(), 60, beta)
    after = regrets(policy, prompts(4), grid, beta)
    assert before.item() > 0.2
    assert after.item() < 0.05 * before.item()
    assert after.item() > -1e-6


def test_one_policy_of_all_preferences_comes_closer_at_each():
    policy, beta = SVDLoRA(soft(), k=4, m=2, seed=0), 0.3
    grid = torch.tensor([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]])
    before = regrets(policy, prompts(4), grid, beta)
    train_on_table(Panacea, policy, None, 60, beta)
    after = regrets(policy, prompts(4), grid, beta)
    assert (after < 0.1 * before).all()


def soft():
    """A tiny model whose logits are close to even, so that every answer is sampled."""
    model = tiny()
    with torch.no_grad():
        model.lm_head.weight.div_(20)
    return model


def test_a_short_fit_in_the_synthetic_world_raises_the_score():
    data = build(SyntheticConfig(pairs=200, eval_pairs=200, sft_rows=100), ["helpful", "harmless"])
    tokenizer = data.world_tokenizer()
    special = {f"{name}_id": getattr(tokenizer, f"{name}_token_id") for name in ("pad", "bos", "eos")}
    model = build_model(
        vocab_size=len(tokenizer), hidden_size=32, layers=1, heads=2, max_positions=24, **special
    )
    policy = SVDLoRA(model, 4, 0, seed=0)
    objective = PPO(
        RuleRewards(data.gold_rewards()),
        Critic(32, 2),
        adam(1e-2),
        tokenizer,
        Sampling(8),
        PPOSettings(kl_coeff=0.05, weigh="advantages"),
    )
    data.use(tokenizer, "prompts", batch_size=64, steps=40, seed=0)
    method = DPS(policy, objective, Linear(), adam(2e-2), m=2, seed=0, at=[0.5, 0.5])
    batch = next(iter(data.batches(tokenizer, "eval", "prompts", 200)))

    def mean_score():
        return objective.rollout(policy, batch, HALF, step=10_000).scores.mean().item()

    before = mean_score()
    train(method, list(data.train_dataloader()))
    assert mean_score() > before + 0.3
