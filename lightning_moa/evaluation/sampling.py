"""Responses sampled on a grid of preferences, scored, and summed up as rows of points.csv."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from lightning_moa.batches import PromptBatch
from lightning_moa.policies import Policy, generate, response_logps
from lightning_moa.policies.vocabulary import ends_of
from lightning_moa.processes import all_objects
from lightning_moa.rewards import Rewards
from lightning_moa.task_files import RULES, SCORES


@dataclass(frozen=True)
class Decoding:
    """How responses are sampled. Equal seeds give all policies and preferences the same noise for a prompt."""

    max_new_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int = 0


@torch.no_grad()
def sample_grid(
    policy: Policy, batches: Iterable[PromptBatch], preferences: Tensor, decoding: Decoding, tokenizer: Any
) -> pd.DataFrame:
    """One response to each prompt under each preference, all preferences in one batched generation.

    Args:
        policy: takes any preference.
        batches: prompts.
        preferences: (n, m).
        decoding: sampling settings.
        tokenizer: turns tokens into text.

    Returns:
        One row per preference and prompt: `preference` (row of the grid), `prompt_index`, `prompt`, `response`,
        `tokens` (its length, EOS included), `log_ratio` = log q(y|x) - log pi_ref(y|x), whose mean estimates the KL
        divergence from the reference in nats per response. q is what is sampled from: the policy, but where
        `temperature` or `top_p` make it another (then it is not 0 for the reference itself).
    """
    return in_order([_sample_batch(policy, batch, preferences, decoding, tokenizer) for batch in batches])


def in_order(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Responses of several batches, by preference and prompt; empty where there is no batch."""
    if not frames:
        return pd.DataFrame({"preference": [], "prompt_index": []})
    frame = pd.concat(frames, ignore_index=True)
    return frame.sort_values(["preference", "prompt_index"], kind="stable", ignore_index=True)


def joined(frame: pd.DataFrame) -> pd.DataFrame:
    """All processes' responses, each of which has sampled to prompts of its own."""
    return in_order([part for part in all_objects(frame) if len(part)])


@torch.no_grad()
def sample_rewritten(
    policy: Policy,
    pairs: Iterable[tuple[PromptBatch, PromptBatch]],
    preference: Tensor,
    decoding: Decoding,
    tokenizer: Any,
) -> pd.DataFrame:
    """One response to each prompt of a policy that is asked through the prompt.

    Args:
        policy: takes no preference but by its prompt.
        pairs: prompts that ask, and the same ones as they are: what the reference policy is given, so that the KL
            divergence is that of what users see.
        preference: (1, m), what the prompts ask for; goes nowhere else.
        decoding, tokenizer: as for `sample_grid`, and so is the frame that is returned.
    """
    frames = [
        _sample_batch(policy, asking, preference, decoding, tokenizer, plain) for asking, plain in pairs
    ]
    return in_order(frames)


def _sample_batch(
    policy: Policy,
    batch: PromptBatch,
    preferences: Tensor,
    decoding: Decoding,
    tokenizer: Any,
    plain: PromptBatch | None = None,
) -> pd.DataFrame:
    n, rows = len(preferences), len(batch.prompts)
    ids, mask = batch.input_ids.repeat(n, 1), batch.attention_mask.repeat(n, 1)
    each = preferences.float().repeat_interleave(rows, dim=0)
    sampled = generate(
        policy,
        ids,
        mask,
        preference=each,
        max_new_tokens=decoding.max_new_tokens,
        temperature=decoding.temperature,
        top_p=decoding.top_p,
        seed=decoding.seed,
        row_keys=batch.index.repeat(n),
        room=None if batch.room is None else batch.room.repeat(n),
    )
    own = sampled.logps
    if own is None:
        own = _logps(policy, ids, mask, sampled.tokens, sampled.mask, each)
    with policy.reference():
        given = (ids, mask) if plain is None else (plain.input_ids, plain.attention_mask)
        ratios = own - _logps(policy, *given, sampled.tokens, sampled.mask, each)
    kept = [tokens[present] for tokens, present in zip(sampled.tokens.cpu(), sampled.mask.cpu(), strict=True)]
    return pd.DataFrame(
        {
            "preference": torch.arange(n).repeat_interleave(rows).numpy(),
            "prompt_index": batch.index.repeat(n).cpu().numpy(),
            "prompt": batch.prompts * n,
            "response": tokenizer.batch_decode(kept, skip_special_tokens=True),
            "tokens": sampled.mask.sum(1).cpu().numpy(),
            "log_ratio": ratios.double().cpu().numpy(),
            "ended": sampled.ended(ends_of(policy.model)).cpu().numpy(),
        }
    )


def by_rules(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with what nobody can argue about: `length` in tokens, `repetition` (the share of a response's
    three-word sequences that stood in it before), and `ended` (1 where it came to its end, 0 where it was cut)."""
    return frame.assign(
        length=frame["tokens"].astype("float64"),
        repetition=[repetition(text) for text in frame["response"]],
        ended=frame["ended"].astype("float64"),
    )


def repetition(text: str, words: int = 3) -> float:
    """Share of a text's sequences of so many words that stood in it before, in [0, 1]; 0 for a shorter text."""
    parts = text.split()
    runs = [tuple(parts[i : i + words]) for i in range(len(parts) - words + 1)]
    return 1 - len(set(runs)) / len(runs) if runs else 0.0


def _logps(
    policy: Policy, ids: Tensor, mask: Tensor, tokens: Tensor, present: Tensor, each: Tensor
) -> Tensor:
    """(rows,) log-probs of responses to prompts."""
    whole = torch.cat([ids, tokens], dim=1)
    attention = torch.cat([mask.bool(), present], dim=1)
    response = torch.cat([torch.zeros_like(mask, dtype=torch.bool), present], dim=1)
    return response_logps(policy, whole, attention, response, each)


def score(frame: pd.DataFrame, sources: Mapping[str, Rewards]) -> pd.DataFrame:
    """The frame with a column `<prefix>_<objective>` for each source (`reward`: what policies learn from, `judge`: a
    model that none learns from, `gold`: exact)."""
    columns: dict[str, Any] = {}
    if not len(frame):
        return frame
    for prefix, rewards in sources.items():
        scores = rewards.scores(frame["prompt"].tolist(), frame["response"].tolist())
        columns |= {f"{prefix}_{name}": scores[:, i] for i, name in enumerate(rewards.objectives)}
    return frame.assign(**columns)


def mean_rows(scored: pd.DataFrame, preferences: Tensor | None, objectives: Sequence[str]) -> pd.DataFrame:
    """One row per preference: `lambda_*` (empty where there is none), mean rewards, `length`, `repetition` and `ended`
    where they were measured, `kl`, `n` responses."""
    rewards = [column for column in map(str, scored) if column.startswith(SCORES) or column in RULES]
    groups = scored.groupby("preference", sort=True)
    means = groups[rewards].mean()
    means["kl"] = groups["log_ratio"].mean()
    means["n"] = groups.size()
    for i, name in reversed(list(enumerate(objectives))):
        values = [float("nan")] * len(means) if preferences is None else preferences[:, i].double().tolist()
        means.insert(0, f"lambda_{name}", values)
    return means.reset_index(drop=True)
