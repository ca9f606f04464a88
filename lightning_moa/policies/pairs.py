"""Log-probabilities of pairs of responses, their prompts going through the model once for both.

A row holds the prompt, padded on the left, and behind it both responses, each of which attends to the prompt and to
itself. What a response sees, and at which positions, is what it sees in a row of its own; a prompt as long as its
responses saves a third of the work. It takes a model that heeds a mask of its own making: `model.share_prompts`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_moa.batches import PairBatch
from lightning_moa.errors import UserError
from lightning_moa.policies.base import Policy
from lightning_moa.policies.logprobs import response_logps

SHARING = ("llama", "mistral", "qwen2", "qwen3", "gemma2", "gpt_neox", "opt")
"""transformers' model types for which a shared prompt was seen to give the numbers of two rows."""


def share_prompts(policy: Policy) -> None:
    """Let a policy's model, and all policies that are made on it, see the prompts of pairs once.

    Raises:
        UserError: a model of a kind that this is not known to hold for.
    """
    config = policy.model.config
    if config.model_type not in SHARING:
        raise UserError(
            f"model.share_prompts: not known to hold for a {config.model_type}; allowed are {', '.join(SHARING)}"
        )
    policy.model.shares_prompts = True  # type: ignore[assignment]


def pair_logps(policy: Policy, batch: PairBatch, preference: Tensor | None = None) -> Tensor:
    """log pi(y | x) of both responses of each pair, the sum over the response's tokens, in float32.

    Args:
        policy: any policy.
        batch: pairs, padded on the right; or n times the same ones, one after the other.
        preference: (m,), or one per pair, (batch, m).

    Returns:
        (2 * batch,), responses 0 first.

    Raises:
        UserError: as `response_logps`.
    """
    if _can_share(policy, batch.input_ids.shape[1]):
        return _shared(policy, batch, preference)
    rows = preference if preference is None or preference.ndim == 1 else torch.cat([preference, preference])
    return response_logps(policy, batch.input_ids, batch.attention_mask, batch.response_mask, rows)


def _can_share(policy: Policy, time: int) -> bool:
    """Not where the policy's own `run` reads its mask, nor where a layer sees a window that is shorter than a row."""
    window = getattr(policy.model.config, "sliding_window", None)
    asked = getattr(policy.model, "shares_prompts", False)
    return asked and policy.decodes_by_model and (window is None or time <= window)


def _shared(policy: Policy, batch: PairBatch, preference: Tensor | None) -> Tensor:
    prompts, first, second = _pieces(batch)
    ids = torch.cat([prompts.ids, first.ids, second.ids], dim=1)
    there = torch.cat([prompts.mask, first.mask, second.mask], dim=1)
    # 0 for the prompt, 1 and 2 for the responses: each token sees the prompt and its own response, up to itself.
    part = torch.cat([torch.full_like(each.ids, i) for i, each in enumerate((prompts, first, second))], dim=1)
    time = ids.shape[1]
    order = torch.arange(time, device=ids.device)
    seen = (part[:, None, :] == 0) | (part[:, None, :] == part[:, :, None])
    seen = seen & (order[None, :] <= order[:, None]) & there[:, None, :]
    # Padding sees itself, so that no row of the mask is empty.
    seen = seen | torch.eye(time, dtype=torch.bool, device=ids.device)
    place = [each.mask.long().cumsum(1) - 1 for each in (prompts, first, second)]
    length = prompts.mask.sum(1, keepdim=True)
    positions = torch.cat([place[0], place[1] + length, place[2] + length], dim=1).clamp(min=0)
    kept = first.ids.shape[1] + second.ids.shape[1] + 1
    with policy.steered(preference, len(ids)):
        dtype = policy.model.dtype
        mask = torch.zeros(seen.shape, dtype=dtype, device=ids.device).masked_fill(
            ~seen, torch.finfo(dtype).min
        )
        logits = policy.run(ids, mask[:, None], kept, position_ids=positions).logits[:, -kept:]
    # The prompt's last token predicts the first one of either response.
    middle = 1 + first.ids.shape[1]
    own = torch.cat([logits[:, :1], logits[:, middle:-1]], dim=1)
    return torch.cat([_summed(logits[:, : middle - 1], first), _summed(own, second)])


class _Piece:
    """Token ids and their mask, (batch, time) each."""

    def __init__(self, ids: Tensor, mask: Tensor) -> None:
        self.ids, self.mask = ids, mask


def _pieces(batch: PairBatch) -> tuple[_Piece, _Piece, _Piece]:
    """Prompts padded on the left, and both responses on the right."""
    in_prompt = batch.attention_mask.bool() & ~batch.response_mask
    rows = len(batch.input_ids) // 2
    if not torch.equal(in_prompt[:rows].sum(1), in_prompt[rows:].sum(1)):
        raise UserError("the prompts of a pair's two rows differ in length: they cannot be shared")
    prompts = _gathered(batch.input_ids[:rows], in_prompt[:rows], left=True)
    sides = batch.input_ids.chunk(2), batch.response_mask.chunk(2)
    first, second = (_gathered(ids, mask, left=False) for ids, mask in zip(*sides, strict=True))
    return prompts, first, second


def _gathered(ids: Tensor, mask: Tensor, *, left: bool) -> _Piece:
    """The marked tokens of each row, in order, beside each other, with padding on one side."""
    lengths = mask.sum(1)
    width = int(lengths.max())
    # A stable sort of the mask brings the marked tokens together without changing their order.
    order = (mask if left else ~mask).long().argsort(dim=1, stable=True)
    order = order[:, -width:] if left else order[:, :width]
    place = torch.arange(width, device=ids.device)
    there = place >= width - lengths[:, None] if left else place < lengths[:, None]
    return _Piece(ids.gather(1, order), there)


def _summed(logits: Tensor, piece: _Piece) -> Tensor:
    """(batch,) log-probs of a piece's tokens, each predicted by the logits at its own place."""
    nll = F.cross_entropy(logits.flatten(0, 1).float(), piece.ids.flatten(), reduction="none")
    return -nll.view(piece.ids.shape).masked_fill(~piece.mask, 0.0).sum(1)
