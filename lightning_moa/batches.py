"""The typed batches that travel from a data module to an objective.

Token tensors have shape (batch, time). Masks are boolean and mark tokens at their own position (not
shifted by one): `response_mask[b, t]` is True where `input_ids[b, t]` is a token of the response, its
closing EOS included. Sequences to train on are padded on the right, prompts to sample from on the left.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor


@dataclass
class SequenceBatch:
    """Prompts with one response each."""

    input_ids: Tensor
    """(batch, time) token ids of prompt and response, padded on the right."""
    attention_mask: Tensor
    """(batch, time) bool, False on padding."""
    response_mask: Tensor
    """(batch, time) bool, True on the response's tokens and its EOS."""
    rewards: Tensor | None = None
    """(batch, m) reward of the response for each objective, higher is better; None where unknown."""


@dataclass
class PairBatch:
    """Prompts with two responses each, and for each objective the index of the better one.

    Rows 0 .. batch-1 of the token tensors hold response 0, rows batch .. 2*batch-1 hold response 1 of the
    same prompts, so that one forward pass sees both.
    """

    input_ids: Tensor
    """(2 * batch, time) token ids, padded on the right."""
    attention_mask: Tensor
    """(2 * batch, time) bool, False on padding."""
    response_mask: Tensor
    """(2 * batch, time) bool, True on the responses' tokens and their EOS."""
    labels: Tensor
    """(batch, m) float: 0.0 or 1.0, the index of the better response; NaN where nobody said."""
    index: Tensor
    """(batch,) int64, position in the split: the key under which reference log-probs are cached."""
    ref_logps: Tensor | None = None
    """(2 * batch,) summed log-probs of the responses under the reference policy; None until cached."""
    rewards: Tensor | None = None
    """(2 * batch, m) reward of each response for each objective, higher is better; None where nothing scored them."""


@dataclass
class PromptBatch:
    """Prompts to sample responses to."""

    input_ids: Tensor
    """(batch, time) token ids, padded on the left."""
    attention_mask: Tensor
    """(batch, time) bool, False on padding."""
    prompts: list[str]
    """The prompts as text, without the template, as reward callables want them: what `input_ids` hold of them."""
    index: Tensor
    """(batch,) int64, position in the split."""
    room: Tensor | None = None
    """(batch,) int64, most tokens of a response to each; None: any number."""


@dataclass
class Rollout:
    """Responses that the trained policy has sampled, scored and compared.

    `time` counts response tokens: column t of `mask`, `logps`, ... speaks of the t-th token of the response, which is
    column `prompt + t` of `input_ids`. k is the number of advantages: m, or 1 where the scores were scalarised.
    """

    input_ids: Tensor
    """(batch, prompt + time) prompts padded on the left, then responses padded on the right."""
    attention_mask: Tensor
    """(batch, prompt + time) bool, False on padding."""
    mask: Tensor
    """(batch, time) bool, True on the response's tokens, its EOS included."""
    logps: Tensor
    """(batch, time) log-probs under the policy that sampled, 0 on padding."""
    ref_logps: Tensor
    """(batch, time) log-probs under the reference policy, 0 on padding."""
    scores: Tensor
    """(batch, m) rewards of the whole responses, higher is better."""
    advantages: Tensor
    """(batch, time, k), or (batch, 1, k) where all tokens of a response have one."""
    preference: Tensor | None
    """(batch, m), or (m,) for all rows; None where the policy knows no preference."""


@dataclass
class CriticRollout(Rollout):
    """A rollout with what a critic (k value functions) saw and said of it."""

    hidden: Tensor
    """(batch, time, width) the reference's last hidden state before each token: what the critic sees."""
    values: Tensor
    """(batch, time, k) the critic's values before the update."""
    returns: Tensor
    """(batch, time, k) what the values are fitted to."""
    given: SequenceBatch | None = None
    """As many responses that were not sampled, whose likelihood is raised beside the rewards (PTX); None: none."""


def moved(batch: Any, device: torch.device) -> Any:
    """The typed batch with its tensors on a device."""
    tensors = {
        name: value.to(device) for name, value in vars(batch).items() if isinstance(value, torch.Tensor)
    }
    return replace(batch, **tensors)
