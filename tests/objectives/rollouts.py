"""Prompts, rewards and PPO objectives on tiny policies for the tests of this room."""

from __future__ import annotations

import numpy as np
import torch

from lightning_moa.batches import PromptBatch
from lightning_moa.objectives import PPO, PPOSettings
from lightning_moa.objectives.rollout import Sampling
from lightning_moa.policies.critic import Critic
from lightning_moa.rewards import RuleRewards
from tests.methods.fitting import adam
from tests.policies.models import EOS, PAD, VOCABULARY


class Words:
    """Tokens as words, special ones left out."""

    def batch_decode(self, rows, skip_special_tokens):
        assert skip_special_tokens
        return [" ".join(f"t{int(token)}" for token in row if token not in (PAD, EOS)) for row in rows]


def prompts(count: int = 4, time: int = 4, extra: int = 0, seed: int = 1) -> PromptBatch:
    """Prompts of 2 to `time` tokens, padded on the left by `extra` columns more than they need."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, VOCABULARY, (count, time), generator=generator)
    lengths = 2 + torch.arange(count) % (time - 1)
    ids = ids.masked_fill(torch.arange(time)[None] < time - lengths[:, None], PAD)
    ids = torch.nn.functional.pad(ids, (extra, 0), value=PAD)
    return PromptBatch(ids, ids != PAD, [f"prompt {i}" for i in range(count)], torch.arange(count))


def length(prompts, responses):
    return np.array([float(len(text.split())) for text in responses])


def evens(prompts, responses):
    """Share of the words with an even number."""
    words = [text.split() for text in responses]
    return np.array([np.mean([int(word[1:]) % 2 == 0 for word in row] or [0.0]) for row in words])


def firsts(prompts, responses):
    """The number of the first word, over the vocabulary's size."""
    return np.array([int((text.split() or ["t0"])[0][1:]) / VOCABULARY for text in responses])


RULES = {"long": length, "even": evens, "first": firsts}
MIDDLES = {"long": 4.0, "even": 0.5, "first": 0.5}


def centred(m: int):
    """The first m rules around values in their middle. Rewards that are all positive have gradients that agree: raise
    whatever was sampled. These conflict."""
    return {name: (lambda p, r, name=name: RULES[name](p, r) - MIDDLES[name]) for name in list(RULES)[:m]}


def ppo(
    m: int = 2, *, tokens: int = 5, critic_m: int = 0, outputs: int | None = None, seed: int = 0, **options
):
    """PPO on the first m rules; `options` are settings, or `scale`, `objective_scale`, `ideal_point`, `rules`,
    `temperature`."""
    rules = options.pop("rules", dict(list(RULES.items())[:m]))
    passed = {
        name: options.pop(name) for name in ("scale", "objective_scale", "ideal_point") if name in options
    }
    sampling = Sampling(tokens, options.pop("temperature", 1.0))
    settings = PPOSettings(**options)
    outputs = outputs or (1 if settings.weigh.endswith("_reward") else m)
    torch.manual_seed(seed)
    critic = Critic(16, outputs, critic_m)
    return PPO(RuleRewards(rules), critic, adam(1e-2), Words(), sampling, settings, seed=seed, **passed)
