"""Sampling with the policy that is trained, and scoring what it said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from lightning_moa.batches import PromptBatch
from lightning_moa.errors import UserError
from lightning_moa.policies import Policy, Responses, generate, token_logps
from lightning_moa.processes import is_partitioned, rows_of_joint_batch
from lightning_moa.rewards import Rewards
from lightning_moa.rewards.base import check_scores


@dataclass(frozen=True)
class Sampling:
    """How responses are sampled in training."""

    max_new_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0


def sample_responses(
    policy: Policy, batch: PromptBatch, preference: Tensor | None, sampling: Sampling, seed: int
) -> Responses:
    """One response to each prompt; the noise of a row depends on the seed and its place in the batch."""
    return generate(
        policy,
        batch.input_ids,
        batch.attention_mask,
        preference=preference,
        max_new_tokens=sampling.max_new_tokens,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        seed=seed,
        row_keys=rows_of_joint_batch(len(batch.input_ids), batch.input_ids.device),
        # Where weights are shared out, a process that is done must go on stepping for those that are not.
        synced_gpus=is_partitioned(policy),
        room=batch.room,
    )


def score_responses(rewards: Rewards, tokenizer: Any, batch: PromptBatch, sampled: Responses) -> Tensor:
    """(batch, m) float32 scores of the responses' texts, higher is better."""
    kept = [tokens[present] for tokens, present in zip(sampled.tokens.cpu(), sampled.mask.cpu(), strict=True)]
    texts = tokenizer.batch_decode(kept, skip_special_tokens=True)
    found = check_scores(rewards.scores(batch.prompts, texts), rewards.objectives, len(texts))
    scores = torch.from_numpy(found)
    return scores.float().to(batch.input_ids.device)


def response_token_logps(
    policy: Policy, input_ids: Tensor, attention_mask: Tensor, mask: Tensor, preference: Tensor | None
) -> Tensor:
    """(batch, time) log-probs of each response token, 0 on padding; the response is the last `time` columns."""
    time = mask.shape[1]
    logits = policy(input_ids, attention_mask, preference, last=time + 1)
    return token_logps(logits, input_ids[:, -time - 1 :])[:, 1:].masked_fill(~mask, 0.0)


@torch.no_grad()
def reference_pass(
    policy: Policy, input_ids: Tensor, attention_mask: Tensor, mask: Tensor
) -> tuple[Tensor, Tensor]:
    """The reference's log-probs (batch, time) and last hidden states (batch, time, width), in one forward pass.

    It runs on the policy's own base weights, adapters off. The hidden state of column t is the one before token t,
    which a value of that state may look at.
    """
    time = mask.shape[1]
    with policy.reference():
        out = policy.run(input_ids, attention_mask, time + 1, output_hidden_states=True)
    logps = token_logps(out.logits[:, -time - 1 :], input_ids[:, -time - 1 :])[:, 1:].masked_fill(~mask, 0.0)
    return logps, out.hidden_states[-1][:, -time - 1 : -1]


@torch.no_grad()
def sampled_means(
    policy: Policy,
    batch: PromptBatch,
    preference: Tensor | None,
    sampling: Sampling,
    seed: int,
    rewards: Rewards,
    tokenizer: Any,
) -> tuple[Tensor, Tensor, Tensor]:
    """Of one response to each prompt: mean scores (m,), unscaled; the KL from the reference, (1,), nats per response;
    and their length, (1,), tokens."""
    sampled = sample_responses(policy, batch, preference, sampling, seed)
    ids = torch.cat([batch.input_ids, sampled.tokens], dim=1)
    attention = torch.cat([batch.attention_mask.bool(), sampled.mask], dim=1)
    own = response_token_logps(policy, ids, attention, sampled.mask, preference)
    kl = (own - reference_pass(policy, ids, attention, sampled.mask)[0]).sum(1).mean()
    scores = score_responses(rewards, tokenizer, batch, sampled).mean(0)
    return scores, kl[None], sampled.mask.sum(1).float().mean()[None]


def preference_rows(preference: Tensor | None, like: Tensor) -> Tensor:
    """The preference as one row per example, (batch, m), of the type and on the device of `like`."""
    if preference is None:
        raise UserError("this objective weighs by the preference, and none was given")
    rows = preference.to(like)
    return rows.expand(len(like), -1) if rows.ndim == 1 else rows


def factors(key: str, given: Sequence[float] | None, m: int, default: float) -> Tensor:
    """(m,) the values given under a key, or the default for each objective."""
    values = [default] * m if given is None else [float(value) for value in given]
    if len(values) != m:
        raise UserError(f"{key} has {len(values)} values for {m} objectives: one each is needed")
    return torch.tensor(values)


def seed_of(seed: int, step: int) -> int:
    """A seed of its own for every batch."""
    return (seed * 1_000_003 + step) % 2**63


def repeated(batch: PromptBatch, group: int) -> PromptBatch:
    """Each prompt so many times in a row."""

    def rows(values: Sequence[str]) -> list[str]:
        return [value for value in values for _ in range(group)]

    tensors = {
        name: value.repeat_interleave(group, 0)
        for name, value in vars(batch).items()
        if isinstance(value, Tensor)
    }
    return replace(batch, prompts=rows(batch.prompts), **tensors)
